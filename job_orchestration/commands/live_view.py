"""Frames of the live view, and the loop that refreshes it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final

from job_orchestration.commands.selection import EVERYTHING
from job_orchestration.commands.status import Entries, status
from job_orchestration.runs.catalog import Catalog
from job_orchestration.workspace import clock, safe_reads
from job_orchestration.workspace.layout import ACTIVE_PLACES, FINAL_PLACES, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
_MOST_FAILURES: Final = 3
_MOST_WAITING: Final = 5
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
    done: int = 0
    """Number of runs that have ended since the view began."""
    left: int = 0
    """Number of runs that run or wait; held ones do not count."""
    failures: tuple[StatusEntry, ...] = ()
    """The runs that failed last, the latest first."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the view calls its own workers, by their names."""
    waiting: tuple[StatusEntry, ...] = ()
    """With ``--why`` the first runs that do not run, each with its reasons."""


class FrameMaker:
    """Build the frames of one view, which counts what has ended since it began."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._ended_before: int | None = None

    def frame(
        self,
        overview: Overview,
        workers: int,
        *,
        stopping: bool = False,
        is_look: bool = False,
        labels: Mapping[str, str] | None = None,
    ) -> Frame:
        """Build a frame: the overview, the last lines of the logs, and what failed last.

        Args:
            overview: the state of the workspace.
            workers: number of living workers.
            stopping: whether the workers were asked to stop.
            is_look: whether the workers are not those of the view.
            labels: what to call workers, by their names.
        """
        first = takewhile(lambda entry: entry.place in _SHOWN, overview.runs[:MOST_SHOWN])
        rows = tuple((entry, _last_line(self._workspace, entry)) for entry in first)
        ended = sum(overview.counts[place] for place in FINAL_PLACES)
        if self._ended_before is None:
            self._ended_before = ended
        return Frame(
            overview,
            workers,
            stopping,
            rows,
            is_look,
            done=max(ended - self._ended_before, 0),
            left=sum(overview.counts[place] for place in (*ACTIVE_PLACES,)),
            failures=_failures(overview),
            labels=labels or {},
            waiting=_waiting(overview),
        )


def _waiting(overview: Overview) -> tuple[StatusEntry, ...]:
    if not overview.is_explained:
        return ()
    return tuple(islice((entry for entry in overview.runs if entry.why), _MOST_WAITING))


def _failures(overview: Overview) -> tuple[StatusEntry, ...]:
    if not isinstance(overview.runs, Entries) or not overview.ends.get("failed"):
        return ()
    after = clock.now() - timedelta(days=1)
    return overview.runs.last_failures(_MOST_FAILURES, after.isoformat())


def look_on(
    workspace: Workspace, show: Callable[[Frame], None], choice: Selection = EVERYTHING, *, why: bool = False
) -> None:
    """Show frames of a workspace until a signal arrives.

    Args:
        workspace: the workspace.
        show: called with each frame.
        choice: the runs to show and count.
        why: whether to find out why runs do not run.

    Raises:
        KeyboardInterrupt: on Ctrl-C or SIGTERM.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    catalog, maker = Catalog(workspace), FrameMaker(workspace)
    while True:
        started = time.monotonic()
        found = status(workspace, catalog, choice, why=why)
        show(maker.frame(found, found.forecast.workers, is_look=True))
        time.sleep(max(LOOK_EVERY, INTERVAL_FACTOR * (time.monotonic() - started)))


def _last_line(workspace: Workspace, entry: StatusEntry) -> str:
    if entry.run is None:
        return ""
    with suppress(OSError):
        data = safe_reads.tail(os.path.join(workspace.run_folder(entry.run), "log.log"), _TAIL)
        lines = data.decode("utf-8", "replace").replace("\r", "\n").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
    return ""
