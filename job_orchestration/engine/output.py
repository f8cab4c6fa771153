"""What a child prints: through a pipe, in whatever language it is printed, into the run's log.

The log is written by the host and not by the child, so that a full disk, or a limit, never makes a `print`
of the user's task fail. What cannot be written is dropped and counted, and the log says so when it can
again. A log that outgrows its limit keeps its beginning and its end: the beginning tells how it was
started, the end how it ended.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from typing import Final

_CHUNK: Final = 1 << 16
_AT_ONCE: Final = 32
"""Chunks that are moved before the host looks at its other duties: twice what the largest pipe may hold."""
_MUCH: Final = _CHUNK // 4
"""Bytes at one look after which the next look is not put off: the pipe must not fill up."""
_GATHER: Final = 0.02
"""Seconds between two looks at a child that prints little, so that a host is not woken for each line."""
_NOTICE: Final = re.compile(rb"\[job_orchestration\] (\d+) bytes were left out here")


class Output:
    """The pipe of one child and the log that it leads to.

    Args:
        path: the log; it is appended to.
        limit: how many bytes the log may have; 0 for any number.
    """

    def __init__(self, path: str, limit: int = 0) -> None:
        self.descriptor, self.write_end = os.pipe()
        os.set_blocking(self.descriptor, False)
        self.ended = False
        """Whether nobody can write into the pipe any more."""
        self.look_at = time.monotonic() + _GATHER
        """The moment before which nobody needs to look whether something was printed."""
        self._log = -1
        self._size = 0
        with suppress(OSError):
            self._log = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666
            )
            self._size = os.fstat(self._log).st_size
        self._limit = limit
        self._dropped = 0

    def become_stdio(self) -> None:
        """In the child: stdout and stderr are the pipe; stdin is empty, as its host's is."""
        os.dup2(self.write_end, 1)
        os.dup2(self.write_end, 2)
        os.close(self.write_end)
        os.close(self.descriptor)
        if self._log >= 0:
            os.close(self._log)

    def started(self) -> None:
        """In the host: the child has its end of the pipe now."""
        os.close(self.write_end)
        self.write_end = -1

    def drain(self) -> None:
        """Move what is in the pipe to the log; never wait for its end, which a left-over process may hold."""
        for _ in range(_AT_ONCE):
            try:
                data = os.read(self.descriptor, _CHUNK)
            except BlockingIOError:
                return
            if not data:
                self.ended = True
                return
            self._write(data)
            if len(data) < _CHUNK:
                self.look_at = time.monotonic() + (_GATHER if len(data) < _MUCH else 0.0)
                return

    def say(self, sentence: str) -> None:
        """A line of the host's own."""
        self._write(f"[job_orchestration] {sentence}\n".encode())

    def close(self) -> None:
        """Give the descriptors back."""
        for descriptor in (self.descriptor, self.write_end, self._log):
            if descriptor >= 0:
                os.close(descriptor)

    def _write(self, data: bytes) -> None:
        if self._dropped:
            notice = b"[job_orchestration] %d bytes could not be written here.\n" % self._dropped
            if not self._append(notice):
                self._dropped += len(data)
                return
            self._dropped = 0
        if not self._append(data):
            self._dropped += len(data)

    def _append(self, data: bytes) -> bool:
        try:
            if self._limit and self._size + len(data) > self._limit:
                self._leave_out_the_middle()
            written = os.write(self._log, data)
        except OSError:
            return False
        self._size += written
        return written == len(data)

    def _leave_out_the_middle(self) -> None:
        """Keep the first half of the limit and the last quarter, with a line between them that says so."""
        head, tail = self._limit // 2, self._limit // 4
        if self._size <= head + tail:
            return
        between = os.pread(self._log, 200, head)
        found = _NOTICE.search(between)
        before = int(found[1]) if found else 0
        end = os.pread(self._log, tail, self._size - tail)
        left_out = before + self._size - head - len(end) - (len(_notice(before)) if found else 0)
        os.ftruncate(self._log, head)
        self._size = head
        for part in (_notice(left_out), end):
            self._size += os.write(self._log, part)


def _notice(count: int) -> bytes:
    return b"\n[job_orchestration] %d bytes were left out here (logLimit).\n" % count
