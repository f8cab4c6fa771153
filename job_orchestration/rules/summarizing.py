"""From the fold of a journal to the little that overviews and forecasts need of it."""

from __future__ import annotations

from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING, Final

from job_orchestration.model.run import Status, TaskStatus
from job_orchestration.model.summary import RunSummary, TaskSummary, text_of_tasks
from job_orchestration.model.task import specs_of
from job_orchestration.rules.settings import RULES, settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.model.run import RunState
    from job_orchestration.model.task import Json

_MOST_SIZES: Final = 12
"""Numbers of a config that are kept; whoever has more will hardly mean them all as sizes."""
_LONGEST_KEY: Final = 40
_LARGEST: Final = 1e300
_NO_SIZE: Final = frozenset({"id", "method", "tasks", "outputDir", *RULES})
"""Keys of ours that say nothing of how long a task takes."""


def summary_of(state: RunState) -> RunSummary:
    """What is kept of a run."""
    own = {spec.id: sizes for spec in specs_of(state.values) if (sizes := sizes_of(spec.parameters))}
    current = state.current
    task = None if current is None else state.tasks[current]
    tasks = [TaskSummary(t.id, t.method, t.status.value, t.duration_s) for t in state.tasks]
    return RunSummary(
        config=state.config,
        status=state.status.name,
        attempt=state.attempt,
        worker=state.worker,
        commit=state.code.commit if state.code else None,
        readied_at=state.readied_at,
        started_at=state.started_at,
        ended_at=state.ended_at,
        elapsed_s=_elapsed(state.started_at, state.ended_at),
        outcome=state.outcome.value if state.outcome else None,
        error=state.error or (state.reason if state.status is Status.FAILED else None),
        sizes=sizes_of(state.values),
        own_sizes=own or None,
        task=task.id if task else None,
        task_index=current,
        task_count=len(tasks),
        since=task.started_at if task and task.status is TaskStatus.RUNNING else None,
        text=text_of_tasks(tasks) or "",
        after=list(settings_of(state.values).after) if "after" in state.values else [],
        priority=settings_of(state.values).priority if "priority" in state.values else 0,
    )


def sizes_of(values: Mapping[str, Json]) -> dict[str, float]:
    """The numbers among some parameters, and the lengths of their lists, by key."""
    found: dict[str, float] = {}
    for key, value in values.items():
        if key in _NO_SIZE or len(key) > _LONGEST_KEY:
            continue
        size = len(value) if isinstance(value, list) else value
        if isinstance(size, (int, float)) and not isinstance(size, bool) and _is_sane(size):
            found[key] = size
            if len(found) == _MOST_SIZES:
                break
    return found


def _is_sane(size: float) -> bool:
    return -_LARGEST < size < _LARGEST and isfinite(size)


def _elapsed(began: str | None, ended: str | None) -> float | None:
    if began is None or ended is None:
        return None
    seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
    return round(max(seconds, 0.0), 3)  # a clock may have been set back since
