"""The little of a run that overviews and forecasts need: small enough to be kept for a hundred thousand runs.

Named tuples and not dataclasses, and the tasks as one text, since one is made of each line of a file, by the
hundred thousand, and few of them are ever looked into.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_BETWEEN_TASKS: Final = "/"
_BETWEEN_FIELDS: Final = "~"
"""Neither may stand in a task's id or method; `text_of_tasks` makes sure of it."""


class TaskSummary(NamedTuple):
    """One task of a run."""

    id: str
    method: str
    status: str
    """The value of a `TaskStatus`."""
    duration_s: float | None


class RunSummary(NamedTuple):
    """One run."""

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
    """From the first claim to the end; `None` while there is no end."""
    outcome: str | None
    error: str | None
    sizes: Mapping[str, float]
    """The numbers among the config's values, and the lengths of its lists: what a duration may depend on."""
    own_sizes: Mapping[str, Mapping[str, float]] | None
    """The same of those tasks that have some of their own, by id."""
    task: str | None
    """The id of the first task without a checkpoint."""
    task_index: int | None
    task_count: int
    since: str | None
    """When that task was started, if it runs."""
    text: str
    """The tasks, as `text_of_tasks` makes it."""
    after: Sequence[str] = ()
    """The runs that must have completed before it is claimed."""
    priority: int = 0
    """Of those that wait the highest goes first."""

    @property
    def tasks(self) -> tuple[TaskSummary, ...]:
        """All tasks, in order."""
        found = []
        for part in self.text.split(_BETWEEN_TASKS) if self.text else ():
            id_, method, status, took = part.split(_BETWEEN_FIELDS)
            found.append(TaskSummary(id_, method, status, float(took) if took else None))
        return tuple(found)


def text_of_tasks(tasks: Iterable[TaskSummary]) -> str | None:
    """Tasks as one text; `None` when one has an id or a method that nobody may have."""
    parts = []
    for task in tasks:
        took = "" if task.duration_s is None else repr(task.duration_s)
        parts.append(_BETWEEN_FIELDS.join((task.id, task.method, task.status, took)))
    text = _BETWEEN_TASKS.join(parts)
    odd = text.count(_BETWEEN_TASKS) != max(len(parts) - 1, 0) or text.count(_BETWEEN_FIELDS) != 3 * len(
        parts
    )
    return None if odd else text
