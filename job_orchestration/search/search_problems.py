"""What keeps a search from going on: found by a worker or by ``ready``, shown by every view.

``Misc/searches/NAME/problem`` holds one sentence. It is written when a search waits or could not be advanced,
and removed when it goes on.

A search waits if its first finished trials returned no number by the name of its metric: all the others would
be computed in vain. A number that is NaN is one: that training has diverged, and the next may not. Only
trials in the code of the order count, so a config that is dropped again after its task was mended goes on.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.diagnostics.problems import escaped, named
from job_orchestration.diagnostics.suggestions import did_you_mean, nearest_names
from job_orchestration.runs import journal, lifecycle
from job_orchestration.search import search_settings, searches
from job_orchestration.workspace import durable, safe_reads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.runs.state import RunState
    from job_orchestration.search.search_settings import TrialResult
    from job_orchestration.search.searches import SearchOrder
    from job_orchestration.workspace.layout import Workspace

FILE: Final = "problem"
ENOUGH: Final = 3
"""Finished trials without the metric after which a search waits."""
_MOST_BYTES: Final = 4096
_DEEPEST: Final = 3
_MOST_NAMES: Final = 8


class SearchProblem(NamedTuple):
    """A search that does not go on."""

    search: str
    problem: str
    """A sentence, and what to do."""

    def as_json(self) -> dict[str, str]:
        """Return the problem as ``status --json`` prints it."""
        return self._asdict()


def record(workspace: Workspace, name: str, problem: str | None) -> bool:
    """Record what keeps a search from going on, or that nothing does; return whether it is a new problem."""
    if read(workspace, name) == problem:
        return False
    path = os.path.join(searches.folder(workspace, name), FILE)
    if problem is None:
        with suppress(FileNotFoundError):
            durable.unlink(path)
        return False
    durable.replace(path, problem.encode(errors="replace")[:_MOST_BYTES])
    return True


def read(workspace: Workspace, name: str) -> str | None:
    """Return what keeps a search from going on; `None` if nothing is known to."""
    with suppress(OSError):
        descriptor = os.open(os.path.join(searches.folder(workspace, name), FILE), safe_reads.READ_ONLY)
        with open(descriptor, "rb") as file:
            return file.read(_MOST_BYTES).decode(errors="replace")
    return None


def all_of(workspace: Workspace) -> list[SearchProblem]:
    """Return the searches that do not go on; nothing is changed or locked."""
    found = ((name, read(workspace, name)) for name in searches.active(workspace))
    return [SearchProblem(name, problem) for name, problem in found if problem is not None]


class MetricCheck(NamedTuple):
    """Whether the trials of a search return its metric."""

    is_there: bool
    """Whether one has returned it, as a number or NaN."""
    lacking: int
    """Finished trials in the code of the order that have not; at most `ENOUGH` are counted."""
    names: Sequence[str]
    """The numbers that those have returned."""


def check_metric(workspace: Workspace, order: SearchOrder, known: Sequence[TrialResult]) -> MetricCheck:
    """Look for the metric of a search in what its trials returned."""
    if any(result.value is not None for result in known):
        return MetricCheck(is_there=True, lacking=0, names=())
    names: dict[str, None] = {}
    lacking = 0
    for result in reversed([result for result in known if result.complete]):
        state = lifecycle.fold(journal.read(workspace.run_folder(result.run)))
        if state.code != order.code:
            continue
        if search_settings.found_by(state, order.search.metric):
            return MetricCheck(is_there=True, lacking=0, names=())
        names |= dict.fromkeys(_numbers_in(state))
        lacking += 1
        if lacking == ENOUGH:
            break
    return MetricCheck(is_there=False, lacking=lacking, names=list(names))


def missing_metric(order: SearchOrder, known: Sequence[TrialResult], found: MetricCheck) -> str | None:
    """Return why a search waits for its metric; `None` if it does not, or has no more trials to open."""
    if found.is_there or found.lacking < ENOUGH or len(known) >= order.search.n:
        return None
    return _sentence(order.search.metric, found.names)


def _sentence(metric: str, names: Sequence[str]) -> str:
    shown = [escaped(name) for name in names[:_MOST_NAMES]]
    there = f"the numbers that they returned: {named(shown)}" if shown else "they returned no numbers"
    near = nearest_names(metric, names)
    guess = f" {did_you_mean([escaped(near[0])])}" if near else ""
    return (
        f"it waits, because its first {ENOUGH} finished trials have no number {escaped(metric)} ({there})."
        f"{guess} Mend the metric, or the task (and commit it), and drop the config again"
    )


def _numbers_in(state: RunState) -> Iterator[str]:
    """Yield the names of the numbers that the tasks of a run returned."""
    for task in state.tasks:
        yield from _named_numbers(task.id, task.result)


def _named_numbers(name: str, value: Json, depth: int = 0) -> Iterator[str]:
    if isinstance(value, dict) and depth < _DEEPEST:
        for key, inner in value.items():
            yield from _named_numbers(f"{name}.{key}", inner, depth + 1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name
