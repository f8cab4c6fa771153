"""Tell a lack of room from other errors: no process, thread, descriptor or memory is left for a start.

A start that fails for lack of room says nothing about a run: its code has not been executed. So it is neither
a failed try nor an interruption. Pure.
"""

from __future__ import annotations

import errno
from typing import Final

from job_orchestration.workspace import failures

_NO_THREAD: Final = "can't start new thread"


class ExhaustedError(OSError):
    """A process of a run could not be started; none of the run's code was executed."""


def number_of(error: BaseException) -> int | None:
    """Return the number of an error that means a lack of room; `None` for every other error."""
    if isinstance(error, OSError):
        return error.errno if error.errno in failures.SHORTAGES else None
    if isinstance(error, RuntimeError) and str(error) == _NO_THREAD:
        return errno.EAGAIN
    return errno.ENOMEM if isinstance(error, MemoryError) else None
