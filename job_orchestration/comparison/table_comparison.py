"""Compare two tables row by row: rows belong together by a key column, or else by their number.

The key is the first column that names each row once in both tables, such as a gene's. A column of decimal
numbers names no rows, and one that only counts them does so if there is no other.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.comparison.deviations import Deviations

_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][+-]?[0-9]+)?")
_WHOLE: Final = re.compile(r"[+-]?[0-9]+")
_CODE: Final = re.compile(r"0[0-9]+")
"""Names something: as a number it would lose its zeros."""
_LONGEST_CELL: Final = 64 << 20
_ABSENT: Final = "(absent)"


@dataclass(frozen=True, slots=True)
class _Table:
    """A table: the names of its columns, and its rows of texts or values."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def column(self, name: str) -> list[Any]:
        index = self.columns.index(name)
        return [row[index] for row in self.rows]


def by_tabs(before: bytes, after: bytes, found: Deviations) -> str:
    """Compare two texts of cells with tabs between them; return what was compared."""
    return _compared(_read(before, "\t"), _read(after, "\t"), found)


def by_commas(before: bytes, after: bytes, found: Deviations) -> str:
    """Compare two texts of cells with commas, or semicolons, between them; return what was compared."""
    first = before.partition(b"\n")[0]
    delimiter = ";" if first.count(b";") > first.count(b",") else ","
    return _compared(_read(before, delimiter), _read(after, delimiter), found)


def by_parquet(before: bytes, after: bytes, found: Deviations) -> str:
    """Compare two Parquet files; return what was compared."""
    import pyarrow.parquet

    tables = []
    for data in (before, after):
        table = pyarrow.parquet.read_table(io.BytesIO(data))
        columns = [column.to_pylist() for column in table.columns]
        tables.append(_Table(table.column_names, list(zip(*columns, strict=True))))
    return _compared(tables[0], tables[1], found)


def _read(data: bytes, delimiter: str) -> _Table:
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        text = data.decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    finally:
        csv.field_size_limit(limit)
    if not rows:
        return _Table((), ())
    columns = rows[0]
    if len(set(columns)) < len(columns):
        columns = [f"{name} ({n})" if columns.count(name) > 1 else name for n, name in enumerate(columns, 1)]
    if any(len(row) != len(columns) for row in rows[1:] if row):
        raise ValueError("its rows are not of one length")
    return _Table(columns, [row for row in rows[1:] if row])


def _compared(before: _Table, after: _Table, found: Deviations) -> str:
    for name in dict.fromkeys((*before.columns, *after.columns)):
        if name not in before.columns or name not in after.columns:
            shown = (f"{len(t.rows)} rows" if name in t.columns else _ABSENT for t in (before, after))
            found.differ(f"column {name}", *shown)
    common = [name for name in before.columns if name in after.columns]
    key = _key(before, after, common)
    rows = _by_key(before, key), _by_key(after, key)
    places = [(c, before.columns.index(c), after.columns.index(c)) for c in common if c != key]
    for name in dict.fromkeys((*rows[0], *rows[1])):
        old, new = rows[0].get(name), rows[1].get(name)
        if old is None or new is None:
            found.differ(_where(key, name), _shown(old), _shown(new))
        else:
            for column, i, j in places:
                _compare_cells(found, f"{_where(key, name)}, column {column}", old[i], new[j])
    _remark(before, after, rows, found)
    return "table by row" if key is None else f"table by {key}"


def _remark(
    before: _Table,
    after: _Table,
    rows: tuple[Mapping[Any, Sequence[Any]], Mapping[Any, Sequence[Any]]],
    found: Deviations,
) -> None:
    if list(rows[0]) != list(rows[1]) and rows[0].keys() == rows[1].keys():
        found.remark = "the rows are in another order"
    elif list(before.columns) != list(after.columns) and set(before.columns) == set(after.columns):
        found.remark = "the columns are in another order"


def _where(key: str | None, name: Any) -> str:
    return f"row {name}" if key is None else f"{key} {name}"


def _shown(row: Sequence[Any] | None) -> str:
    return _ABSENT if row is None else ", ".join(map(str, row))


def _compare_cells(found: Deviations, where: str, before: Any, after: Any) -> None:
    if type(before) is type(after) and before == after:
        return
    if isinstance(before, str) and isinstance(after, str):
        numbers = _number_in(before), _number_in(after)
        if numbers[0] is not None and numbers[1] is not None:
            before, after = numbers
    found.compare(where, before, after)


def _number_in(text: str) -> float | None:
    if "_" in text or _CODE.fullmatch(text):
        return None
    try:
        return int(text) if _WHOLE.fullmatch(text) else float(text)
    except ValueError:
        return None


def _by_key(table: _Table, key: str | None) -> Mapping[Any, Sequence[Any]]:
    if key is None:
        return dict(enumerate(table.rows, 1))
    index = table.columns.index(key)
    return {row[index]: row for row in table.rows}


def _key(before: _Table, after: _Table, common: Sequence[str]) -> str | None:
    """Return the first column whose values name the rows of both tables; rather one that does not count."""
    counting = None
    for name in common:
        columns = before.column(name), after.column(name)
        if all(map(_names_rows, columns)) and not set(columns[0]).isdisjoint(columns[1]):
            if not all(map(_counts_rows, columns)):
                return name
            counting = counting or name
    return counting


def _names_rows(values: Sequence[Any]) -> bool:
    texts = {value for value in values if isinstance(value, str | int) and not isinstance(value, bool)}
    if len(texts) < len(values):
        return False
    return not any(isinstance(text, str) and (not text or _DECIMAL.fullmatch(text)) for text in texts)


def _counts_rows(values: Sequence[Any]) -> bool:
    """Return whether values are 0, 1, 2 … or 1, 2, 3 … in this order."""
    texts = list(map(str, values))
    return any(texts == list(map(str, range(first, first + len(texts)))) for first in (0, 1))
