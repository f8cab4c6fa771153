"""Say of a run that ran out of memory which limit it met, how much it had used, and what to do."""

from __future__ import annotations

import errno
import resource
import sys
from typing import Final

from job_orchestration.diagnostics import sizes

UNIT: Final = 1 if sys.platform == "darwin" else 1024
"""Bytes in one unit of ``ru_maxrss``."""


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether an exception of a task says that it got no memory."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if type(error) is RuntimeError:  # PyTorch on a CPU has no better name for it
        return any(isinstance(part, str) and "can't allocate memory" in part for part in error.args)
    return isinstance(error, MemoryError)


def peak_of(usage: resource.struct_rusage) -> int:
    """Return the most memory that a process had at a time, in bytes."""
    return int(usage.ru_maxrss) * UNIT


def sentence_of_kill(limit: int | None, peak: int) -> str:
    """Return what happened to a process that the kernel killed for lack of memory, without a full stop.

    Args:
        limit: the run's ``memoryLimit`` in bytes, if the process was killed for it; `None` if the whole
            machine ran out of memory.
        peak: the most that it had, in bytes.
    """
    how = "out of memory: the kernel killed it (SIGKILL):"
    if limit is not None:
        return f"{how} {_more_than(limit, peak)}"
    return (
        f"{how} the machine ran out of memory (peak of this run {sizes.text_of(peak)}); run fewer at a time, "
        "or say what a run needs with resources"
    )


def sentence_in_task(memory_limit: int | None) -> str:
    """Return the same for a task of this process that was refused memory.

    Args:
        memory_limit: the run's ``memoryLimit`` in bytes; `None` if it has none.
    """
    peak = peak_of(resource.getrusage(resource.RUSAGE_SELF))
    for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY:
            if limit == memory_limit:
                return _more_than(limit, peak)
            return (
                f"more than the limit of {sizes.text_of(limit)} that this machine sets (ulimit; "
                f"peak {sizes.text_of(peak)}); raise it where the worker is started, or use less memory"
            )
    return f"the machine could not give that much memory (peak {sizes.text_of(peak)}); use less at a time"


def _more_than(limit: int, peak: int) -> str:
    had = f"peak {sizes.text_of(peak)}"
    if 2 * peak < limit:  # otherwise a small peak would look like a mistake
        had = f"it had {sizes.text_of(peak)}, and asked for much more at once"
    return f"more than its memoryLimit of {sizes.text_of(limit)} ({had}); raise it, or use less memory"
