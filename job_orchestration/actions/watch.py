"""`watch`: ready whatever is dropped, as it is dropped.

Events only say when to look; a look at the folder every few seconds is the truth. A file that was renamed
in is whole and is readied at once, any other when it has been at rest for a while, for which it is looked
at again and again.

A refused drop stays where it is and is not looked at again until it changes, or until half a minute has
gone by: what was wrong may have been the repository, which nobody watches.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from typing import TYPE_CHECKING, Final

from job_orchestration.actions.check import Check
from job_orchestration.actions.ready import Report, ready_drops
from job_orchestration.actions.status import SilentRuns
from job_orchestration.engine.arrivals import Arrivals
from job_orchestration.engine.herald import Herald
from job_orchestration.engine.lookout import Lookout
from job_orchestration.engine.queue import Wake
from job_orchestration.files.intake import Settling, clock_of
from job_orchestration.files.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.problem import Problem

SCAN_EVERY: Final = 3.0
"""Seconds between two looks at ConfigSources when nothing tells of a change."""
UNSETTLED_EVERY: Final = 0.25
"""The same while somebody may still be writing a file there."""
REFUSED_EVERY: Final = 30.0
"""Seconds after which a refused drop is looked at again although it did not change."""
REST: Final = 2.0
"""Seconds without a change after which a file counts as whole."""
PAUSE: Final = 2.0
"""Seconds between two tries when the disk refuses to be written."""

Identity = tuple[int, int, int]


class Refusals:
    """The drops that were refused, for as long as they lie there unchanged."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[Identity, float, list[Problem]]] = {}

    def covers(self, name: str, status: os.stat_result) -> bool:
        """Whether a file was refused as it is, and not long ago."""
        known = self._known.get(name)
        return (
            known is not None and known[0] == _identity(status) and self._clock() - known[1] < REFUSED_EVERY
        )

    def note(self, folder: str, refused: dict[str, list[Problem]]) -> dict[str, list[Problem]]:
        """Remember what a look refused; returns what is news: another file, or other problems."""
        news: dict[str, list[Problem]] = {}
        for name, problems in refused.items():
            try:
                identity = _identity(os.lstat(os.path.join(folder, name)))
            except FileNotFoundError:
                continue
            known = self._known.get(name)
            if known is None or (known[0], known[2]) != (identity, problems):
                news[name] = problems
            self._known[name] = identity, self._clock(), problems
        return news

    def keep_only(self, names: set[str]) -> None:
        """Forget every drop that is not among these."""
        self._known = {name: known for name, known in self._known.items() if name in names}


def _identity(status: os.stat_result) -> Identity:
    return status.st_ino, status.st_size, status.st_ctime_ns


class Watch:
    """One watcher of ConfigSources; `run` is its life.

    Args:
        workspace: with all its folders in place.
        tell: gets what was done, each time something was.
        say: gets a sentence when the disk is in trouble.
    """

    def __init__(
        self, workspace: Workspace, tell: Callable[[Report], None], say: Callable[[str], None]
    ) -> None:
        self.workspace = workspace
        self._tell = tell
        self._say = say
        self._wake = Wake()
        self._settling = Settling(time.monotonic, REST)
        self._refusals = Refusals()
        self._upkeep = Upkeep(workspace)
        self._skipped: set[str] = set()
        self._now = 0.0
        self._stops = 0

    def run(self) -> None:
        """Watch until a signal says to stop; what is being readied at that moment is still finished."""
        signal.set_wakeup_fd(self._wake.signal_end, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        arrivals = Arrivals(self.workspace, self._wake.ring)
        arrivals.start()
        check = Check(self.workspace)
        herald = Herald(self.workspace, socket.gethostname(), self._say)
        lookout = Lookout(self.workspace, herald, SilentRuns(self.workspace))
        try:
            while not self._stops:
                self._wake.clear()
                lookout.look()
                self._rest(self._look(arrivals, check))
        finally:
            arrivals.stop()
            check.close()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stops += 1
        if self._stops > 1:
            raise KeyboardInterrupt

    def _rest(self, seconds: float) -> None:
        if not self._stops:
            select.select([self._wake.descriptor], [], [], seconds)

    def _look(self, arrivals: Arrivals, check: Check) -> float:
        """Ready what there is; returns the seconds after which to look again."""
        self._skipped.clear()
        try:
            while arrivals.whole:
                self._settling.whole(arrivals.whole.popleft())
            names = set(os.listdir(self.workspace.sources))
            self._now = clock_of(self.workspace.opening)
            self._settling.keep_only(names)
            self._refusals.keep_only(names)
            report = ready_drops(self.workspace, check, self._at_rest)
        except OSError as error:
            self._say(f"The workspace cannot be used ({error.strerror or error}). Waiting until it can.")
            return PAUSE
        report.refused = self._refusals.note(self.workspace.sources, report.refused)
        report.unsettled = [name for name in report.unsettled if name not in self._skipped]
        if report.queued or report.refused or report.notes:
            self._tell(report)
        else:
            self._upkeep()  # when there is time
        return UNSETTLED_EVERY if report.unsettled else SCAN_EVERY

    def _at_rest(self, name: str, status: os.stat_result) -> bool:
        if self._refusals.covers(name, status):
            self._skipped.add(name)
            return False
        return self._settling.settled(name, status) or self._now - status.st_ctime >= REST


def watch(workspace: Workspace, tell: Callable[[Report], None], say: Callable[[str], None]) -> None:
    """Ready whatever is dropped, as it is dropped, until a signal says to stop."""
    Watch(workspace, tell, say).run()
