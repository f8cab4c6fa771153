"""Take checkpoints of an ended run into a new one: copied aside first, renamed into place when it is opened.

Files may be large, and opening takes a lock for which all other openings wait. So the files are copied and
checked before that, into a folder of `submitted_files.STAGING`; under the lock each task takes one rename.
What a killed process left in that folder is collected with temporary files.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from job_orchestration.runs import checkpoint_copies, submitted_files
from job_orchestration.runs.artifact_store import ArtifactStore
from job_orchestration.runs.events import OutputFile, TaskFinished, TaskStarted
from job_orchestration.workspace import durable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from job_orchestration.runs.events import Event
    from job_orchestration.runs.state import TaskState
    from job_orchestration.workspace.layout import Workspace


class TakenCheckpoint(NamedTuple):
    """A checkpoint whose files are copied."""

    task: TaskState
    """The task in the run that it is taken from."""
    staging: str
    """The folder in which its copied folder lies."""
    folder: str | None
    """The name of that folder, in the new run too; `None` if it has no files."""
    outputs: tuple[OutputFile, ...]


@contextmanager
def staging(workspace: Workspace) -> Iterator[str]:
    """Return a path for copies; what lies there at the end of the ``with`` block is deleted."""
    path = os.path.join(workspace.misc, submitted_files.STAGING, f"{os.getpid()}.{os.urandom(4).hex()}")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def take(run_folder: str, tasks: Iterable[TaskState], path: str) -> tuple[TakenCheckpoint, ...]:
    """Copy the files of finished tasks, durably.

    Args:
        run_folder: the folder of their run.
        tasks: the tasks.
        path: where the copies go: below `staging`, and another one for each new run.

    Raises:
        ChangedCheckpointError: a file is missing or is not what it was.
        OSError: the disk refuses.
    """
    durable.make_folder(path)
    found = []
    for task in tasks:
        folder, outputs = checkpoint_copies.take(run_folder, task, ArtifactStore(path, task.id, "taken"))
        found.append(TakenCheckpoint(task, path, folder, outputs))
    return tuple(found)


def put_in_place(checkpoints: Iterable[TakenCheckpoint], run_folder: str, source: str) -> Iterator[Event]:
    """Move copied files into a new run's folder, and yield the events that name them.

    Args:
        checkpoints: of its leading tasks.
        run_folder: the folder of the new run, which has nothing of these tasks.
        source: the run that they were taken from.

    Raises:
        OSError: the disk refuses.
    """
    for task, path, folder, outputs in checkpoints:
        if folder is not None:
            durable.rename_folder(os.path.join(path, folder), os.path.join(run_folder, folder))
        yield TaskStarted(task.id, 1)
        yield TaskFinished(
            *(task.id, task.duration_s or 0.0, task.result, folder, outputs, task.commit, task.imported),
            reused_from=task.reused_from or source,
            volatile=task.volatile,
        )
