"""`logs`: what a run's tasks printed, and what they print."""

from __future__ import annotations

import codecs
import os
import time
from typing import TYPE_CHECKING, Final

from job_orchestration.actions import selection
from job_orchestration.files import history, journal
from job_orchestration.model.errors import UsageError
from job_orchestration.model.problem import escaped
from job_orchestration.model.run import Status
from job_orchestration.rules import lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from job_orchestration.files.workspace import Workspace

LOG: Final = "log.log"
_CHUNK: Final = 1 << 16
_LOOK_AGAIN: Final = 0.2
"""Seconds between two looks at a log that is followed."""


def path_of(workspace: Workspace, name: str) -> str:
    """The log of the run of a name; it need not be there yet.

    Raises:
        UsageError: when the name means no run, or more than one, or a config that was not readied yet.
    """
    record = selection.one(history.entries(workspace), name)
    if record.run is None:
        raise UsageError(
            f"{escaped(name)} was not readied yet, so it has no log", "Run: job-orchestration ready"
        )
    return os.path.join(workspace.run_folder(record.run), LOG)


def logs(
    workspace: Workspace, name: str, *, follow: bool = False, pause: Callable[[float], None] = time.sleep
) -> Iterator[str]:
    """What stands in a run's log, piece by piece.

    Args:
        workspace: where the run is.
        name: the run's.
        follow: go on with what is added, until the run has ended. A log that is cut off is begun anew.
        pause: how to wait for more.

    Returns:
        Its text; bytes that are no UTF-8 are replaced.

    Raises:
        UsageError: when the name means no run, or more than one.
    """
    return _pieces(path_of(workspace, name), follow=follow, pause=pause)


def _pieces(path: str, *, follow: bool, pause: Callable[[float], None]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    at = 0
    while True:
        over = not follow or _has_ended(os.path.dirname(path))  # asked first: what follows it is in the log
        while data := _read(path, at):
            at += len(data)
            if text := decoder.decode(data):
                yield text
        if over:
            break
        pause(_LOOK_AGAIN)
        if _size(path) < at:
            at = 0
            decoder.reset()
    if text := decoder.decode(b"", final=True):
        yield text


def _read(path: str, at: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(at)
            return file.read(_CHUNK)
    except FileNotFoundError:
        return b""


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _has_ended(run_folder: str) -> bool:
    if not journal.attempts(run_folder):
        return True  # the first Job Orchestration made it, or it is gone
    return lifecycle.fold(journal.read(run_folder)).status in {Status.COMPLETE, Status.FAILED}
