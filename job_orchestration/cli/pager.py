"""Show long output on a terminal in a pager, as git does.

The pager is ``$JOB_ORCHESTRATION_PAGER``, else ``$PAGER``, else ``less`` if it is installed. ``less`` gets
the options ``-FRX`` unless ``$LESS`` is set: it ends by itself if everything fits, keeps colours, and leaves
the text on the screen. An empty value and ``cat`` mean no pager.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.cli import output

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

VARIABLES: Final = ("JOB_ORCHESTRATION_PAGER", "PAGER")
_FOR_A_SHELL: Final = frozenset("|&;<>()$`\\\"' \t\n*?[#~=%")
"""Characters with which a value is a line for a shell; without them it is a program."""


class _Pipe(io.TextIOWrapper):
    """A pipe to a pager, which is written to as to the terminal that the pager fills."""

    def isatty(self) -> bool:
        """Say that this is a terminal, so that the output has its colours and fits its width."""
        return True


def call_with_pager(call: Callable[[Namespace], int], arguments: Namespace) -> int:
    """Call a command, send what it prints to a pager, and wait until the reader has left it.

    Output that goes on without an end, such as ``logs -f``, has no pager.

    Returns:
        The exit code of the command; 0 if the reader left before the end.
    """
    command = None if getattr(arguments, "follow", False) else _command()
    if command is None:
        return call(arguments)
    sys.stdout.flush()
    environment = {"LESS": "FRX", "LV": "-c", **os.environ}
    pager = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, bufsize=0)
    terminal = sys.stdout
    sys.stdout = _Pipe(pager.stdin, encoding="utf-8", errors="backslashreplace")  # type: ignore[arg-type]
    code = 0
    try:
        with suppress(BrokenPipeError):
            code = call(arguments)
            sys.stdout.flush()
    finally:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # from now on Ctrl-C belongs to the pager
        with suppress(BrokenPipeError):
            sys.stdout.close()
        sys.stdout = terminal
        pager.wait()
        signal.signal(signal.SIGINT, before)
    return code


def _command() -> list[str] | None:
    """Return the command that starts the pager; `None` if there is none."""
    if os.environ.get("TERM", "dumb") == "dumb":
        return None
    name, value = next(((n, os.environ[n]) for n in VARIABLES if n in os.environ), ("", "less"))
    value = value.strip()
    if value in {"", "cat"}:
        return None
    if not _FOR_A_SHELL.isdisjoint(value):
        return ["sh", "-c", value]
    if shutil.which(value) is None:
        if name:
            output.complain(f"There is no program {value}, which {name} names.")
        return None
    return [value]
