"""`results`: what runs gave, and what with, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_orchestration.actions import selection
from job_orchestration.files import history
from job_orchestration.rules import arranging

if TYPE_CHECKING:
    from job_orchestration.actions.selection import Choice
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.rules.arranging import Table


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How a table is made of the runs. A column may be named by its last parts: ``accuracy``."""

    group_by: tuple[str, ...] = ()
    """One row for each combination of the values of these columns."""
    sort: str | None = None
    descending: bool = False
    best: str | None = None
    """Only rows that have this figure, the best first; one of them when `top` says nothing."""
    lowest: bool = False
    """Whether the lowest is the best."""
    top: int | None = None
    """How many rows at most."""
    columns: tuple[str, ...] = ()
    """The columns wanted, in their order."""


AS_THEY_ARE = Arrangement()


@dataclass(frozen=True, slots=True)
class Results:
    """A table, and what was left out of it."""

    table: Table
    notes: tuple[str, ...]
    """A sentence for each file that could not be read."""


def results(
    workspace: Workspace,
    choice: Choice = selection.EVERYTHING,
    arrangement: Arrangement = AS_THEY_ARE,
) -> Results:
    """Gather parameters and results without changing anything; what still runs shows what it has finished.

    Args:
        workspace: where the runs are.
        choice: which of them.
        arrangement: how the table is sorted, grouped and cut.

    Raises:
        UsageError: when a run, a key or a column is named that is not there.
    """
    records = [r for r in history.entries(workspace) if r.run is not None and r.state is not None]
    notes: list[str] = []
    found = [row for _, row in selection.chosen_rows(workspace, records, choice, notes)]
    found.sort(key=lambda row: (str(row.facts["readied_at"] or ""), str(row.facts["run"])))
    if arrangement.best is not None and not any(row.results for row in found):
        found = []  # whoever looks for the best of what has just begun has made no mistake
    return Results(_arranged(arranging.table_of(found), arrangement), tuple(notes))


def _arranged(table: Table, how: Arrangement) -> Table:
    if not table.rows:
        return table
    if how.group_by:
        table = arranging.grouped(table, [_column(table, name) for name in how.group_by])
    if how.sort is not None:
        table = arranging.sorted_by(table, _column(table, how.sort, how), descending=how.descending)
    if how.best is not None:
        column = _column(table, how.best, how)
        table = arranging.best(table, column, lowest=how.lowest).led_by(column, len(how.group_by) or 1)
    top = 1 if how.best is not None and how.top is None else how.top
    table = table if top is None else table.first(top)
    if not how.columns:
        return table
    return table.only(list(dict.fromkeys(_column(table, name, how) for name in how.columns)))


def _column(table: Table, name: str, how: Arrangement = AS_THEY_ARE) -> str:
    """The column of a name; of groups the mean is meant where nothing else is said."""
    means = {c.removesuffix(".mean"): c for c in table.figures if how.group_by and c.endswith(".mean")}
    found = selection.column_of(name, {*table.columns, *means})
    return means.get(found, found)
