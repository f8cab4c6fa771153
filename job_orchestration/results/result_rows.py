"""Turn the state of a run into one flat row; ``--filter`` uses the same names of columns.

A row has three parts, in this order: facts (``run``, ``place``, ``elapsed_s``, …), parameters (what the
config says: ``lr``, and ``train.lr`` for a key of a task's own) and results (``train.accuracy`` for what
the task ``train`` returned or saved, ``accuracy`` for what stands in ``results.yaml``). A mapping becomes a
column for each of its keys. If a name is taken, the column gets ``config.`` or ``result.`` before it. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from job_orchestration.config.config import specs_of
from job_orchestration.config.settings import RULES
from job_orchestration.diagnostics import secrets
from job_orchestration.runs import run_times, run_usage
from job_orchestration.runs.state import TaskStatus
from job_orchestration.workspace.layout import Place

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from job_orchestration.config.config import Json
    from job_orchestration.runs.state import RunState

MOST_KEYS: Final = 100
"""A mapping with more keys stays one cell: it is data, and no set of figures."""
_DEEPEST: Final = 6
_HOW_IT_RUNS: Final = frozenset(
    {
        *(key for key in RULES if key not in {"seed", "inputs"}),
        *("githubRepository", "pathToTasks", "outputDir", "tasks", "resources", "priority", "after"),
        *(
            "notify",
            "callbackUrl",
            "callbackProgress",
            "callbackPublicOnly",
            "notifyAddress",
            "needs",
            "when",
            "reuse",
            "sweep",
        ),
    }
)
"""Keys of a config that say how a run is executed; they are not parameters."""


FACTS: Final = frozenset(
    {
        *(
            "run",
            "config",
            "place",
            "status",
            "outcome",
            "commit",
            "seed",
            "attempt",
            "readied_at",
            "started_at",
        ),
        *("ended_at", "elapsed_s", "waiting_s", "error"),
    }
)
"""The columns that every run has."""


@dataclass(frozen=True)
class Row:
    """One run."""

    facts: Mapping[str, Json]
    parameters: Mapping[str, Json]
    results: Mapping[str, Json]
    values: Mapping[str, Json]
    """The unflattened config, for a filter that names a whole mapping."""
    hidden: Mapping[str, Json] = field(default_factory=dict)
    """Columns that are there only for those who name them: ``usage.cpu_s``, ``usage.train.peak_bytes``, …"""

    @cached_property
    def cells(self) -> dict[str, Json]:
        """All columns of the row."""
        return {**self.facts, **self.parameters, **self.results}

    def answers(self, names: Mapping[str, str]) -> Mapping[str, Json]:
        """Return the values that a filter sees: the columns, also under other names, and the config.

        Args:
            names: the column of each other name.
        """
        cells = self.cells
        known = {name: cells[column] for name, column in names.items() if column in cells}
        return {**self.hidden, **self.values, **cells, **known}

    def with_hidden(self, names: Collection[str]) -> Row:
        """Return the row with some of the hidden columns among its facts."""
        shown = {name: self.hidden.get(name) for name in names if name not in self.cells}
        return Row({**self.facts, **shown}, self.parameters, self.results, self.values)


def row_of(
    run: str | None,
    config: str,
    place: Place,
    state: RunState | None,
    saved: Sequence[tuple[str, Json]] = (),
    *,
    error: str | None = None,
    now: datetime,
) -> Row:
    """Return the row of a run, or of a config without a run.

    Args:
        run: its output folder.
        config: its config's name.
        place: where it is.
        state: the fold of its journal.
        saved: the contents of files of results, each with the id of its task, or an empty one.
        error: the content of the problems file beside its token.
        now: the current time, for the work of a running attempt.
    """
    facts: dict[str, Json] = {
        "run": run,
        "config": config,
        "place": str(place),
        "status": state.status.name if state else None,
        "outcome": state.outcome.value if state and state.outcome else None,
        "commit": state.code.commit if state and state.code else None,
        "seed": state.seed if state else None,
        "attempt": (state.attempt or None) if state else None,
        "readied_at": state.readied_at if state else None,
        "started_at": state.started_at if state else None,
        "ended_at": state.ended_at if state else None,
        "elapsed_s": _elapsed(state, place, now) if state else None,
        "waiting_s": _waiting(state, place, now) if state else None,
        "error": error or (state.error if state else None),
    }
    if state is None:
        return Row(facts, {}, {}, {})
    parameters = _distinct("config", _parameters(state), facts)
    returned = [(t.id, t.result) for t in state.tasks if t.status is TaskStatus.FINISHED]
    found = [(name, cell) for prefix, value in (*returned, *saved) for name, cell in flattened(prefix, value)]
    results = _distinct("result", found, facts.keys() | parameters)
    return Row(facts, parameters, results, state.values, run_usage.columns_of(state.tasks))


def _elapsed(state: RunState, place: Place, now: datetime) -> float | None:
    """Return the seconds of work of a run that has ended or that a worker has."""
    if state.ended_at is None and place is not Place.RUNNING:
        return None
    return run_times.worked(state, now)


def _waiting(state: RunState, place: Place, now: datetime) -> float | None:
    return None if place is Place.INTERRUPTED else run_times.waited(state, now)


def _parameters(state: RunState) -> list[tuple[str, Json]]:
    found = []
    for key, value in state.values.items():
        if key not in _HOW_IT_RUNS:
            found += flattened(key, secrets.hidden(value, key))
    for spec in specs_of(state.values):
        for key, value in spec.parameters.items():
            if key not in _HOW_IT_RUNS and key != "id":
                found += flattened(f"{spec.id}.{key}", secrets.hidden(value, key))
    return found


def flattened(prefix: str, value: Json, depth: int = 0) -> list[tuple[str, Json]]:
    """Return a value as columns: one per key of a mapping that is neither large nor deep, otherwise one.

    A value without a name (empty prefix, no mapping) is called ``results``; null gives no column.
    """
    if isinstance(value, Mapping) and 0 < len(value) <= MOST_KEYS and depth < _DEEPEST:
        dot = "." if prefix else ""
        return [
            pair
            for key, inner in value.items()
            for pair in flattened(f"{prefix}{dot}{key}", inner, depth + 1)
        ]
    return [] if value is None and depth == 0 else [(prefix or "results", value)]


def _distinct(kind: str, found: Sequence[tuple[str, Json]], taken: Collection[str]) -> dict[str, Json]:
    """Return the columns under unused names; equal values of one name become one column."""
    cells: dict[str, Json] = {}
    for name, value in found:
        while name in taken or (name in cells and not _same(cells[name], value)):
            name = f"{kind}.{name}"  # noqa: PLW2901 - it is the name that is looked for
        cells[name] = value
    return cells


def _same(one: Json, other: Json) -> bool:
    """Whether two values are equal; a NaN in them equals another."""
    return one == other or repr(one) == repr(other)


def columns_meant(name: str, columns: Collection[str]) -> list[str]:
    """Return the columns that a name means: itself, or those that end in it (``train.lr`` for ``lr``)."""
    if name in columns:
        return [name]
    return [column for column in columns if column.endswith(f".{name}")]
