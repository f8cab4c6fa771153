"""Summaries of runs: the part of a state that overviews and forecasts need, small enough to cache.

Summaries are named tuples with all tasks as one text, because a reader makes one from each row of the cache,
a hundred thousand at a time, and reads the tasks of only a few. Pure.
"""

from __future__ import annotations

from dataclasses import astuple
from math import isfinite
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.config.config import specs_of
from job_orchestration.config.settings import RULES, settings_of
from job_orchestration.runs import run_times, run_usage
from job_orchestration.runs.state import Status, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.runs.state import RunState

_BETWEEN_TASKS: Final = "/"
_BETWEEN_FIELDS: Final = "~"
"""Neither is allowed in a task's id or method; `text_of_tasks` checks it."""


class TaskSummary(NamedTuple):
    """The summary of one task."""

    id: str
    method: str
    status: str
    """The value of a `TaskStatus`."""
    duration_s: float | None


class RunSummary(NamedTuple):
    """The summary of one run."""

    config: str
    status: str
    """The name of a `Status`."""
    attempt: int
    worker: str | None
    commit: str | None
    readied_at: str | None
    started_at: str | None
    ended_at: str | None
    elapsed_s: float | None
    """Seconds of work of the attempts that have ended; `None` before the first claim."""
    outcome: str | None
    error: str | None
    sizes: Mapping[str, float]
    """The numbers in the config and the lengths of its lists, which durations may depend on."""
    own_sizes: Mapping[str, Mapping[str, float]] | None
    """The same for tasks with numbers of their own, by task id."""
    task: str | None
    """The id of the first task without a checkpoint."""
    task_index: int | None
    task_count: int
    since: str | None
    """The start of that task, if it is running."""
    text: str
    """The tasks, as formatted by `text_of_tasks`."""
    after: Sequence[str] = ()
    """The runs that must complete before this one is claimed."""
    priority: int = 0
    """Waiting runs with a higher priority are claimed first."""
    commits: Mapping[str, str] | None = None
    """The commit of each task, by task id; `None` if all have the run's."""
    failed_in: str | None = None
    """The work tree that the code was pinned from, if the run has failed by an error."""
    working_since: str | None = None
    """When the current attempt began."""
    waited_s: float = 0.0
    """Seconds in the queue and between attempts, until the last claim."""
    waiting_since: str | None = None
    """When the current waiting began."""
    try_number: int | None = None
    """The try of the current task, from 1: see `RunState.try_number`."""
    most_tries: int | None = None
    """How many tries a task has: ``maxAttempts``."""
    usage: Sequence[float | None] | None = None
    """What its finished tasks used, in the order of the fields of `Usage`; `None` if it was not recorded."""

    @property
    def tasks(self) -> tuple[TaskSummary, ...]:
        """All tasks, in order."""
        found = []
        for part in self.text.split(_BETWEEN_TASKS) if self.text else ():
            id_, method, status, took = part.split(_BETWEEN_FIELDS)
            found.append(TaskSummary(id_, method, status, float(took) if took else None))
        return tuple(found)


def text_of_tasks(tasks: Iterable[TaskSummary]) -> str | None:
    """Format tasks as one text; `None` if an id or a method holds a separator."""
    parts = []
    for task in tasks:
        took = "" if task.duration_s is None else repr(task.duration_s)
        parts.append(_BETWEEN_FIELDS.join((task.id, task.method, task.status, took)))
    text = _BETWEEN_TASKS.join(parts)
    odd = text.count(_BETWEEN_TASKS) != max(len(parts) - 1, 0) or text.count(_BETWEEN_FIELDS) != 3 * len(
        parts
    )
    return None if odd else text


_MOST_SIZES: Final = 12
"""Numbers kept per config; of more than these, few are likely to be sizes."""
_LONGEST_KEY: Final = 40
_LARGEST: Final = 1e300
_NO_SIZE: Final = frozenset({"id", "method", "tasks", "outputDir", *RULES})
"""Keys of this package, which say nothing about durations."""


def summary_of(state: RunState) -> RunSummary:
    """Summarise a run."""
    own = {spec.id: sizes for spec in specs_of(state.values) if (sizes := sizes_of(spec.parameters))}
    current = state.current
    task = None if current is None else state.tasks[current]
    tasks = [
        TaskSummary(t.id, t.method, t.status.value, None if t.reused_from else t.duration_s)
        for t in state.tasks
    ]  # the time that a reused task took says nothing about how long it runs
    return RunSummary(
        config=state.config,
        status=state.status.name,
        attempt=state.attempt,
        worker=state.worker,
        commit=state.code.commit if state.code else None,
        readied_at=state.readied_at,
        started_at=state.started_at,
        ended_at=state.ended_at,
        elapsed_s=run_times.worked(state),
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
        commits=state.commits if state.changes else None,
        failed_in=state.code.work_tree if state.code and state.has_failed_by_error else None,
        working_since=run_times.working_since(state),
        waited_s=run_times.waited(state),
        waiting_since=state.waiting_since,
        try_number=state.try_number,
        most_tries=settings_of({k: v for k, v in state.values.items() if k == "maxAttempts"}).max_attempts,
        usage=list(astuple(used)) if (used := run_usage.total(state.tasks)) else None,
    )


def sizes_of(values: Mapping[str, Json]) -> dict[str, float]:
    """Return the numbers among parameters and the lengths of their lists, by key."""
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
