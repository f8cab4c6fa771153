"""Tables as text for other programs: CSV, Markdown and JSON."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.model.problem import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from job_orchestration.model.task import Json
    from job_orchestration.rules.arranging import Table

_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")
"""How a cell begins that a spreadsheet would reckon out; or one that looks as if we had shielded it."""
_NUMBER: Final = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_SPECIAL: Final = re.compile(r"[\\|<*`]")
_QUOTED: Final = re.compile(r'[",\r\n]|^\s|\s$')


def cell(value: Json) -> str:
    """A value as a cell says it: nothing for null, JSON for lists and mappings."""
    match value:
        case None:
            return ""
        case str():
            return value
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return json.dumps(strict(value), ensure_ascii=False)


def strict(value: Json) -> Any:
    """A value as JSON can say it: NaN and infinity become null."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case list():
            return [strict(inner) for inner in value]
        case dict():
            return {key: strict(inner) for key, inner in value.items()}
        case _:
            return value


def json_rows(table: Table) -> list[dict[str, Any]]:
    """The rows as ``--json`` and ``--ndjson`` show them."""
    return [{column: strict(row[column]) for column in table.columns} for row in table.rows]


def csv_lines(table: Table) -> Iterator[str]:
    """The table as comma-separated values (RFC 4180), with a line of names; each ends without its line end.

    A text that a spreadsheet would take for a formula (it begins with ``=``, ``+``, ``-``, ``@``, a tab or a
    return, and is no number) gets a ``'`` before it. Whoever wants it back takes one ``'`` away before these.
    """
    yield ",".join(_csv(column) for column in table.columns)
    for row in table.rows:
        line = ",".join(_csv(row[column]) for column in table.columns)
        yield line or '""'  # an empty line would be none


def _csv(value: Json) -> str:
    text = cell(value)
    if isinstance(value, str):
        text = shielded(text)
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def shielded(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unshielded(text: str) -> str:
    """What `shielded` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def short(value: Json) -> str:
    """A value as a person wants to see it: a number with six digits."""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.6g}"
    return cell(value)


def markdown_lines(columns: Iterable[str], rows: Iterable[Mapping[str, Json]]) -> Iterator[str]:
    """A table as GitHub's Markdown has it."""
    columns = list(columns)
    yield _markdown(columns)
    yield _markdown(["---"] * len(columns))
    for row in rows:
        yield _markdown(short(row[column]) for column in columns)


def _markdown(cells: Iterable[str]) -> str:
    escaped_cells = (_SPECIAL.sub(r"\\\g<0>", escaped(" ".join(text.split()))) for text in cells)
    return f"| {' | '.join(escaped_cells)} |"
