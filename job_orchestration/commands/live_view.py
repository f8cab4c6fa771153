"""Frames of the live view, and the loop that refreshes it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from job_orchestration.commands.selection import EVERYTHING
from job_orchestration.commands.status import status
from job_orchestration.runs.catalog import Catalog
from job_orchestration.workspace import safe_reads
from job_orchestration.workspace.layout import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from job_orchestration.commands.selection import Selection
    from job_orchestration.commands.status import Overview, StatusEntry
    from job_orchestration.workspace.layout import Workspace

LOOK_EVERY: Final = 1.0
"""Least seconds between two refreshes."""
INTERVAL_FACTOR: Final = 10
"""The interval is at least this many times as long as a refresh took."""
MOST_SHOWN: Final = 100
"""Most runs in a frame: more than fit on a screen."""
_TAIL: Final = 4096
"""Bytes at the end of a log to search for its last line."""
_SHOWN: Final = frozenset({Place.RUNNING, Place.INTERRUPTED})


@dataclass(frozen=True, slots=True)
class Frame:
    """Content of the live view at one moment."""

    overview: Overview
    workers: int
    """Number of living workers; with `up`, of its own workers."""
    stopping: bool
    rows: tuple[tuple[StatusEntry, str], ...]
    """Running and interrupted runs, each with the last line of its log."""
    is_look: bool = False
    """Whether it only looks on: the workers are not its own."""


def frame_of(workspace: Workspace, overview: Overview, workers: int, *, stopping: bool = False) -> Frame:
    """Build a frame: the overview and the last lines of the logs."""
    first = takewhile(lambda entry: entry.place in _SHOWN, overview.runs[:MOST_SHOWN])
    rows = tuple((entry, _last_line(workspace, entry)) for entry in first)
    return Frame(overview, workers, stopping, rows)


def look_on(workspace: Workspace, show: Callable[[Frame], None], choice: Selection = EVERYTHING) -> None:
    """Show frames of a workspace until a signal arrives.

    Raises:
        KeyboardInterrupt: on Ctrl-C or SIGTERM.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    catalog = Catalog(workspace)
    while True:
        started = time.monotonic()
        found = status(workspace, catalog, choice)
        show(replace(frame_of(workspace, found, found.forecast.workers), is_look=True))
        time.sleep(max(LOOK_EVERY, INTERVAL_FACTOR * (time.monotonic() - started)))


def _last_line(workspace: Workspace, entry: StatusEntry) -> str:
    if entry.run is None:
        return ""
    with suppress(OSError):
        data = safe_reads.tail(os.path.join(workspace.run_folder(entry.run), "log.log"), _TAIL)
        lines = data.decode("utf-8", "replace").replace("\r", "\n").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
    return ""
