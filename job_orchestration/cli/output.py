"""Exit codes, the workspace of a command, and printing: shared by all modules of the command line.

`main` imports this module for every command, so it imports nothing heavy itself.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

    from job_orchestration.commands.selection import Selection
    from job_orchestration.workspace.layout import Workspace

VARIABLE: Final = "JOB_ORCHESTRATION_WORKSPACE"
"""Environment variable that names the workspace."""


class ExitCode(IntEnum):
    """Exit codes of the program."""

    OK = 0
    RUNS_FAILED = 1
    USAGE = 2
    REFUSED = 3
    WORKSPACE_ERROR = 4
    BUSY = 5
    """Another process holds a lock, and ``--no-wait`` was given."""
    TIMEOUT = 124
    """Runs had not ended within ``--timeout``; the number that `timeout` of the shell has."""
    INTERRUPTED = 130


def existing(arguments: Namespace) -> Workspace:
    """Return the workspace for a command that only reads."""
    from job_orchestration.workspace import layout

    return layout.locate(arguments.workspace)


def prepared(arguments: Namespace) -> Workspace:
    """Return the workspace for a command that changes it; create missing folders."""
    from job_orchestration.workspace import layout

    return layout.prepare(layout.locate(arguments.workspace).root)


def selected(arguments: Namespace) -> Selection:
    """Return the runs chosen by name, ``--status`` and ``--filter``."""
    from job_orchestration.commands.selection import Selection

    return Selection(tuple(arguments.runs), arguments.statuses, arguments.filter)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines on stdout."""
    for line in lines:
        print(line)


def print_json(value: Any, indent: int | None = 2) -> None:
    """Print a value as JSON on stdout."""
    print(json_line(value, indent), flush=True)


def json_line(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON that any program reads: NaN and infinities are null."""
    from job_orchestration.config import json_floats

    return json_floats.strict_text(value, indent=indent)


def say(line: str) -> None:
    """Print a line on stdout; ignore errors, so that a worker survives a closed pipe or a full disk."""
    with suppress(OSError):
        sys.stdout.write(f"{line}\n")  # one write, so that the lines of several workers never mix
        sys.stdout.flush()


def complain(line: str) -> None:
    """Print a line on stderr; ignore errors."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)
