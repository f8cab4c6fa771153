"""Starts of runs that failed before any of a run's code was executed, one after the other.

A full process table, a limit of a container, or a lack of memory says nothing about a run, so such a start is
neither a failed try nor an interruption: the worker waits, longer each time, and tries again. A process that
was killed before the run's code began was most likely killed for lack of memory. Since its imports may need
more memory than there will ever be, that is believed only so often in a row.
"""

from __future__ import annotations

import errno
from typing import Final

from job_orchestration.executor.exhaustion import ExhaustedError

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_MOST_KILLS: Final = 8
"""Killed starts in a row that do not count: with the pauses between them about four minutes."""


class FailedStarts:
    """The failed starts of a worker since the last one that succeeded."""

    def __init__(self) -> None:
        self.number = 0

    def excuse_kill(self, what: str) -> None:
        """Take a start that was killed as one without room, unless there were many in a row.

        Args:
            what: what was killed, a clause.

        Raises:
            ExhaustedError: the start does not count.
        """
        if self.number < _MOST_KILLS:
            raise ExhaustedError(errno.ENOMEM, what)

    def add(self) -> float:
        """Count a failed start; return the seconds to wait before the next one."""
        self.number += 1
        return float(min(_FIRST_PAUSE * 2 ** min(self.number - 1, 10), _LONGEST_PAUSE))

    def succeeded(self) -> bool:
        """Note a start that succeeded; return whether the one before it had failed."""
        failed, self.number = self.number > 0, 0
        return failed
