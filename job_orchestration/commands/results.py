"""`results`: one table of the parameters and results of runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_orchestration.commands import selection
from job_orchestration.config import metric_directions
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.results import tables
from job_orchestration.runs import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.commands.selection import Selection
    from job_orchestration.config.config import Json
    from job_orchestration.results.tables import Table
    from job_orchestration.workspace.layout import Workspace


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How to group, sort and cut the table. A column may be named by its last parts: ``accuracy``."""

    group_by: tuple[str, ...] = ()
    """One row for each combination of the values of these columns."""
    sort: str | None = None
    descending: bool = False
    best: str | None = None
    """Only rows with a number in this column, best first; one row if `top` is not given."""
    lowest: bool = False
    """Whether the lowest is the best; also if the configs say so (`config.metric_directions`)."""
    top: int | None = None
    """Most rows."""
    columns: tuple[str, ...] = ()
    """Columns to return, in this order."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are asked for."""
        asked = (*self.group_by, self.sort, self.best, *self.columns)
        return tuple(name for name in asked if name is not None)


AS_THEY_ARE = Arrangement()


@dataclass(frozen=True, slots=True)
class Results:
    """The table, and notes about unreadable files."""

    table: Table
    notes: tuple[str, ...]
    """One sentence per file that could not be read."""


def results(
    workspace: Workspace,
    choice: Selection = selection.EVERYTHING,
    arrangement: Arrangement = AS_THEY_ARE,
) -> Results:
    """Collect parameters and results; unfinished runs contribute their finished tasks. Changes nothing.

    Args:
        workspace: the workspace to read.
        choice: which runs.
        arrangement: how the table is sorted, grouped and cut.

    Raises:
        UsageError: if a run, a key or a column does not exist.
    """
    every = [r for r in catalog.entries(workspace) if r.run is not None]
    records = [r for r in every if r.state is not None]
    notes = [f"{escaped(r.run or '')} is left out: {r.error}." for r in every if r.unreadable is not None]
    found = [row for _, row in selection.chosen_rows(workspace, records, choice, notes)]
    found.sort(key=lambda row: (str(row.facts["readied_at"] or ""), str(row.facts["run"])))
    hidden = {name for name in arrangement.names if any(name in row.hidden for row in found)}
    found = [row.with_hidden(hidden) for row in found] if hidden else found
    if arrangement.best is not None and not any(row.results for row in found):
        found = []  # no results yet: an empty table, not an error
    names = {row.facts["run"] for row in found}
    configs = [record.state.values for record in records if record.run in names and record.state is not None]
    return Results(_arranged(tables.table_of(found), arrangement, configs), tuple(notes))


def _arranged(table: Table, how: Arrangement, configs: Sequence[Mapping[str, Json]]) -> Table:
    if not table.rows:
        return table
    if how.group_by:
        table = tables.grouped(table, [_column(table, name) for name in how.group_by])
    if how.sort is not None:
        table = tables.sorted_by(table, _column(table, how.sort, how), descending=how.descending)
    if how.best is not None:
        column = _column(table, how.best, how)
        lowest = how.lowest or metric_directions.agreed(configs, column.removesuffix(".mean")) is False
        table = tables.best(table, column, lowest=lowest).led_by(column, len(how.group_by) or 1)
    top = 1 if how.best is not None and how.top is None else how.top
    table = table if top is None else table.first(top)
    if not how.columns:
        return table
    return table.only(list(dict.fromkeys(_column(table, name, how) for name in how.columns)))


def _column(table: Table, name: str, how: Arrangement = AS_THEY_ARE) -> str:
    """Return the column of a name; in a grouped table, a bare name refers to the mean."""
    means = {c.removesuffix(".mean"): c for c in table.figures if how.group_by and c.endswith(".mean")}
    figures = [c for c in table.figures if any(tables.number_in(row[c]) is not None for row in table.rows)]
    found = selection.column_of(name, {*table.columns, *means}, figures=figures)
    return means.get(found, found)
