"""Measure for how long a process has not answered, in time that the measuring process saw pass itself.

A fork server can stand still without having died: a signal or a debugger stops it, or something freezes
its control group. The time in which a machine slept, or the worker was stopped itself, does not count.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

ASK_EVERY: Final = 2.0
"""Seconds between two questions whether a process still answers."""
UNANSWERED: Final = 10.0
"""Seconds of silence after which a worker itself enforces a stop or a limit that is due."""
STANDSTILL: Final = 60.0
"""Seconds of silence after which a process is given up and killed."""
_MOST_AT_ONCE: Final = 1.0
"""Seconds that can count between two looks, which are at most half a second apart."""


class Silence:
    """The silence of one process.

    Args:
        ask: sends a question that the process answers at once.
        now: a monotonic clock, in seconds.
    """

    def __init__(self, ask: Callable[[], object], now: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._now = now
        self.broken()

    def broken(self) -> None:
        """Note that the process said something."""
        self._seconds = 0.0
        self._looked = self._asked = self._now()

    def seconds(self) -> float:
        """Return how long the process has been silent; ask it now and then."""
        now = self._now()
        self._seconds += min(now - self._looked, _MOST_AT_ONCE)
        self._looked = now
        if now - self._asked >= ASK_EVERY:
            self._asked = now
            self._ask()
        return self._seconds
