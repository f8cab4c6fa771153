"""The trials that searches have not opened yet: they are no runs, but work that will come."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.model.summary import RunSummary, text_of_tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.files.history import RunRecord
    from job_orchestration.files.workspace import Workspace

_NUMBERED: Final = re.compile(r"([0-9]{4,9})(?:,.*)?")


class Oncoming(NamedTuple):
    """The trials that one search still opens."""

    like: RunSummary | None
    """One of its trials as it was before it was begun; `None` when there is none."""
    number: int


def oncoming(workspace: Workspace, records: Sequence[RunRecord]) -> list[Oncoming]:
    """What the searches of a workspace still open; nothing is changed or locked."""
    if not os.path.isdir(os.path.join(workspace.misc, "searches")):
        return []
    from job_orchestration.files import searches

    orders = [searches.read(workspace, name) for name in searches.active(workspace)]
    found = [_of_search(order.base, order.search.n, records) for order in orders if order is not None]
    return [one for one in found if one.number > 0]


def _of_search(base: str, trials: int, records: Sequence[RunRecord]) -> Oncoming:
    opened, like = 0, None
    for record in records:
        folder, _, name = (record.run or "").rpartition("/")
        match = _NUMBERED.fullmatch(name) if folder == base else None
        if match is not None and record.summary is not None:
            opened, like = max(opened, int(match[1])), record.summary
    return Oncoming(like and _anew(like), trials - opened)


def _anew(summary: RunSummary) -> RunSummary:
    tasks = [task._replace(status="waiting", duration_s=None) for task in summary.tasks]
    return summary._replace(text=text_of_tasks(tasks) or "")
