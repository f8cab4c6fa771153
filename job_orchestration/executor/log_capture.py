"""Capture what a child prints, down to the file descriptors, in the run's log.

The fork server writes the log, not the child, so that neither a full disk nor a limit makes a `print` of the
user's task fail. Bytes that cannot be written are dropped and counted, and the log says so as soon as it can
be written again. A log that outgrows its limit keeps its beginning and its end: the beginning shows how the
run started, the end how it ended. Of a line that is overwritten, such as a progress bar, it has the last
state.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from typing import Final

from job_orchestration.executor.overwritten_lines import OverwrittenLines
from job_orchestration.workspace import durable

_CHUNK: Final = 1 << 16
_AT_ONCE: Final = 32
"""Chunks moved before the fork server handles other events: twice what the largest pipe holds."""
_MUCH: Final = _CHUNK // 4
"""Bytes of one read after which the next read comes at once: the pipe must not fill up."""
_GATHER: Final = 0.02
"""Seconds between two reads from a child that prints little: the fork server is not woken for each line."""
_NOTICE: Final = re.compile(rb"\[job_orchestration\] (\d+) bytes were left out here")


class LogCapture:
    """The pipe of one child and the log that it leads to.

    Args:
        path: the log file, opened for appending.
        limit: maximum size of the log in bytes; 0 if unlimited.
    """

    def __init__(self, path: str, limit: int = 0) -> None:
        self.descriptor, self.write_end = os.pipe()
        os.set_blocking(self.descriptor, False)
        self.ended = False
        """Whether the pipe has no writer any more."""
        self.look_at = time.monotonic() + _GATHER
        """When to read the pipe next, by the monotonic clock."""
        self._path = path
        self._log = -1
        self._size = 0
        with suppress(OSError):
            self._log = durable.open_log(path)
            self._size = os.fstat(self._log).st_size
        self._limit = limit
        self._lines = OverwrittenLines()
        self._dropped = 0

    def become_stdio(self) -> None:
        """In the child: make the pipe stdout and stderr; stdin is empty, as in the fork server."""
        os.dup2(self.write_end, 1)
        os.dup2(self.write_end, 2)
        os.close(self.write_end)
        os.close(self.descriptor)
        if self._log >= 0:
            os.close(self._log)

    def started(self) -> None:
        """In the fork server: close the child's end of the pipe, once the child has it."""
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
            self._put(data)
            if len(data) < _CHUNK:
                self.look_at = time.monotonic() + (_GATHER if len(data) < _MUCH else 0.0)
                return

    def say(self, sentence: str) -> None:
        """Write a line of the fork server into the log."""
        self._write(self._lines.end_line())
        self._put(f"[job_orchestration] {sentence}\n".encode())

    def close(self) -> None:
        """Close the descriptors; a log whose name was removed gets it again."""
        with suppress(OSError):
            if self._log >= 0 and not os.fstat(self._log).st_nlink:
                self._write_again()
        for descriptor in (self.descriptor, self.write_end, self._log):
            if descriptor >= 0:
                os.close(descriptor)

    def _write_again(self) -> None:
        """Copy the log to its path, unless another file has its name by now."""
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        copy = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            at = 0
            while data := os.pread(self._log, _CHUNK, at):
                at += os.write(copy, data)
        finally:
            os.close(copy)

    def _put(self, data: bytes) -> None:
        """Write what the child printed, as a terminal would show it."""
        if b"\r" in data or b"\x1b" in data:
            with suppress(OSError):
                size = os.fstat(self._log).st_size
                if size != self._size:  # another process has written
                    self._lines.forget()
                    self._size = size
        surplus, data = self._lines.write(data)
        if surplus:
            with suppress(OSError):
                os.ftruncate(self._log, self._size - surplus)
                self._size -= surplus
        self._write(data)

    def _write(self, data: bytes) -> None:
        if self._dropped:
            notice = b"[job_orchestration] %d bytes could not be written here.\n" % self._dropped
            if not self._append(notice):
                self._dropped += len(data)
                return
            self._dropped = 0
            self._lines.forget()
        if data and not self._append(data):
            self._dropped += len(data)
            self._lines.forget()

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
        """Keep the first half of the limit and the last quarter, with a notice between them."""
        head, tail = self._limit // 2, self._limit // 4
        if self._size <= head + tail:
            return
        between = os.pread(self._log, 200, head)
        found = _NOTICE.search(between)
        before = int(found[1]) if found else 0
        end = os.pread(self._log, tail, self._size - tail)
        self._lines.forget()
        left_out = before + self._size - head - len(end) - (len(_notice(before)) if found else 0)
        os.ftruncate(self._log, head)
        self._size = head
        for part in (_notice(left_out), end):
            self._size += os.write(self._log, part)


def _notice(count: int) -> bytes:
    return b"\n[job_orchestration] %d bytes were left out here (logLimit).\n" % count
