"""How urgently a worker is to stop: signals that it got, and the end of its walltime."""

from __future__ import annotations

import math
import time
from typing import Final

from job_orchestration.processes.stop_signals import StopSignals

_LEAVING: Final = 1.0
"""Seconds that it takes to kill a child that does not react, and to release its run."""


class StopRequests:
    """Stop requests of one worker.

    Args:
        seconds: its walltime, from now; `None` if it has no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self.stop_signals = StopSignals()
        self._seconds = seconds
        self._ends_at = None if seconds is None else time.monotonic() + seconds

    @property
    def signals(self) -> int:
        """Number of requests by signals that were received."""
        return self.stop_signals.count

    def urgency(self, grace: float) -> int:
        """How urgently the worker is to stop: 0 not at all, 1 politely, 2 and more at once.

        Args:
            grace: seconds that a polite stop takes, so that it ends within the walltime.
        """
        return max(self.signals, int(self.seconds_left(grace) <= 0))

    def seconds_left(self, grace: float) -> float:
        """Seconds until a stop must begin that takes `grace` seconds and ends within the walltime."""
        if self._ends_at is None or self._seconds is None:
            return math.inf
        return self._ends_at - min(grace + _LEAVING, self._seconds / 2) - time.monotonic()
