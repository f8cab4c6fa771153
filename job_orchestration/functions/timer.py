"""A stopwatch that shows the time of day when it starts and stops, and how long it took."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from job_orchestration.workspace import clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


class Timer:
    """A stopwatch.

    Args:
        ts_fmt: how times are written, as in `datetime.strftime`.
        now: where the time comes from.
    """

    def __init__(
        self, ts_fmt: str = "%b %d %Y %H:%M:%S", now: Callable[[], datetime] = clock.local_now
    ) -> None:
        self._format = ts_fmt
        self._now = now
        self._started: datetime | None = None
        self._stopped: datetime | None = None

    def start(self) -> str:
        """Start, or start anew; return the time."""
        self._started, self._stopped = self._now(), None
        return self._started.strftime(self._format)

    def stop(self) -> str:
        """Stop, and return the time. It may be stopped again later: the last stop counts.

        Raises:
            ValueError: if it was not started.
        """
        self._insist_on_start()
        self._stopped = self._now()
        return self._stopped.strftime(self._format)

    def end(self) -> None:
        """Stop, and return nothing."""
        self.stop()

    def now(self) -> str:
        """Return the present time."""
        return self._now().strftime(self._format)

    def duration(self) -> str:
        """Return the time from the start to the stop, or to now while it runs, as ``H:MM:SS``.

        Raises:
            ValueError: if it was not started.
        """
        started = self._insist_on_start()
        return str(timedelta(seconds=int(((self._stopped or self._now()) - started).total_seconds())))

    def _insist_on_start(self) -> datetime:
        if self._started is None:
            raise ValueError("The timer was not started. Call start() first")
        return self._started
