"""One task of a run, as it was when it was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from job_orchestration.runs.state import TaskState


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a run, as it was when ``run.tasks`` was read."""

    id: str
    method: str
    """The class that does the work."""
    status: str
    """``waiting``, ``running``, ``finished`` or ``failed``."""
    tries: int
    """How often it was started, interruptions included."""
    started_at: str | None
    """When its last try began: UTC, ISO 8601."""
    ended_at: str | None
    """When its last try ended."""
    seconds: float | None
    """How long its last try took."""
    result: Any
    """What it returned, as far as JSON can say it."""
    error: str | None
    """The exception of its last try, or the signal that ended it."""
    files: tuple[str, ...]
    """What it saved through its store: paths in the run's folder."""


def task_of(state: TaskState) -> Task:
    """Return the view of a task."""
    return Task(
        state.id,
        state.method,
        str(state.status),
        state.tries,
        state.started_at,
        state.ended_at,
        state.duration_s,
        state.result,
        state.error,
        tuple(output.path for output in state.outputs),
    )


Task.__module__ = "job_orchestration"
