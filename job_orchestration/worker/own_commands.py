"""Commands of this program that a worker gives after a run, in a process of their own.

What tasks wrote is read there, so that a file that brings a parser down harms no worker.
"""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, Final

from job_orchestration.processes import reaper
from job_orchestration.processes.supervisor import program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from job_orchestration.workspace.layout import Workspace

_LIMIT: Final = 3600.0
"""Seconds that a command may take."""
_LOOK_EVERY: Final = 0.1


def exit_code_of(workspace: Workspace, words: Sequence[str], unwanted: Callable[[], bool]) -> int:
    """Give a command and wait for it; it is killed when it takes too long or is unwanted.

    Args:
        workspace: its workspace.
        words: the command and its arguments.
        unwanted: whether to stop waiting.

    Raises:
        OSError: its process cannot be started.
    """
    environment = {name: value for name, value in os.environ.items() if name != reaper.MARK}
    process = subprocess.Popen(
        program([*words, "--workspace", workspace.root]),
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
    return process.wait()
