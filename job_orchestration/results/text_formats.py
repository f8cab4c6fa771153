"""Format tables as CSV, Markdown and JSON. Pure."""

from __future__ import annotations

import csv
import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config.json_floats import strict
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from job_orchestration.config.config import Json
    from job_orchestration.results.tables import Table

_FIRST: Final = 3
"""How many entries of a list people see."""
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")
"""Start of a text that a spreadsheet would evaluate, or that looks already shielded."""
_NUMBER: Final = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_SPECIAL: Final = re.compile(r"[\\|<*`]")


def cell(value: Json) -> str:
    """Return a value as the text of a cell: empty for null, JSON for lists and mappings.

    NaN and infinities stay what they are, also inside lists and mappings, where they read ``NaN``,
    ``Infinity`` and ``-Infinity``, as Python and pandas read them.
    """
    match value:
        case None:
            return ""
        case str():
            return value
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return json.dumps(value, ensure_ascii=False)


def json_rows(table: Table) -> list[dict[str, Any]]:
    """Return the rows that ``--json`` and ``--ndjson`` print."""
    return [{column: strict(row[column]) for column in table.columns} for row in table.rows]


class _Lines:
    """The file that `csv.writer` writes to: it keeps the last line."""

    last = ""

    def write(self, line: str) -> None:
        """Keep a line."""
        self.last = line


def csv_lines(table: Table) -> Iterator[str]:
    """Yield the table as CSV (RFC 4180), header first, each line without its line end.

    A text that a spreadsheet would evaluate as a formula (it starts with ``=``, ``+``, ``-``, ``@``, a tab or
    a carriage return, and is not a number) gets a leading ``'``. `unshielded` removes it.
    """
    lines = _Lines()
    writer = csv.writer(lines)
    for cells in (table.columns, *([row[column] for column in table.columns] for row in table.rows)):
        writer.writerow(shielded(value) if isinstance(value, str) else cell(value) for value in cells)
        yield lines.last.removesuffix(writer.dialect.lineterminator)


def shielded(text: str) -> str:
    """Return a text that no spreadsheet evaluates as a formula."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unshielded(text: str) -> str:
    """Undo `shielded`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def short(value: Json) -> str:
    """Return a value as shown to people: numbers with six significant digits, of a list the first three."""
    if isinstance(value, list) and len(value) > _FIRST and not any(isinstance(v, list | dict) for v in value):
        return f"{', '.join(short(one) for one in value[:_FIRST])} and {len(value) - _FIRST} more"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.6g}"
    return cell(value)


def markdown_lines(columns: Iterable[str], rows: Iterable[Mapping[str, Json]]) -> Iterator[str]:
    """Yield a table in GitHub Markdown."""
    columns = list(columns)
    yield _markdown(columns)
    yield _markdown(["---"] * len(columns))
    for row in rows:
        yield _markdown(short(row[column]) for column in columns)


def _markdown(cells: Iterable[str]) -> str:
    escaped_cells = (_SPECIAL.sub(r"\\\g<0>", escaped(" ".join(text.split()))) for text in cells)
    return f"| {' | '.join(escaped_cells)} |"
