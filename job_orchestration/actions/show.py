"""`show`: everything that is known about one run."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from job_orchestration.actions import selection
from job_orchestration.actions.outlook import Outlook, places_of
from job_orchestration.actions.status import Entry, entry
from job_orchestration.files.history import History, living_workers
from job_orchestration.files.opening import PROVENANCE

if TYPE_CHECKING:
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.run import TaskState


@dataclass(frozen=True, slots=True)
class Shown:
    """One run, as its journal, its provenance and its folder tell it."""

    entry: Entry
    tasks: tuple[TaskState, ...]
    provenance: dict[str, Any] | None
    folder: str | None
    """The run's output folder; `None` for a config that was not readied yet."""
    files: tuple[str, ...]
    """What lies in it, relative to it; a folder ends in ``/``."""

    def as_json(self) -> dict[str, Any]:
        """The run as ``show --json`` shows it."""
        return {
            **self.entry.as_json(),
            "tasks": [_task(t) for t in self.tasks],
            "provenance": self.provenance,
        }


def show(workspace: Workspace, name: str) -> Shown:
    """Look at one run without changing it.

    Raises:
        UsageError: when the name means no run, or more than one.
    """
    records = History(workspace).records()
    record = selection.one(records, name)
    living = [beat.worker for beat in living_workers(workspace)]
    ahead = Outlook(records, datetime.now(UTC), living, places=places_of(workspace, records))
    state = record.state
    folder = workspace.run_folder(record.run) if record.run else None
    return Shown(
        entry(record, ahead),
        state.tasks if state else (),
        _provenance(folder) if folder else None,
        folder,
        _files(folder) if folder else (),
    )


def _task(task: TaskState) -> dict[str, Any]:
    return {
        "id": task.id,
        "method": task.method,
        "status": str(task.status),
        "tries": task.tries,
        "started_at": task.started_at,
        "ended_at": task.ended_at,
        "duration_s": task.duration_s,
        "result": task.result,
        "outputs": [asdict(o) for o in task.outputs],
        "error": task.error,
    }


def _provenance(folder: str) -> dict[str, Any] | None:
    with suppress(OSError, ValueError), open(os.path.join(folder, PROVENANCE), "rb") as file:
        found = json.load(file)
        return found if isinstance(found, dict) else None
    return None


def _files(folder: str) -> tuple[str, ...]:
    try:
        with os.scandir(folder) as found:
            return tuple(sorted(f"{e.name}/" if e.is_dir() else e.name for e in found))
    except OSError:
        return ()
