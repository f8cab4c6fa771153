"""How long still: from what tasks of the same method took, and from what a running task says of itself."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from statistics import fmean
from typing import TYPE_CHECKING

from job_orchestration.model.run import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from job_orchestration.model.run import RunState, TaskState


def usual_durations(states: Iterable[RunState]) -> dict[str, float]:
    """The mean duration of the finished tasks of each method, in seconds."""
    durations: defaultdict[str, list[float]] = defaultdict(list)
    for state in states:
        for task in state.tasks:
            if task.status is TaskStatus.FINISHED and task.duration_s is not None:
                durations[task.method].append(task.duration_s)
    return {method: fmean(found) for method, found in durations.items()}


def time_left(
    state: RunState, usual: Mapping[str, float], now: datetime | None = None, fraction: float | None = None
) -> float | None:
    """Seconds of work that a run still has before it, the waiting for a worker not counted.

    Args:
        state: the run.
        usual: what `usual_durations` found.
        now: the present, when somebody works on the run at this moment; else its next task begins anew.
        fraction: how far the running task is, between 0 and 1, when it told.

    Returns:
        `None` when some task's method has no history.
    """
    left = 0.0
    for task in state.tasks:
        if task.status is TaskStatus.FINISHED:
            continue
        seconds = _task_left(task, usual.get(task.method), now, fraction)
        if seconds is None:
            return None
        left += seconds
    return round(left, 3)


def _task_left(
    task: TaskState, usual: float | None, now: datetime | None, fraction: float | None
) -> float | None:
    if task.status is not TaskStatus.RUNNING or now is None or task.started_at is None:
        return usual
    elapsed = max((now - datetime.fromisoformat(task.started_at)).total_seconds(), 0.0)
    if fraction:
        return elapsed * (1 - min(fraction, 1.0)) / fraction
    return None if usual is None else max(usual - elapsed, 0.0)
