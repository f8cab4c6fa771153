"""`watch`: watch ConfigSources and queue new configs.

File events are hints; a scan of the folder every few seconds is authoritative. A file renamed into the
folder is complete and is queued at once. Any other file is queued after it has not changed for a while, so
it is polled until then.

A refused file stays in place. It is checked again when it changes, or after half a minute, because the
fault may have been in the repository, which is not watched.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from typing import TYPE_CHECKING, Final

from job_orchestration.commands.status import SilentRuns
from job_orchestration.notifications.publisher import Publisher
from job_orchestration.processes.stop_signals import StopSignals
from job_orchestration.processes.wakeup import WakeupPipe
from job_orchestration.queue.stall_monitor import StallMonitor
from job_orchestration.runs.cache_maintenance import CacheMaintenance
from job_orchestration.submission import not_taken
from job_orchestration.submission.checker import Checker
from job_orchestration.submission.dropped_files import Settling, clock_of
from job_orchestration.submission.pipeline import ready_drops
from job_orchestration.workspace import folder_watcher
from job_orchestration.workspace.folder_watcher import FolderWatcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from job_orchestration.diagnostics.problems import Problem
    from job_orchestration.submission.reports import Report
    from job_orchestration.workspace.layout import Workspace

SCAN_EVERY: Final = 3.0
"""Seconds between scans of ConfigSources without a file event."""
UNSETTLED_EVERY: Final = 0.25
"""Seconds between scans while a file may still be being written."""
REFUSED_EVERY: Final = 30.0
"""Seconds after which an unchanged refused file is checked again."""
REST: Final = 2.0
"""Seconds without a change after which a file counts as complete."""
NAMED_AFTER: Final = 10.0
"""Seconds after which something that is not taken is named; before, it may be half copied."""
PAUSE: Final = 2.0
"""Seconds between tries while the disk cannot be written."""

Identity = tuple[int, int, int]


class Refusals:
    """Remember refused files as long as they are unchanged."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[Identity, float, list[Problem]]] = {}

    def covers(self, name: str, status: os.stat_result) -> bool:
        """Return whether a file was refused recently and has not changed since."""
        known = self._known.get(name)
        return (
            known is not None and known[0] == _identity(status) and self._clock() - known[1] < REFUSED_EVERY
        )

    def note(self, folder: str, refused: dict[str, list[Problem]]) -> dict[str, list[Problem]]:
        """Remember refused files; return those that are new, have changed or have other problems."""
        changed: dict[str, list[Problem]] = {}
        for name, problems in refused.items():
            try:
                identity = _identity(os.lstat(os.path.join(folder, name)))
            except FileNotFoundError:
                continue
            known = self._known.get(name)
            if known is None or (known[0], known[2]) != (identity, problems):
                changed[name] = problems
            self._known[name] = identity, self._clock(), problems
        return changed

    def keep_only(self, names: set[str]) -> None:
        """Forget all files but these."""
        self._known = {name: known for name, known in self._known.items() if name in names}


def _identity(status: os.stat_result) -> Identity:
    return status.st_ino, status.st_size, status.st_ctime_ns


class WatchSignals(StopSignals):
    """Stop signals of which the second interrupts the pass."""

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        super()._on_signal(number, frame)
        if self.count > 1:
            raise KeyboardInterrupt


class Watch:
    """Watch ConfigSources until stopped; `run` is the main loop.

    Args:
        workspace: with all its folders in place.
        report_to: called with each report that is not empty.
        say: called with one sentence if the disk cannot be used.
    """

    def __init__(
        self, workspace: Workspace, report_to: Callable[[Report], None], say: Callable[[str], None]
    ) -> None:
        self.workspace = workspace
        self._report_to = report_to
        self._say = say
        self._wake = WakeupPipe()
        self._settling = Settling(time.monotonic, REST)
        self._refusals = Refusals()
        self._cache_maintenance = CacheMaintenance(workspace)
        self._skipped: set[str] = set()
        self._named: set[Problem] = set()
        self._notes: set[str] = set()
        """The remarks of the last pass; what still holds is not said again."""
        self._now = 0.0
        self._stop_signals = WatchSignals()

    def run(self) -> None:
        """Watch until a signal asks to stop; the current pass is finished first."""
        signal.set_wakeup_fd(self._wake.signal_end, warn_on_full_buffer=False)
        self._stop_signals.handle()
        drop_watcher = FolderWatcher(self.workspace, (self.workspace.sources,), self._wake.ring)
        drop_watcher.start()
        if drop_watcher.trouble:
            self._say(folder_watcher.sentence_about(drop_watcher.trouble, SCAN_EVERY))
        check = Checker(self.workspace)
        publisher = Publisher(self.workspace, socket.gethostname(), self._say)
        stall_monitor = StallMonitor(self.workspace, publisher, SilentRuns(self.workspace))
        try:
            while not self._stop_signals.count:
                self._wake.clear()
                try:
                    stall_monitor.check()
                    pause = self._look(drop_watcher, check)
                except OSError as error:
                    self._say_trouble(error)
                    pause = PAUSE
                self._rest(pause)
        finally:
            drop_watcher.stop()
            check.close()

    def _rest(self, seconds: float) -> None:
        if not self._stop_signals.count:
            select.select([self._wake.descriptor], [], [], seconds)

    def _look(self, drop_watcher: FolderWatcher, check: Checker) -> float:
        """Queue the files that are ready; return the seconds until the next scan."""
        self._skipped.clear()
        try:
            while drop_watcher.seen:
                path, renamed_in = drop_watcher.seen.popleft()
                if renamed_in:
                    self._settling.whole(os.path.basename(path))
            names = set(os.listdir(self.workspace.sources))
            self._now = clock_of(self.workspace.opening)
            self._settling.keep_only(names)
            self._refusals.keep_only(names)
            report = ready_drops(self.workspace, check, self._at_rest)
        except OSError as error:
            self._say_trouble(error)
            return PAUSE
        report.refused = self._refusals.note(self.workspace.sources, report.refused)
        report.unsettled = [name for name in report.unsettled if name not in self._skipped]
        report.notes, self._notes = [n for n in report.notes if n not in self._notes], set(report.notes)
        report.not_taken = self._not_taken()
        if report.queued or report.refused or report.notes or report.not_taken:
            self._report_to(report)
        else:
            self._cache_maintenance()  # when there is time
        return UNSETTLED_EVERY if report.unsettled else SCAN_EVERY

    def _say_trouble(self, error: OSError) -> None:
        self._say(f"The workspace cannot be used ({error.strerror or error}). Waiting until it can.")

    def _not_taken(self) -> list[Problem]:
        """Return what is not taken and was not named before, once it has been there for a while."""
        found = not_taken.find(self.workspace, before=self._now - NAMED_AFTER)
        new = [problem for problem in found if problem not in self._named]
        self._named = set(found)
        return new

    def _at_rest(self, name: str, status: os.stat_result) -> bool:
        if self._refusals.covers(name, status):
            self._skipped.add(name)
            return False
        return self._settling.settled(name, status) or self._now - status.st_ctime >= REST


def watch(workspace: Workspace, report_to: Callable[[Report], None], say: Callable[[str], None]) -> None:
    """Watch ConfigSources and queue new configs until a signal asks to stop."""
    Watch(workspace, report_to, say).run()
