"""`Misc/reuse`: which checkpoints may be taken by later runs, found by what they depend on.

There is a folder for each task (its id, method and place), and in it a file for each basis: the newest few
records of checkpoints with that basis. `latest.json` is the newest record of all, to say what differs. It is
an index: each file may be lost or be deleted at any time, nothing is synced, and a record is
compared with the journal of its run before its checkpoint is taken.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.runs import journal, lifecycle
from job_orchestration.runs.reuse_records import Record, checkpoint_digest, digest_of
from job_orchestration.runs.state import TaskStatus
from job_orchestration.workspace import durable, safe_reads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from job_orchestration.runs.state import TaskState
    from job_orchestration.workspace.layout import Workspace

LATEST: Final = "latest.json"
_ENDING: Final = ".json"
_MOST_RECORDS: Final = 8
"""Records of one basis: runs that hold the checkpoint, and variants of what the task read beside."""
_MOST_BYTES: Final = 8 << 20
_BAD: Final = (OSError, ValueError, KeyError, TypeError, AttributeError)


class ReuseIndex:
    """The records of one task.

    Args:
        workspace: its workspace.
        place: the folder of ``Tasks.py`` in its commit; empty if there is none.
        task: the task's id.
        method: its method.
    """

    def __init__(self, workspace: Workspace, place: str, task: str, method: str) -> None:
        self._workspace = workspace
        self._task = task
        self._folder = os.path.join(workspace.reuse, digest_of([place, task, method])[:16])

    def find(self, key: str) -> list[Record]:
        """Return the records of a basis, the newest first."""
        return list(_records(os.path.join(self._folder, key + _ENDING)))

    def latest(self) -> Record | None:
        """Return the newest record of the task."""
        return next(_records(os.path.join(self._folder, LATEST)), None)

    def add(self, record: Record) -> None:
        """Add a record. Best effort: without it a later run executes the task."""
        path = os.path.join(self._folder, record.basis.key + _ENDING)
        with suppress(OSError):
            os.makedirs(self._folder, exist_ok=True)
            if record.unusable is None:
                others = [r for r in _records(path) if r.run != record.run]
                durable.write_view(path, _encoded([record, *others][:_MOST_RECORDS]))
            durable.write_view(os.path.join(self._folder, LATEST), _encoded([record]))

    def checkpoint(self, record: Record) -> TaskState | None:
        """Return the task whose checkpoint a record is about; `None` if its run does not have it any more."""
        return checkpoint_of(self._workspace, record.run, record.task, record.checkpoint)


def checkpoint_of(workspace: Workspace, run: str, task: str, digest: str) -> TaskState | None:
    """Return a finished task of a run, if its checkpoint has a digest."""
    try:
        state = lifecycle.fold(journal.read(workspace.run_folder(run)))
    except OSError:
        return None
    for found in state.tasks:
        if found.id == task and found.status is TaskStatus.FINISHED:
            return found if checkpoint_digest(found) == digest else None
    return None


def _encoded(records: list[Record]) -> bytes:
    return json.dumps([record.as_json() for record in records], ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def _records(path: str) -> Iterator[Record]:
    """Yield the records of a file as far as they can be read."""
    try:
        found = json.loads(safe_reads.whole(path, _MOST_BYTES).decode("utf-8", "surrogatepass"))
    except _BAD:
        return
    for value in found if isinstance(found, list) else ():
        with suppress(*_BAD):
            yield Record.from_json(value)


def stale(workspace: Workspace) -> list[str]:
    """Return the files of the index in which every record is about a run that is gone. Changes nothing."""
    found = []
    for folder in safe_reads.names_in(workspace.reuse):
        path = os.path.join(workspace.reuse, folder)
        for name in safe_reads.names_in(path):
            file = os.path.join(path, name)
            if name.endswith(_ENDING) and not any(
                os.path.isdir(workspace.run_folder(r.run)) for r in _records(file)
            ):
                found.append(file)
    return found
