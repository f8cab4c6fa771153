"""The lookout: notices that runs wait while no worker is alive, and that a run has gone silent.

Kept by `watch`, and so by `up`.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.engine.lineup import Lineup
from job_orchestration.files import history, journal, token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from job_orchestration.engine.herald import Herald
    from job_orchestration.files.workspace import Workspace

EVERY: Final = 60.0
"""Seconds between two looks; one that takes long is made more rarely."""
_SHARE: Final = 100
"""The part of the time that looking may take: one in so many."""
_QUIET: Final = "its log and its progress have told nothing for much longer than usual"
AFTER: Final = 600.0
"""Seconds without a living worker after which runs that wait are stuck: workers may be on their way."""


class Lookout:
    """One lookout.

    Args:
        workspace: what is looked at.
        herald: tells what is seen.
        silent: the runs that somebody works on, and that tell nothing for much longer than usual.
        clock: seconds, from any beginning.
    """

    def __init__(
        self,
        workspace: Workspace,
        herald: Herald,
        silent: Callable[[], Iterable[str]] = lambda: (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workspace = workspace
        self._herald = herald
        self._silent = silent
        self._clock = clock
        self._next = 0.0
        self._since: tuple[float, str] | None = None
        self._told = False

    def look(self) -> None:
        """Look if it is time; what is seen is told once, until a worker is alive or nothing waits."""
        self._herald.glance()
        now = self._clock()
        if now < self._next:
            return
        with suppress(OSError):  # whoever keeps the lookout meets the same trouble, and says so
            self._look(now)
        ended = self._clock()
        self._next = ended + max(EVERY, _SHARE * (ended - now))

    def _look(self, now: float) -> None:
        running = len(token.scan(self._workspace.running))
        if running:
            for run in self._silent():
                self._herald.stuck(run, _QUIET)
        waiting = running + self._waiting()
        if not waiting or history.living_workers(self._workspace):
            self._since, self._told = None, False
            return
        if self._since is None:
            self._since = now, journal.now()
        if not self._told and now - self._since[0] >= AFTER:
            self._told = True
            self._herald.abandoned(self._since[1], waiting)

    def _waiting(self) -> int:
        """Runs that a worker would take up; none when all of them come after others that it would not.

        What is held, or waits for its time, wants no worker.
        """
        idle = [t for t in token.scan(self._workspace.to_run) if not (t.name.held or t.name.not_before)]
        line = Lineup(self._workspace, lambda _: True)
        for found in idle:
            line.add(found)
        return len(idle) if line else 0
