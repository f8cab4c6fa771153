"""`wait`: wait until runs have ended. Changes nothing.

A run has ended when its token lies in Completed or Failed. File events of these two folders wake the wait; a
scan of the journals every few seconds finds what no event reported.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.commands import families, selection
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs import catalog, journal, lifecycle, run_times, token_header
from job_orchestration.runs.events import INTENDED
from job_orchestration.runs.state import Status
from job_orchestration.search import searches
from job_orchestration.workspace import safe_reads
from job_orchestration.workspace.folder_watcher import FolderWatcher
from job_orchestration.workspace.layout import FINAL_PLACES, Place
from job_orchestration.workspace.naming import TokenName

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from job_orchestration.commands.selection import Selection
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.search.searches import SearchOrder
    from job_orchestration.workspace.layout import Workspace

SCAN_EVERY: Final = 3.0
"""Seconds between scans of the journals if no event comes."""
_UNWATCHED_EVERY: Final = 0.5
"""The same if the system reports no events."""
_SCAN_FACTOR: Final = 10
"""A pause is at least this many times as long as a scan took."""
GONE: Final = "gone"
"""The end of a run whose folder was deleted while it was waited for."""
_WELL: Final = frozenset({"completed", "pruned"})
_ENDED: Final = frozenset({Status.COMPLETE, Status.FAILED})


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended."""

    run: str
    end: str
    """``completed``, ``failed``, ``cancelled``, ``pruned``, or ``gone`` if its folder was deleted."""
    task: str | None = None
    """The first task that has not finished."""
    error: str | None = None
    elapsed_s: float | None = None
    """Seconds of work."""

    @property
    def is_well(self) -> bool:
        """Whether it ended as it was meant to: completed, or pruned by its search."""
        return self.end in _WELL

    def as_json(self) -> dict[str, Any]:
        """Return the end as ``wait --json`` prints it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Waited:
    """Result of `wait`."""

    ends: tuple[RunEnd, ...]
    """The runs that have ended, in the order in which their ends were seen."""
    left: tuple[str, ...]
    """The runs and searches that had not ended when the time was over."""


def wait(
    workspace: Workspace,
    choice: Selection = selection.EVERYTHING,
    report: Callable[[RunEnd], None] = lambda _: None,
    timeout: float | None = None,
    begins: Callable[[], None] = lambda: None,
) -> Waited:
    """Wait until runs have ended.

    Args:
        workspace: the workspace.
        choice: the runs; the name or folder of a sweep or search means all its trials, also those that the
            search has yet to open. An empty choice means all runs and searches that have not ended.
        report: called with each end as it comes; at once with those that have ended before.
        timeout: the most seconds to wait.
        begins: called once, if something has not ended yet.

    Raises:
        UsageError: if a name matches no run, or more than one, or a config that is not queued.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    rung = threading.Event()
    watcher = FolderWatcher(workspace, (workspace.completed, workspace.failed), rung.set)
    watcher.start()
    try:
        waiting = _Waiting(workspace, report)
        waiting.begin(choice)
        if waiting.is_left:
            begins()
        scan_every = _UNWATCHED_EVERY if watcher.trouble else SCAN_EVERY
        next_scan = 0.0
        while waiting.is_left:
            rung.clear()
            waiting.look_at([watcher.seen.popleft()[0] for _ in range(len(watcher.seen))])
            started = time.monotonic()
            if started >= next_scan or watcher.renewed:
                watcher.renewed = False
                waiting.scan()
                next_scan = time.monotonic() + max(scan_every, _SCAN_FACTOR * (time.monotonic() - started))
            if not waiting.is_left or (deadline is not None and time.monotonic() >= deadline):
                break
            rung.wait(max(min(next_scan, deadline or next_scan) - time.monotonic(), 0.0))
    finally:
        watcher.stop()
    return Waited(tuple(waiting.ends), waiting.names_left)


class _Waiting:
    """The runs that are waited for."""

    def __init__(self, workspace: Workspace, report: Callable[[RunEnd], None]) -> None:
        self.ends: list[RunEnd] = []
        self._workspace = workspace
        self._report = report
        self._left: dict[str, str] = {}
        """Run to the stem of its token."""
        self._seen_final: set[str] = set()
        """Runs whose journal had ended at the last scan, while their token was still to be moved."""
        self._searches: dict[str, SearchOrder] = {}
        self._known: set[str] = set()

    @property
    def is_left(self) -> bool:
        """Whether anything has not ended."""
        return bool(self._left or self._searches)

    @property
    def names_left(self) -> tuple[str, ...]:
        """The runs that have not ended, and the folders of searches that go on."""
        return (*self._left, *self._searches)

    def begin(self, choice: Selection) -> None:
        """Find the runs; report those that have ended."""
        records = catalog.entries(self._workspace)
        if choice == selection.EVERYTHING:
            records = [r for r in records if r.run is not None and r.place not in FINAL_PLACES]
            found_searches = [
                searches.read(self._workspace, name) for name in searches.active(self._workspace)
            ]
            self._searches = {order.base: order for order in found_searches if order is not None}
            self._add(records)
            return
        rest: list[str] = []
        chosen: list[RunRecord] = []
        for name in choice.names:
            found = families.members(self._workspace, records, name)
            if found is None:
                rest.append(name)
                continue
            chosen += found[0]
            if found[1] is not None and not searches.has_ended(self._workspace, found[1].name):
                self._searches[found[1].base] = found[1]
        if rest or not choice.names:
            chosen += selection.chosen(self._workspace, records, replace(choice, names=tuple(rest)))
        self._add(chosen)

    def _add(self, records: Sequence[RunRecord]) -> None:
        for record in sorted(records, key=lambda r: (r.summary.readied_at if r.summary else None) or ""):
            if record.run is None:
                todo = "Queue it with: job-orchestration ready"
                raise UsageError(f"{escaped(record.config)} is not queued, so it has no end", todo)
            if record.run in self._known:
                continue
            self._known.add(record.run)
            if record.place in FINAL_PLACES:
                self._ended(_end_of(record.run, record))
            else:
                name = TokenName.parse(os.path.basename(record.path))
                self._left[record.run] = name.stem if name else record.config

    def _ended(self, end: RunEnd) -> None:
        self._left.pop(end.run, None)
        self.ends.append(end)
        self._report(end)

    def look_at(self, paths: Sequence[str]) -> None:
        """Look at tokens that appeared in Completed or Failed."""
        for path in paths:
            run = None
            with suppress(OSError):
                run = token_header.run_of(path)
            if run in self._left:
                self._look_at_run(run, is_moved=True)

    def scan(self) -> None:
        """Look at the journal of each run, and for new trials of searches."""
        for base, order in list(self._searches.items()):
            has_ended = searches.has_ended(self._workspace, order.name)
            self._add_trials(base)
            if has_ended:
                del self._searches[base]
        for run in list(self._left):
            if not os.path.isdir(self._workspace.run_folder(run)):
                self._ended(RunEnd(run, GONE, error="its folder was deleted"))
            else:
                self._look_at_run(run, is_moved=False)

    def _add_trials(self, base: str) -> None:
        names = safe_reads.names_in(self._workspace.run_folder(base))
        for run in (f"{base}/{name}" for name in names):
            if run not in self._known and journal.attempts(self._workspace.run_folder(run)):
                self._known.add(run)
                self._left[run] = os.path.basename(run)

    def _look_at_run(self, run: str, *, is_moved: bool) -> None:
        """Report a run if it has ended; its token may follow its journal, but not for longer than a scan."""
        try:
            state = lifecycle.fold(journal.read(self._workspace.run_folder(run)))
        except OSError:
            return
        if state.status not in _ENDED:
            self._seen_final.discard(run)
        elif is_moved or run in self._seen_final or self._is_final(run):
            outcome = str(state.outcome) if state.outcome in INTENDED else "failed"
            end = "completed" if state.status is Status.COMPLETE else outcome
            task = None if state.current is None else state.tasks[state.current].id
            error = state.error or state.reason if state.status is Status.FAILED else None
            self._ended(RunEnd(run, end, task, error, run_times.worked(state)))
        else:
            self._seen_final.add(run)

    def _is_final(self, run: str) -> bool:
        name = str(TokenName(self._left[run]))
        for place in FINAL_PLACES:
            with suppress(OSError):
                if token_header.run_of(os.path.join(self._workspace.folders[place], name)) == run:
                    return True
        return False


def _end_of(run: str, record: RunRecord) -> RunEnd:
    summary = record.summary
    if summary is None:
        return RunEnd(run, record.end or "failed")
    error = summary.error if record.place is Place.FAILED else None
    return RunEnd(run, record.end or "failed", summary.task, error, summary.elapsed_s)
