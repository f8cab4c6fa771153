"""Show the sweep of a config in `check`: the number of trials, and a table of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.diagnostics.problems import escaped
from job_orchestration.search.trials import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from job_orchestration.commands.check import Examined
    from job_orchestration.config.config import Json

_MOST_ROWS: Final = 40
"""Longest table shown whole; of a longer one the middle is left out. ``--json`` has all rows."""
_END: Final = 5
_WIDEST: Final = 24


def as_json(examined: Examined) -> list[dict[str, Any]]:
    """Return the trials of a sweep for ``check --json``."""
    return [{"parameters": dict(t.parameters), "run": t.run, "new": t.is_new} for t in examined.trials]


def lines_of(examined: Examined) -> Iterator[str]:
    """Yield the count and the table; nothing if the config has no sweep."""
    trials = examined.trials
    if not trials:
        return
    yield f"{escaped(examined.file)}: {_count(examined)}"
    keys = list(trials[0].parameters)
    rows = [[*keys, "folder"]]
    for trial in trials:
        folder = os.path.basename(trial.run or "")
        values = [_shown(trial.parameters.get(key)) for key in keys]
        rows.append([*values, folder if trial.is_new else f"{folder} (there already)"])
    shown = rows
    if len(rows) > _MOST_ROWS:
        left_out = len(rows) - _MOST_ROWS
        gap = ["…"] * len(keys) + [f"({left_out} more)"]
        shown = [*rows[: _MOST_ROWS - _END], gap, *rows[-_END:]]
    shown = [[_cut(cell) for cell in row[:-1]] + [row[-1]] for row in shown]
    widths = [max(len(row[i]) for row in shown) for i in range(len(keys))]
    for row in shown:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield escaped(f"  {'  '.join([*cells, row[-1]])}")


def _count(examined: Examined) -> str:
    search, trials = examined.search, examined.trials
    if search is not None:
        at_a_time = f"{search.parallel} at a time"
        return f"a search of {search.n} trials ({search.method}, {at_a_time}); these were looked at"
    new = sum(trial.is_new for trial in trials)
    known = "" if new == len(trials) else f", {new} of them new"
    return f"a sweep of {len(trials)} trial{'s' * (len(trials) > 1)}{known}"


def _shown(value: Json) -> str:
    return value if isinstance(value, str) else text_of(value)


def _cut(cell: str) -> str:
    """Return a cell that is not too wide; of a path the end is kept."""
    if len(cell) <= _WIDEST:
        return cell
    return f"…{cell[1 - _WIDEST :]}" if "/" in cell else f"{cell[: _WIDEST - 1]}…"
