"""Write ``status.yaml``: a view of the journal for people and old scripts, never read back."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from job_orchestration.runs.state import Status, TaskStatus
from job_orchestration.workspace import durable

if TYPE_CHECKING:
    from job_orchestration.runs.state import RunState


def status_yaml(state: RunState) -> bytes:
    """Format ``status.yaml`` as the first release wrote it: eight keys, local times, ``None`` as text."""
    latest = [t for task in state.tasks for t in (task.started_at, task.ended_at) if t]
    updated = max(
        [*latest, *(t for t in (state.readied_at, state.started_at, state.ended_at) if t)], default=None
    )
    ended = state.ended_at if state.status is Status.COMPLETE else None
    lines = {
        "current_job": _current(state),
        "current_test_sha": state.code.commit if state.code else None,
        "end_time": _local(ended),
        "error_count": sum(t.failures for t in state.tasks if t.status is not TaskStatus.FINISHED),
        "last_updated": _local(updated),
        "orchestration_version": _version(),
        "start_time": _local(state.started_at or state.readied_at),
        "status": state.status.name,
    }
    return "".join(
        f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in lines.items()
    ).encode()


def write_status(run_folder: str, state: RunState, *, is_new: bool = False) -> None:
    """Update ``status.yaml``. Best effort: errors are ignored.

    Args:
        run_folder: the run's output folder.
        state: the state to write.
        is_new: whether the file does not exist yet.
    """
    write = durable.write_view if is_new else durable.overwrite_view
    with suppress(OSError):
        write(os.path.join(run_folder, "status.yaml"), status_yaml(state))


def _current(state: RunState) -> str | None:
    if state.status is Status.READY and state.attempt == 0:
        return None
    if state.current is None:
        return state.tasks[-1].id if state.tasks else None
    task = state.tasks[state.current]
    if task.status is TaskStatus.WAITING and state.status is Status.FINISHED_TASK and state.current:
        return state.tasks[state.current - 1].id
    return task.id


def _local(moment: str | None) -> str:
    if moment is None:
        return "None"
    return str(datetime.fromisoformat(moment).astimezone().replace(tzinfo=None))


def _version() -> str:
    from job_orchestration import __version__

    return __version__
