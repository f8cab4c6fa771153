"""Execute some queued runs in this process, and follow their logs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from job_orchestration.commands import logs
from job_orchestration.diagnostics.errors import OrchestrationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from job_orchestration.workspace.layout import Workspace

_LOOK_EVERY: Final = 0.1


class _Stopped(Exception):  # noqa: N818  # it is no error
    """The worker has ended: nothing more is written."""


def run_here(
    workspace: Workspace,
    stems: Mapping[str, str],
    say: Callable[[str], None],
    write: Callable[[str], None],
) -> bool:
    """Work until these runs have ended, and no others; return whether a signal ended it.

    Args:
        workspace: with all its folders in place.
        stems: each run, with the stem of its token.
        say: called with one line per event of the worker.
        write: called with each piece of the logs, run after run.

    Raises:
        WorkspaceError: if the locks of the file system cannot be trusted.
    """
    from job_orchestration.worker.options import WorkerOptions
    from job_orchestration.worker.worker import Worker

    worker = Worker(workspace, WorkerOptions(until_idle=True, only=frozenset(stems.values())), say)
    over = threading.Event()
    follower = threading.Thread(target=_follow, args=(workspace, list(stems), over, write), daemon=True)
    follower.start()
    try:
        worker.work()
    finally:
        over.set()
        follower.join()
    return worker.was_stopped


def _follow(
    workspace: Workspace, runs: list[str], over: threading.Event, write: Callable[[str], None]
) -> None:
    """Write the logs of some runs, one after the other, until the worker has ended and all is written."""

    def pause(_: float) -> None:
        if over.wait(_LOOK_EVERY):
            raise _Stopped

    for run in runs:
        try:
            for piece in logs.logs(workspace, run, follow=True, pause=pause):
                write(piece)
        except (_Stopped, OrchestrationError, OSError):
            continue
