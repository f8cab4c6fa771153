"""What a whole run used, from what its tasks used, and how that compares with what it asked for. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.config.settings import MEMORY, settings_of
from job_orchestration.runs.events import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from job_orchestration.config.config import Json
    from job_orchestration.runs.state import RunState, TaskState

COLUMN: Final = "usage"
"""First part of the names of columns of results."""


_LEAST_S: Final = 1.0


class Asked(NamedTuple):
    """A resource that a run asked for, and what it used of it."""

    resource: str
    asked: float
    used: float


def total(tasks: Iterable[TaskState]) -> Usage | None:
    """Return what some tasks used: sums, and the highest peak of memory; `None` if nothing was recorded."""
    found = [task.usage for task in tasks if task.usage is not None]
    if not found:
        return None
    return Usage(
        round(sum(usage.cpu_s for usage in found), 6),
        max(usage.peak_bytes for usage in found),
        _sum(usage.read_bytes for usage in found),
        _sum(usage.written_bytes for usage in found),
    )


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def asked_and_used(state: RunState) -> list[Asked]:
    """Return memory and CPUs that a run asked for in ``resources``, beside what its tasks used.

    The CPUs used are those of the busiest task, on average; a task of less than a second tells too little.
    """
    resources = dict(settings_of({"resources": state.values.get("resources")}).resources)
    used = total(state.tasks)
    found = []
    if used is not None and MEMORY in resources:
        found.append(Asked(MEMORY, resources[MEMORY], used.peak_bytes))
    if used is not None and "cpus" in resources:
        long = [t for t in state.tasks if (t.duration_s or 0.0) >= _LEAST_S]
        busy = [t.usage.cpu_s / t.duration_s for t in long if t.usage is not None and t.duration_s]
        if busy:
            found.append(Asked("cpus", resources["cpus"], max(busy)))
    return found


def columns_of(tasks: Iterable[TaskState]) -> Mapping[str, Json]:
    """Return the columns of results: ``usage.cpu_s`` of the run, ``usage.train.cpu_s`` of a task."""
    tasks = list(tasks)
    parts = [("", total(tasks)), *((f"{task.id}.", task.usage) for task in tasks)]
    return {
        f"{COLUMN}.{prefix}{name}": value
        for prefix, usage in parts
        if usage is not None
        for name, value in asdict(usage).items()
    }


def tasks_seconds(state: RunState) -> float:
    """Return the seconds that the finished tasks took."""
    return sum(task.duration_s or 0.0 for task in state.tasks)
