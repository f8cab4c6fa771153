"""A pipe that wakes a waiting process: signal handlers and file watchers write to it."""

from __future__ import annotations

import os
from contextlib import suppress


class WakeupPipe:
    """A pipe whose reader waits until a signal or an event writes to it."""

    def __init__(self) -> None:
        self.descriptor, self._end = os.pipe()
        for descriptor in (self.descriptor, self._end):
            os.set_blocking(descriptor, False)

    @property
    def signal_end(self) -> int:
        """Return the descriptor for `signal.set_wakeup_fd`."""
        return self._end

    def ring(self) -> None:
        """End the present wait, or the next one."""
        with suppress(BlockingIOError):  # a full pipe also ends the wait
            os.write(self._end, b"!")

    def clear(self) -> None:
        """Empty the pipe, so that the next wait waits."""
        with suppress(BlockingIOError):
            while os.read(self.descriptor, 4096):
                pass
