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
from typing import Final

from job_orchestration.executor.out_of_memory import UNIT
from job_orchestration.runs.events import Usage

_IO: Final = "/proc/self/io"
_RESET: Final = "/proc/self/clear_refs"
_RESET_PEAK: Final = b"5"
_MOST: Final = 512
_RCHAR, _WCHAR = 1, 3
"""Places of the two numbers among the words of ``/proc/self/io``."""
_SELF: Final = resource.RUSAGE_SELF
_CHILDREN: Final = resource.RUSAGE_CHILDREN
_sums_of: Final = resource.getrusage


class Meter:
    """Measures one task after another in a child. A fresh fork has used nothing, and needs no first look.

    `end` is one function, because each more that a child calls has it copy pages of the fork server.
    """

    def __init__(self) -> None:
        self._cpu = 0.0
        self._children_peak = 0
        self._read: int | None = 0
        self._written: int | None = 0
        self._is_fresh = True

    def restart(self) -> None:
        """Count from now on: the process has done other work than that of a task."""
        self.end()
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
        own, children = _sums_of(_SELF), _sums_of(_CHILDREN)
        cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
        peak, children_peak = own.ru_maxrss, children.ru_maxrss
        if children_peak > self._children_peak and children_peak > peak:
            peak = children_peak
        read: int | None = None
        written: int | None = None
        try:
            descriptor = os.open(_IO, os.O_RDONLY | os.O_CLOEXEC)
            try:
                words = os.read(descriptor, _MOST).split()
            finally:
                os.close(descriptor)
            read, written = int(words[_RCHAR]), int(words[_WCHAR])
        except (OSError, ValueError, IndexError):  # not Linux, or hidden from this user
            pass
        used = Usage(
            round(cpu - self._cpu, 6),
            peak * UNIT,
            None if read is None or self._read is None else max(read - self._read, 0),
            None if written is None or self._written is None else max(written - self._written, 0),
        )
        self._cpu, self._children_peak, self._read, self._written = cpu, children_peak, read, written
        return used
