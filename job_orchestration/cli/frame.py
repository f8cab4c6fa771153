"""Frames of the live view, and tables, as lines that fit: with little room what matters least goes first.

Nothing here writes to a terminal, so it is the same for every width.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.cells import cell_len, set_cell_size

from job_orchestration.cli import render, times
from job_orchestration.model.problem import escaped
from job_orchestration.model.run import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from job_orchestration.actions.live import Frame
    from job_orchestration.actions.status import Entry

COLUMNS: Final = ("run", "task", "bar", "percent", "elapsed", "left", "ends", "worker", "note")
_LEAVING: Final = ("worker", "elapsed", "ends", "bar", "note", "percent", "left", "task")
"""In which order columns go."""
_LEAVING_TABLES: Final = (
    *("worker", "elapsed", "ends", "progress", "note", "left", "waits for", "error", "task"),
)
"""The same for tables."""
_FEWEST: Final = {"run": 16, "waits for": 16, "error": 16}
"""Columns of those cells in a table that may be cut; all others are whole or not there."""
_CAPS: Final = {"run": 48, "task": 24, "worker": 24}
_LEAST: Final = 16
"""Columns that the name of a run is to have before another column goes."""
_BAR: Final = 10
_GAP: Final = 2
_FULL, _EMPTY = "█", "░"
_ASCII: Final = str.maketrans({_FULL: "#", _EMPTY: ".", "…": "~", "└": "`"})


class Line(NamedTuple):
    """One line of a screen."""

    text: str
    style: str = ""


def lines(frame: Frame, width: int, height: int) -> list[Line]:
    """A frame for a screen of this size; no line is wider, and there is room for the cursor below them."""
    foot = [Line(part) for part in _foot(frame, width)]
    counts = render.counts_line({place: n for place, n in frame.overview.counts.items() if n})
    foot += [Line(part, "bold") for part in textwrap.wrap(counts or "nothing is there", width)]
    room = max(height - 1 - len(foot), 0)
    return [*_body(frame, width, room), *foot][-max(height - 1, 1) :]


def table(entries: Sequence[Entry], width: int) -> list[Line]:
    """``status`` for a screen of this width, a line a run; no line is wider."""
    names = render.HEADER
    rows = [dict(zip(names, render.cells(entry), strict=True)) for entry in entries]
    for row, entry in zip(rows, entries, strict=True):
        row |= {"task": _task(entry), "progress": _bar(entry.progress)}
    header = dict(zip(names, names, strict=True))
    whole = {name: max(cell_len(row[name]) for row in (header, *rows)) for name in names}
    wide = {n: min(whole[n], _FEWEST.get(n, whole[n])) for n in names if any(row[n] for row in rows)}
    for name in _LEAVING_TABLES:
        if _sum(wide) <= width:
            break
        wide.pop(name, None)
    for name, fewest in wide.items():  # what is left of the width goes to the names first
        wide[name] = fewest + max(min(whole[name] - fewest, width - _sum(wide)), 0)
    styles = ["bold", *(render.STYLES.get(entry.place, "") for entry in entries)]
    return [
        Line(_joined(row, wide, width), style) for row, style in zip((header, *rows), styles, strict=True)
    ]


def _sum(wide: Mapping[str, int]) -> int:
    return sum(wide.values()) + _GAP * (len(wide) - 1)


def ascii_only(line: Line) -> Line:
    """The same for a terminal that knows no other characters."""
    return line._replace(text=line.text.translate(_ASCII).encode("ascii", "replace").decode())


def _foot(frame: Frame, width: int) -> Iterator[str]:
    forecast = frame.overview.forecast
    told = forecast.eta_s is not None or not frame.workers  # the forecast says with how many
    workers = "" if told else f"{frame.workers} worker" + ("" if frame.workers == 1 else "s")
    said = [times.forecast(forecast), workers, "stopping" if frame.stopping else "Ctrl-C ends"]
    yield from textwrap.wrap("; ".join(filter(None, said)), width)


def _body(frame: Frame, width: int, room: int) -> Iterator[Line]:
    rows = frame.rows
    if not rows or room < 2:  # noqa: PLR2004  # a header without a row says nothing
        return
    logs = room >= 1 + 2 * len(rows) + 1
    most = room - 1 if logs or room - 1 >= len(rows) else room - 2
    shown = rows if logs else rows[:most]
    if not shown:
        return
    texts = [_cells(entry) for entry, _ in shown]
    table = _fitted([dict(zip(COLUMNS, COLUMNS, strict=True)) | {"percent": "", "bar": ""}, *texts], width)
    yield Line(table[0], "bold")
    for (entry, log), text in zip(shown, table[1:], strict=True):
        yield Line(text, render.STYLES.get(entry.place, ""))
        if logs and log:
            yield Line(_cut(f"  └ {escaped(log)}", width), "dim")
    if len(shown) < len(rows):
        yield Line(_cut(f"… and {len(rows) - len(shown)} more", width), "dim")


def _cells(entry: Entry) -> dict[str, str]:
    place = "" if entry.place is Place.RUNNING else render.words(entry.place)
    return {
        "run": escaped(entry.run or entry.config),
        "task": _task(entry),
        "bar": _bar(entry.progress),
        "percent": "" if entry.progress is None else f"{entry.progress:.0%}",
        "elapsed": "" if entry.elapsed_s is None else times.brief(entry.elapsed_s),
        "left": times.left(entry.eta_s, entry.eta_p90_s),
        "ends": times.until(entry.eta_at, entry.eta_p90_at),
        "worker": escaped(entry.held_by or ""),
        "note": ", ".join(filter(None, (place, entry.note))),
    }


def _bar(progress: float | None) -> str:
    full = round(_BAR * (progress or 0.0))
    return "" if progress is None else _FULL * full + _EMPTY * (_BAR - full)


def _task(entry: Entry) -> str:
    """The task, its id cut when it is long, for which of how many it is says more."""
    whole = render.task_of(entry)
    name, _, which = whole.rpartition(" ")
    return f"{_cut(name, _CAPS['task'] - 1 - len(which))} {which}" if name else whole


def _fitted(rows: Sequence[dict[str, str]], width: int) -> list[str]:
    """The rows as aligned lines: columns without content are left out, then those with the least to say."""
    wide = {
        name: min(max(cell_len(row[name]) for row in rows), _CAPS.get(name, width))
        for name in COLUMNS
        if any(row[name] for row in rows[1:])
    }

    def needed(name_width: int) -> int:
        return sum(wide.values()) - wide["run"] + name_width + _GAP * (len(wide) - 1)

    for name in _LEAVING:
        if needed(min(wide["run"], _LEAST)) <= width:
            break
        wide.pop(name, None)
    wide["run"] = max(min(wide["run"], wide["run"] + width - needed(wide["run"])), 1)
    return [_joined(row, wide, width) for row in rows]


def _joined(row: Mapping[str, str], wide: Mapping[str, int], width: int) -> str:
    """A row as one line."""
    cells = (set_cell_size(_part(name, row[name], n), n) for name, n in wide.items())
    return _cut((" " * _GAP).join(cells).rstrip(), width)


def _part(column: str, text: str, width: int) -> str:
    """A cell that fits; names of runs differ at their ends more often than not, so these stay."""
    end = (width - 1) // 2
    if column != "run" or cell_len(text) <= width or not end:
        return _cut(text, width)
    kept = ""
    for character in reversed(text):
        if cell_len(character + kept) > end:
            break
        kept = character + kept
    return f"{_cut(text, width - cell_len(kept))}{kept}"


def _cut(text: str, width: int) -> str:
    """The text when it fits, else its beginning and an ellipsis."""
    return text if cell_len(text) <= width else f"{set_cell_size(text, width - 1)}…"
