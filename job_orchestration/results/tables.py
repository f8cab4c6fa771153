"""Tables of results: select their columns, and sort, cut and group their rows.

Missing values (null and NaN) come last in any order and are left out of every mean. Pure.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Final

from job_orchestration.runs.events import INTENDED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.results.result_rows import Row

COUNT: Final = "count"
_HASH: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ALWAYS: Final = ("run", "elapsed_s")
"""Facts that people see; of the others the place, if the rows differ in it, and the outcome, if some were
cancelled or pruned: they lie in the same place as those that failed."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with the same columns."""

    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Json], ...]
    """A row has every column."""
    shown: tuple[str, ...]
    """The columns for people, without those that are equal in all rows."""
    figures: tuple[str, ...] = ()
    """The columns that are results, and the duration."""

    def only(self, columns: Sequence[str]) -> Table:
        """Return the table with only these columns, for people and programs."""
        rows = tuple({column: row[column] for column in columns} for row in self.rows)
        figures = tuple(column for column in columns if column in self.figures)
        return Table(tuple(columns), rows, tuple(columns), figures)

    def led_by(self, column: str, after: int) -> Table:
        """Return the table with a column moved behind the first `after` shown columns."""
        others = [c for c in self.shown if c != column]
        return replace(self, shown=(*others[:after], column, *others[after:]))

    def first(self, number: int) -> Table:
        """Return the table with its first rows, and without columns that say nothing of these."""
        rows = self.rows[:number]
        filled = [c for c in self.shown if any(row[c] is not None for row in rows)]
        shown = tuple(c for c in filled if not c.endswith(".method") or _differs(c, rows))
        return replace(self, rows=rows, shown=shown)


def table_of(rows: Sequence[Row]) -> Table:
    """Return a table of runs: facts, then parameters, then results, each in order of appearance."""
    facts = _united(row.facts for row in rows)
    parameters = _united(row.parameters for row in rows)
    results = _united(row.results for row in rows)
    columns = tuple(dict.fromkeys((*facts, *parameters, *results)))
    whole = tuple({column: row.cells.get(column) for column in columns} for row in rows)
    differing = [c for c in parameters if _differs(c, whole)]
    places = ("place",) if len({row["place"] for row in whole}) > 1 else ()
    outcomes = ("outcome",) if any(row["outcome"] in INTENDED for row in whole) else ()
    run, elapsed = _ALWAYS
    wanted = (run, *places, *outcomes, *differing, *_headline(results, whole), elapsed)
    shown = tuple(dict.fromkeys(c for c in wanted if any(row[c] is not None for row in whole)))
    return Table(columns, whole, shown, (*results, elapsed))


def _differs(parameter: str, rows: Sequence[Mapping[str, Json]]) -> bool:
    """Whether a parameter is not the same in all rows; a task that a run lacks has no other method there."""
    values = {repr(row[parameter]) for row in rows}
    return len(values - {"None"} if parameter.endswith(".method") else values) > 1


def _headline(results: Sequence[str], rows: Sequence[Mapping[str, Json]]) -> list[str]:
    """The results for people: each figure once, no hashes, and the summary of a run alone if it has one.

    A task may return what it also writes into the run's ``results.yaml``. This is a copy, and says that the
    file is the summary of the run: what the other tasks of such a run returned is for programs.
    """
    named = set(results)
    copies: dict[str, list[str]] = {}
    for column in results:
        prefix, _, name = column.partition(".")
        if name in named and all(_same(row[column], row[name]) for row in rows):
            copies.setdefault(prefix, []).append(column)
    of_prefix: dict[str, list[str]] = {}
    for column in results:
        of_prefix.setdefault(column.partition(".")[0], []).append(column)
    doubled = {column for columns in copies.values() for column in columns}
    summarised = [columns for prefix, columns in copies.items() if columns == of_prefix[prefix]]
    summary = {column.partition(".")[2] for columns in summarised for column in columns}
    has_summary = [any(row[c] is not None for columns in summarised for c in columns) for row in rows]

    def is_shown(column: str) -> bool:
        if column in doubled or all(_is_hash(row[column]) for row in rows):
            return False
        in_summary = all(row[column] is None or there for row, there in zip(rows, has_summary, strict=True))
        return column in summary or not (summarised and in_summary)

    return sorted(filter(is_shown, results), key=lambda column: column not in summary)


def _same(one: Json, other: Json) -> bool:
    return repr(one) == repr(other)


def _is_hash(value: Json) -> bool:
    return value is None or (isinstance(value, str) and bool(_HASH.fullmatch(value)))


def _united(parts: Iterable[Mapping[str, Json]]) -> list[str]:
    """Return the keys of all mappings, each once."""
    return list(dict.fromkeys(key for part in parts for key in part))


# -- order ------------------------------------------------------------------------------------------------


def number_in(value: Json) -> float | int | None:
    """Return a value if it is a number; `None` for everything else, including booleans and NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return None if isinstance(value, float) and math.isnan(value) else value


def sorted_by(table: Table, column: str, *, descending: bool = False) -> Table:
    """Return the rows sorted by a column: numbers, texts, other values; missing values come last."""
    there = [row for row in table.rows if not _is_missing(row[column])]
    missing = [row for row in table.rows if _is_missing(row[column])]
    there.sort(key=lambda row: _key(row[column]), reverse=descending)
    return replace(table, rows=(*there, *missing))


def best(table: Table, column: str, *, lowest: bool = False) -> Table:
    """Return the rows that have a number in a column, the highest first, or the lowest."""
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
    """Return a row for each combination of values of some columns.

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
