"""What a live view shows at one moment, and looking again and again."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from job_orchestration.actions.selection import EVERYTHING
from job_orchestration.actions.status import status
from job_orchestration.files.history import History
from job_orchestration.model.run import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from job_orchestration.actions.selection import Choice
    from job_orchestration.actions.status import Entry, Overview
    from job_orchestration.files.workspace import Workspace

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the workspace; one that takes long is made more rarely."""
SHARE: Final = 10
"""The part of the time that looking may take: one in so many."""
MOST_SHOWN: Final = 100
"""Runs of a frame: more than fit on any screen."""
_TAIL: Final = 4096
"""Bytes at the end of a log in which its last line is looked for."""
_SHOWN: Final = frozenset({Place.RUNNING, Place.INTERRUPTED})


@dataclass(frozen=True, slots=True)
class Frame:
    """What a live view shows at one moment."""

    overview: Overview
    workers: int
    """How many workers live; with `up`, how many of its own."""
    stopping: bool
    rows: tuple[tuple[Entry, str], ...]
    """What is worked on or was interrupted, each with the last line of its log."""


def frame_of(workspace: Workspace, overview: Overview, workers: int, *, stopping: bool = False) -> Frame:
    """Read what a frame shows besides the overview."""
    first = takewhile(lambda entry: entry.place in _SHOWN, overview.runs[:MOST_SHOWN])
    rows = tuple((entry, _last_line(workspace, entry)) for entry in first)
    return Frame(overview, workers, stopping, rows)


def look_on(workspace: Workspace, show: Callable[[Frame], None], choice: Choice = EVERYTHING) -> None:
    """Look at a workspace until a signal ends it.

    Raises:
        KeyboardInterrupt: when it does, be it Ctrl-C or SIGTERM.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    history = History(workspace)
    while True:
        started = time.monotonic()
        found = status(workspace, history, choice)
        show(frame_of(workspace, found, found.forecast.workers))
        time.sleep(max(LOOK_EVERY, SHARE * (time.monotonic() - started)))


def _last_line(workspace: Workspace, entry: Entry) -> str:
    if entry.run is None:
        return ""
    with suppress(OSError), open(os.path.join(workspace.run_folder(entry.run), "log.log"), "rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
        lines = file.read(_TAIL).decode("utf-8", "replace").replace("\r", "\n").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
    return ""
