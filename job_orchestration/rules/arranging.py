"""Tables of results: which columns they have, and how they are sorted, cut and grouped.

Missing values (null, and NaN) come last in any order, and are left out of every mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from job_orchestration.model.task import Json
    from job_orchestration.rules.tabulating import Row

COUNT: Final = "count"
_ALWAYS: Final = ("run", "elapsed_s")
"""Facts that people want to see; of the others only the place, when not all are in the same."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with the same columns."""

    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Json], ...]
    """A row has every column."""
    shown: tuple[str, ...]
    """The columns for people: what is the same in all rows is left out."""
    figures: tuple[str, ...] = ()
    """The columns that are results, and how long it took."""

    def only(self, columns: Sequence[str]) -> Table:
        """The table with these columns, for people and programs."""
        rows = tuple({column: row[column] for column in columns} for row in self.rows)
        figures = tuple(column for column in columns if column in self.figures)
        return Table(tuple(columns), rows, tuple(columns), figures)

    def led_by(self, column: str, after: int) -> Table:
        """The table in which people see a column behind the first few."""
        others = [c for c in self.shown if c != column]
        return replace(self, shown=(*others[:after], column, *others[after:]))

    def first(self, number: int) -> Table:
        """The table with its first rows."""
        return replace(self, rows=self.rows[:number])


def table_of(rows: Sequence[Row]) -> Table:
    """A table of runs: facts, then parameters, then results, each in the order in which they were met."""
    facts = _united(row.facts for row in rows)
    parameters = _united(row.parameters for row in rows)
    results = _united(row.results for row in rows)
    columns = tuple(dict.fromkeys((*facts, *parameters, *results)))
    whole = tuple({column: row.cells.get(column) for column in columns} for row in rows)
    differing = [c for c in parameters if len({repr(row[c]) for row in whole}) > 1]
    places = ("place",) if len({row["place"] for row in whole}) > 1 else ()
    run, elapsed = _ALWAYS
    wanted = (run, *places, *differing, *results, elapsed)
    shown = tuple(dict.fromkeys(c for c in wanted if any(row[c] is not None for row in whole)))
    return Table(columns, whole, shown, (*results, elapsed))


def _united(parts: Iterable[Mapping[str, Json]]) -> list[str]:
    """The keys of all of them, each once."""
    return list(dict.fromkeys(key for part in parts for key in part))


# -- order ------------------------------------------------------------------------------------------------


def number_in(value: Json) -> float | int | None:
    """A value that can be reckoned with; `None` for all else, truth values and NaN too."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return None if isinstance(value, float) and math.isnan(value) else value


def sorted_by(table: Table, column: str, *, descending: bool = False) -> Table:
    """The rows in the order of a column: numbers, then texts, then all else; what is missing is last."""
    there = [row for row in table.rows if not _is_missing(row[column])]
    missing = [row for row in table.rows if _is_missing(row[column])]
    there.sort(key=lambda row: _key(row[column]), reverse=descending)
    return replace(table, rows=(*there, *missing))


def best(table: Table, column: str, *, lowest: bool = False) -> Table:
    """The rows that have a number in a column, the best first: the highest, or the lowest."""
    rows = tuple(row for row in table.rows if number_in(row[column]) is not None)
    return sorted_by(replace(table, rows=rows), column, descending=not lowest)


def _is_missing(value: Json) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _key(value: Json) -> tuple[int, float | int, str]:
    number = number_in(value)
    if number is not None:
        return 0, number, ""
    return (1, 0, value) if isinstance(value, str) else (2, 0, repr(value))


# -- groups -----------------------------------------------------------------------------------------------

_MEASURES: Final[Mapping[str, Callable[[list[float | int]], Json]]] = {
    "mean": lambda numbers: _finite(fmean, numbers),
    "std": lambda numbers: _finite(stdev, numbers) if len(numbers) > 1 else None,
    "min": min,
    "max": max,
}


def _finite(measure: Callable[[list[float | int]], float], numbers: list[float | int]) -> Json:
    try:
        return measure(numbers)
    except (ArithmeticError, AttributeError, ValueError):  # there is no deviation from infinity
        return None


def grouped(table: Table, keys: Sequence[str]) -> Table:
    """A row for each combination of values of some columns.

    Returns:
        The keys, the ``count`` of runs, and ``NAME.mean``, ``.std`` (of a sample), ``.min`` and ``.max`` of
        each column of figures that holds numbers.
    """
    rows = list(table.rows)
    for key in reversed(keys):
        rows.sort(key=lambda row: (_is_missing(row[key]), _key(row[key])))
    figures = [
        c for c in table.figures if c not in keys and any(number_in(row[c]) is not None for row in rows)
    ]
    found: list[Mapping[str, Json]] = []
    for _, members in groupby(rows, lambda row: [_key(row[key]) for key in keys]):
        group = list(members)
        line: dict[str, Json] = {key: group[0][key] for key in keys} | {COUNT: len(group)}
        for column in figures:
            numbers = [n for row in group if (n := number_in(row[column])) is not None]
            line |= {
                f"{column}.{name}": measure(numbers) if numbers else None
                for name, measure in _MEASURES.items()
            }
        found.append(line)
    measures = tuple(f"{column}.{name}" for column in figures for name in _MEASURES)
    columns = (*keys, COUNT, *measures)
    shown = (*keys, COUNT, *(m for m in measures if m.endswith((".mean", ".std"))))
    return Table(columns, tuple(found), shown, measures)
