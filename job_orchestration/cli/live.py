"""The live view of ``up``, and tables on a terminal. Only imported when somebody looks at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from job_orchestration.cli import render
from job_orchestration.model.run import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.actions.status import Entry, Overview
    from job_orchestration.actions.up import Frame

MOST_ROWS: Final = 200
"""Rows of a table that a person may want to scroll through."""
_LIVE_ROWS: Final = 12
_BAR: Final = 12
"""Columns of a bar."""
_SHOWN: Final = frozenset({Place.RUNNING, Place.INTERRUPTED})


def print_overview(found: Overview) -> None:
    """``status`` on a terminal."""
    console = Console(highlight=False)
    if found.runs:
        console.print(_table(found.runs[:MOST_ROWS]))
    if len(found.runs) > MOST_ROWS:
        console.print(f"… and {len(found.runs) - MOST_ROWS} more; status --json has them all", markup=False)
    console.print(render.counts_line(found.counts), markup=False)


def _table(entries: Sequence[Entry]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    rows = [render.cells(entry) for entry in entries]
    used = [i for i in range(len(render.HEADER)) if any(row[i] for row in rows)]
    progress = render.HEADER.index("progress")
    for i in used:
        table.add_column(render.HEADER[i], overflow="ellipsis", no_wrap=True)
    for entry, row in zip(entries, rows, strict=True):
        style = render.STYLES.get(entry.place, "")
        bar = entry.progress is not None
        table.add_row(
            *(
                ProgressBar(total=1.0, completed=entry.progress or 0.0, width=_BAR)
                if i == progress and bar
                else Text(row[i], style=style)
                for i in used
            )
        )
    return table


class LiveView:
    """What ``up`` shows on a terminal: what happens scrolls by above, who runs what stands below."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """Print a line above the view."""
        self._console.print(line, markup=False, soft_wrap=True)

    def show(self, frame: Frame) -> None:
        """Draw the view anew."""
        running = [e for e in frame.overview.runs if e.place in _SHOWN]
        state = "stopping" if frame.stopping else "Ctrl-C ends"
        workers = f"{frame.workers} worker" + ("" if frame.workers == 1 else "s")
        line = Text(f"{render.counts_line(frame.overview.counts)}; {workers}; {state}", style="bold")
        parts = [_table(running[:_LIVE_ROWS])] if running else []
        self._live.update(Group(*parts, line), refresh=True)
