"""`up`: run `watch` and workers in one command, with a live view.

Each runs in its own process, because each reaps its own descendants. This process starts them, reads their
output and draws the view.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.commands.live_view import INTERVAL_FACTOR, LOOK_EVERY, FrameMaker
from job_orchestration.commands.status import overview, stuck_searches, waits_for
from job_orchestration.commands.work import Worked, arguments, shared
from job_orchestration.config.settings import settings_of
from job_orchestration.forecast.time_left import pending_trials, places_of
from job_orchestration.processes.supervisor import Supervisor
from job_orchestration.queue.resource_pool import capacity
from job_orchestration.runs.catalog import Catalog, living_workers
from job_orchestration.submission import reports
from job_orchestration.workspace import clock, naming
from job_orchestration.workspace.layout import FINAL_PLACES, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from job_orchestration.commands.live_view import Frame
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.workspace.layout import Workspace


_AGAIN_AFTER: Final = 2.0
"""Seconds until a view is made again that the system refused."""


def up(
    workspace: Workspace,
    say: Callable[[str], None],
    show: Callable[[Frame], None],
    *,
    workers: int = 1,
    until_idle: bool = False,
    resources: Mapping[str, int] | None = None,
) -> Worked:
    """Queue dropped configs and execute them until a signal asks to stop.

    Args:
        workspace: with all its folders in place.
        say: called with one line per event.
        show: called with the state of the workspace, about once a second and once at the end.
        workers: number of workers.
        until_idle: end when nothing is left to be readied, nothing waits and nothing runs; what was refused
            does not count.
        resources: amounts of named resources, besides processors and memory.

    Raises:
        UsageError: if the machine has fewer GPUs than given.
    """
    supervisor = _Supervisor(workspace, say, show, capacity(resources or {}))
    with shared(workspace, resources or {}) as words, Supervisor(supervisor.hear) as pool:
        pool.start("watch", "watch", "--json", "--workspace", workspace.root)
        for number in range(1, workers + 1):
            pool.start(f"worker {number}", *arguments(workspace, until_idle=False), *words)
        was_stopping = trouble = False
        while pool.turn(supervisor.pause()):
            looked = supervisor.looks(pool, now=pool.stopping and not was_stopping)
            was_stopping = pool.stopping
            idle = looked and until_idle and supervisor.is_idle()
            if not pool.stopping and (idle or pool.codes("")):  # or one could not go on, and said why
                trouble = bool(pool.codes(""))
                pool.stop()
        supervisor.looks(pool, now=True)
        return Worked(supervisor.saw_failures(), pool.interrupted, trouble=trouble and not pool.interrupted)


class _Supervisor:
    """State of `up`: catalog, refused files and the view."""

    def __init__(
        self,
        workspace: Workspace,
        say: Callable[[str], None],
        show: Callable[[Frame], None],
        capacity: Mapping[str, int],
    ) -> None:
        self._workspace = workspace
        self._capacity = capacity
        self._say = say
        self._show = show
        self._catalog = Catalog(workspace)
        self._records: Sequence[RunRecord] = ()
        self._maker = FrameMaker(workspace)
        self._next = 0.0
        self._failed_before: frozenset[tuple[str, str]] | None = None
        self._in_trouble = False
        self._refused: dict[str, tuple[int, int]] = {}
        """Refused files by name, each with its inode and time when it was refused."""

    def hear(self, label: str, line: str) -> None:
        """Handle one line of output of a child process."""
        data = _parsed(line) if label == "watch" else None
        if data is None:
            self._say(f"{label}: {line}")
            return
        for refused in data["refused"]:
            self._refused[refused["file"]] = _identity(os.path.join(self._workspace.sources, refused["file"]))
        for sentence in reports.lines_of(data):
            self._say(sentence)

    def pause(self) -> float:
        """Return the seconds until the next refresh."""
        return max(self._next - time.monotonic(), 0.0)

    def looks(self, pool: Supervisor, *, now: bool = False) -> bool:
        """Read the workspace and show it if a refresh is due; return whether it was."""
        started = time.monotonic()
        if started < self._next and not now:
            return False
        try:
            self._look(pool)
        except OSError as error:  # a limit that is reached for a moment; the last view stays
            self._next = time.monotonic() + _AGAIN_AFTER
            if not self._in_trouble:
                self._in_trouble = True
                self._say(f"The workspace cannot be read ({error.strerror or error}). Trying again.")
            return False
        self._in_trouble = False
        ended = time.monotonic()
        self._next = ended + max(LOOK_EVERY, INTERVAL_FACTOR * (ended - started))
        return True

    def _look(self, pool: Supervisor) -> None:
        self._records = self._catalog.records()
        living = [heartbeat.worker for heartbeat in living_workers(self._workspace)]
        coming = pending_trials(self._workspace, self._records)
        places = places_of(self._workspace, self._records)
        found = overview(self._records, clock.now(), living, coming=coming, places=places)
        found = replace(found, searches=stuck_searches(self._workspace))
        labels = {name: label for name in living if (label := self._label(pool, name))}
        working = pool.living("worker")
        self._show(self._maker.frame(found, working, stopping=pool.stopping, labels=labels))
        if self._failed_before is None:
            self._failed_before = self._failed()

    @staticmethod
    def _label(pool: Supervisor, worker: str) -> str | None:
        """Return the number of one of the workers of this command, as in what it says: ``2``."""
        label = pool.label_of(naming.worker_pid(worker))
        return None if label is None else label.removeprefix("worker ")

    def _failed(self) -> frozenset[tuple[str, str]]:
        failed = ((r.path, r.summary) for r in self._records if r.end == "failed")
        return frozenset((path, summary.ended_at or "") for path, summary in failed if summary is not None)

    def saw_failures(self) -> bool:
        """Return whether runs have failed since the first refresh."""
        return bool(self._failed() - (self._failed_before or frozenset()))

    def is_idle(self) -> bool:
        """Return whether nothing was left to do at the last refresh."""
        places = places_of(self._workspace, self._records)
        work = [r for r in self._records if self._is_work(r) and not waits_for(r, places)]
        return not any(r.held_by is not None or self._could(r) for r in work)

    def _could(self, record: RunRecord) -> bool:
        """Return whether the workers have the resources that a run needs."""
        needed = settings_of(record.state.values).resources if record.state is not None else ()
        return all(much <= self._capacity.get(name, 0) for name, much in needed)

    def _is_work(self, record: RunRecord) -> bool:
        if record.place is Place.SOURCES:
            known = self._refused.get(os.path.basename(record.path))
            return known is None or known != _identity(record.path)
        unfit = record.error is not None  # a worker has said beside it why it never runs
        return not (unfit or record.place in {*FINAL_PLACES, Place.HELD})


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        data = json.loads(line)
    except ValueError:
        return None
    return data if isinstance(data, dict) and "refused" in data else None


def _identity(path: str) -> tuple[int, int]:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return 0, 0
    return status.st_ino, status.st_ctime_ns
