"""The stall monitor: detect runs that wait while no worker is alive, and runs that have gone silent.

`watch` and `up` run it.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.queue.scheduler import Scheduler
from job_orchestration.runs import catalog, token
from job_orchestration.workspace import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from job_orchestration.notifications.publisher import Publisher
    from job_orchestration.workspace.layout import Workspace

EVERY: Final = 60.0
"""Seconds between two checks at the least; slow checks are made less often."""
_FRACTION: Final = 100
"""A check may take one part in so many of the time."""
_SILENCE: Final = "its log and its progress have been silent for much longer than usual"
AFTER: Final = 600.0
"""Seconds without a living worker after which waiting runs are stalled: workers may be starting."""


class StallMonitor:
    """Detect stalled runs and publish a notification for each.

    Args:
        workspace: the workspace to check.
        publisher: publishes the notifications.
        silent: finds running runs whose log and progress are silent for much longer than usual.
        clock: seconds, from any starting point.
    """

    def __init__(
        self,
        workspace: Workspace,
        publisher: Publisher,
        silent: Callable[[], Iterable[str]] = lambda: (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workspace = workspace
        self._publisher = publisher
        self._silent = silent
        self._clock = clock
        self._next_check = 0.0
        self._since: tuple[float, str] | None = None
        self._reported = False

    def check(self) -> None:
        """Check if it is time. Each stall is reported once, until a worker is alive or no run waits."""
        self._publisher.start_dispatcher_if_due()
        now = self._clock()
        if now < self._next_check:
            return
        with suppress(OSError):  # the caller meets the same error, and reports it
            self._check(now)
        ended = self._clock()
        self._next_check = ended + max(EVERY, _FRACTION * (ended - now))

    def _check(self, now: float) -> None:
        running = len(token.scan(self._workspace.running))
        if running:
            for run in self._silent():
                self._publisher.report_stalled(run, _SILENCE)
        waiting = running + self._waiting()
        if not waiting or catalog.living_workers(self._workspace):
            self._since, self._reported = None, False
            return
        if self._since is None:
            self._since = now, clock.timestamp()
        if not self._reported and now - self._since[0] >= AFTER:
            self._reported = True
            self._publisher.report_no_worker(self._since[1], waiting)

    def _waiting(self) -> int:
        """Number of runs that a worker could claim; 0 if all of them wait for runs that it could not claim.

        Runs that are held or deferred need no worker.
        """
        idle = [t for t in token.scan(self._workspace.to_run) if not (t.name.held or t.name.not_before)]
        scheduler = Scheduler(self._workspace, lambda _: True)
        for found in idle:
            scheduler.add(found)
        return len(idle) if scheduler else 0
