"""Have a completed rerun compared with its original, in a process of its own.

What tasks wrote is read and parsed there, so that a file that brings a parser down harms no worker. What
is not done here, because the worker stops, is done by the command `verify`.
"""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.problems import escaped
from job_orchestration.processes import reaper
from job_orchestration.processes.supervisor import program

if TYPE_CHECKING:
    from collections.abc import Callable

    from job_orchestration.workspace.layout import Workspace

_LIMIT: Final = 3600.0
"""Seconds that a verification may take."""
_LOOK_EVERY: Final = 0.1
_CODES: Final = {
    0: "verified: the results are those of its original",
    1: "verified: the results are different",
}


def verify(workspace: Workspace, run: str, unwanted: Callable[[], bool], say: Callable[[str], None]) -> None:
    """Run ``verify`` for a completed rerun, and wait for it.

    Args:
        workspace: the workspace.
        run: the rerun.
        unwanted: whether to stop waiting.
        say: called with the outcome.
    """
    command = program(["verify", run, "--once", "--workspace", workspace.root])
    environment = {name: value for name, value in os.environ.items() if name != reaper.MARK}
    with suppress(OSError):
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        deadline = time.monotonic() + _LIMIT
        while process.poll() is None and not unwanted() and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY)
        if process.poll() is None:
            process.kill()
        code = process.wait()
        say(f"{escaped(run)}: {_CODES.get(code, 'could not be verified; see why with: verify')}")
