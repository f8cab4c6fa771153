"""Measure what a task uses: CPU, memory, bytes read and written, of its process and those that it waited for.

The kernel adds what a process used to its parent's sums when the parent waits for it. So a program that a
task starts and leaves running is not counted. The peak of memory is that of the largest single process. The
kernel keeps one for the process itself, which is put back before each task, and one for all processes that it
has waited for, which cannot be put back: of a later task's children it counts only if it has grown.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from typing import Final, NamedTuple

from job_orchestration.executor.out_of_memory import peak_of
from job_orchestration.runs.events import Usage

_IO: Final = "/proc/self/io"
_RESET: Final = "/proc/self/clear_refs"
_RESET_PEAK: Final = b"5"
_MOST: Final = 512
_RCHAR, _WCHAR = 1, 3
"""Places of the two numbers among the words of ``/proc/self/io``."""


class _Sums(NamedTuple):
    cpu_s: float = 0.0
    children_peak: int = 0
    read: int | None = 0
    written: int | None = 0


class Meter:
    """Measures one task after another in a child. A fresh fork has used nothing, and needs no first look."""

    def __init__(self) -> None:
        self._before = _Sums()
        self._is_fresh = True

    def restart(self) -> None:
        """Count from now on: the process has done other work than that of a task."""
        self._before = _now()[0]
        self._is_fresh = False

    def begin(self) -> None:
        """Begin a task."""
        if self._is_fresh:
            self._is_fresh = False
            return
        with suppress(OSError):
            descriptor = os.open(_RESET, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, _RESET_PEAK)
            finally:
                os.close(descriptor)

    def end(self) -> Usage:
        """Return what was used since the last task ended, or the meter was restarted."""
        before = self._before
        now, peak = _now()
        self._before = now
        if now.children_peak > before.children_peak:
            peak = max(peak, now.children_peak)
        return Usage(
            round(now.cpu_s - before.cpu_s, 6),
            peak,
            _grown(before.read, now.read),
            _grown(before.written, now.written),
        )


def _grown(before: int | None, now: int | None) -> int | None:
    return None if before is None or now is None else max(now - before, 0)


def _now() -> tuple[_Sums, int]:
    """Return the sums of this process, and its own peak of memory in bytes."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return _Sums(cpu, peak_of(children), *_read_and_written()), peak_of(own)


def _read_and_written() -> tuple[int | None, int | None]:
    try:
        descriptor = os.open(_IO, os.O_RDONLY | os.O_CLOEXEC)
        try:
            words = os.read(descriptor, _MOST).split()
        finally:
            os.close(descriptor)
        return int(words[_RCHAR]), int(words[_WCHAR])
    except (OSError, ValueError, IndexError):  # not Linux, or hidden from this user
        return None, None
