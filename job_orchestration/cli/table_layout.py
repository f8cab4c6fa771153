"""Lay out frames of the live view and tables in a given width; omit the least important columns first.

It returns lines and writes nothing to a terminal. Pure.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.cells import cell_len, set_cell_size

from job_orchestration.cli import forecast_text, render
from job_orchestration.diagnostics import durations
from job_orchestration.diagnostics.plurals import counted
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.workspace.layout import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from job_orchestration.commands.live_view import Frame
    from job_orchestration.commands.status import StatusEntry

COLUMNS: Final = ("run", "task", "bar", "percent", "elapsed", "left", "ends", "worker", "note")
_LEAVING: Final = ("worker", "elapsed", "ends", "bar", "note", "percent", "left", "task")
"""Columns in the order in which they are omitted."""
_LEAVING_TABLES: Final = (
    *(
        "waited",
        "worker",
        "elapsed",
        "ends",
        "progress",
        "note",
        "left",
        "verified",
        "waits for",
        "error",
        "task",
    ),
)
"""The same for tables."""
_FEWEST: Final = {"run": 16, "waits for": 16, "error": 16}
"""Columns whose cells may be cut; all others are shown whole or not at all."""
_CAPS: Final = {"run": 48, "task": 24, "worker": 24}
_LEAST: Final = 16
"""Width that the name of a run gets before another column is omitted."""
_BAR: Final = 10
_GAP: Final = 2
_FULL, _EMPTY = "█", "░"
_ASCII: Final = str.maketrans({_FULL: "#", _EMPTY: ".", "…": "~", "└": "`"})


class Line(NamedTuple):
    """One line of a screen."""

    text: str
    style: str = ""


def lines(frame: Frame, width: int, height: int) -> list[Line]:
    """Return a frame for a screen of this size; it leaves a line for the cursor."""
    foot = [Line(part) for part in _foot(frame, width)]
    counts = render.counts_line(frame.overview)
    foot += [Line(part, "bold") for part in textwrap.wrap(counts or "nothing is there", width)]
    failures = [*_waiting(frame, width), *_failures(frame, width)]
    if height - 1 - len(foot) - len(failures) >= 1 + len(frame.rows):
        foot = failures + foot
    body_height = max(height - 1 - len(foot), 0)
    return [*_body(frame, width, body_height), *foot][-max(height - 1, 1) :]


def _waiting(frame: Frame, width: int) -> Iterator[Line]:
    """Yield a line for each of the first runs that do not run, if it is asked why."""
    for entry in frame.waiting:
        text = f"{escaped(entry.run or entry.config)}: {escaped(render.why_of(entry))}"
        yield Line(_cut(text, width), render.STYLES.get(entry.state, ""))


def _failures(frame: Frame, width: int) -> Iterator[Line]:
    """Yield a line for each of the last failures: the run, its task and the error."""
    for entry in frame.failures:
        error = (entry.error or "").partition("\n")[0]
        text = "  ".join(filter(None, (escaped(entry.run or entry.config), _task(entry), escaped(error))))
        yield Line(_cut(f"failed: {text}", width), render.STYLES[Place.FAILED])


def table(entries: Sequence[StatusEntry], width: int) -> list[Line]:
    """Return ``status`` for a screen of this width, one line per run."""
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
    styles = ["bold", *(render.STYLES.get(entry.state, "") for entry in entries)]
    return [
        Line(_joined(row, wide, width), style) for row, style in zip((header, *rows), styles, strict=True)
    ]


def _sum(wide: Mapping[str, int]) -> int:
    return sum(wide.values()) + _GAP * (len(wide) - 1)


def ascii_only(line: Line) -> Line:
    """Replace non-ASCII characters, for a terminal that lacks them."""
    return line._replace(text=line.text.translate(_ASCII).encode("ascii", "replace").decode())


def _foot(frame: Frame, width: int) -> Iterator[str]:
    forecast = frame.overview.forecast
    has_count = forecast.eta_s is not None or not frame.workers  # the forecast names their number
    workers = "" if has_count else counted(frame.workers, "worker")
    said = [_queue(frame), forecast_text.summary(forecast), workers, _keys(frame)]
    for search, problem in frame.overview.searches:
        yield _cut(f"search {escaped(search)}: {problem}", width)
    yield from textwrap.wrap("; ".join(filter(None, said)), width)


def _queue(frame: Frame) -> str:
    """Return a bar of the whole queue: how many runs have ended since the view began, of all there were."""
    whole = frame.done + frame.left
    return f"{_bar(frame.done / whole)} {frame.done}/{whole} have ended" if whole > 1 else ""


def _keys(frame: Frame) -> str:
    """Return what Ctrl-C does now."""
    if frame.is_look:
        return "Ctrl-C leaves; nothing is stopped"
    return "stopping; Ctrl-C again ends at once" if frame.stopping else "Ctrl-C ends"


def _body(frame: Frame, width: int, height: int) -> Iterator[Line]:
    rows = frame.rows
    if not rows or height < 2:  # noqa: PLR2004  # a header without a row says nothing
        return
    logs = height >= 1 + 2 * len(rows) + 1
    most = height - 1 if logs or height - 1 >= len(rows) else height - 2
    shown = rows if logs else rows[:most]
    if not shown:
        return
    texts = [_cells(entry, frame.labels) for entry, _ in shown]
    table = _fitted([dict(zip(COLUMNS, COLUMNS, strict=True)) | {"percent": "", "bar": ""}, *texts], width)
    yield Line(table[0], "bold")
    for (entry, log), text in zip(shown, table[1:], strict=True):
        yield Line(text, render.STYLES.get(entry.state, ""))
        if logs and log:
            yield Line(_cut(f"  └ {escaped(log)}", width), "dim")
    if len(shown) < len(rows):
        yield Line(_cut(f"… and {len(rows) - len(shown)} more", width), "dim")


def _cells(entry: StatusEntry, labels: Mapping[str, str]) -> dict[str, str]:
    place = "" if entry.place is Place.RUNNING else render.words(entry.state)
    return {
        "run": escaped(entry.run or entry.config),
        "task": _task(entry),
        "bar": _bar(entry.progress),
        "percent": "" if entry.progress is None else f"{entry.progress:.0%}",
        "elapsed": "" if entry.elapsed_s is None else durations.text_of(entry.elapsed_s, coarse=True),
        "left": forecast_text.left(entry.eta_s, entry.eta_p90_s),
        "ends": forecast_text.until(entry.eta_at, entry.eta_p90_at),
        "worker": labels.get(entry.held_by or "") or escaped(entry.held_by or ""),
        "note": ", ".join(filter(None, (place, render.note_of(entry)))),
    }


def _bar(progress: float | None) -> str:
    full = round(_BAR * (progress or 0.0))
    return "" if progress is None else _FULL * full + _EMPTY * (_BAR - full)


def _task(entry: StatusEntry) -> str:
    """Return the task: its id, cut if it is long, and its number, which is never cut."""
    whole = render.task_of(entry)
    name, _, which = whole.rpartition(" ")
    return f"{_cut(name, _CAPS['task'] - 1 - len(which))} {which}" if name else whole


def _fitted(rows: Sequence[dict[str, str]], width: int) -> list[str]:
    """Return the rows as aligned lines, without empty columns and those that do not fit."""
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
    """Join the cells of a row to one line."""
    cells = (set_cell_size(_part(name, row[name], n), n) for name, n in wide.items())
    return _cut((" " * _GAP).join(cells).rstrip(), width)


def _part(column: str, text: str, width: int) -> str:
    """Return a cell that fits; the name of a run keeps its end, because names usually differ there."""
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
    """Cut the text with an ellipsis if it is too wide."""
    return text if cell_len(text) <= width else f"{set_cell_size(text, width - 1)}…"
