"""What a child prints: through a pipe, in whatever language it is printed, into the run's log.

The log is written by the host and not by the child, so that a full disk, or a limit, never makes a `print`
of the user's task fail. What cannot be written is dropped and counted, and the log says so when it can
again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

_CHUNK: Final = 1 << 16


class Output:
    """The pipe of one child and the log that it leads to.

    Args:
        path: the log; it is appended to.
        limit: how many bytes the log may have; 0 for any number.
    """

    def __init__(self, path: str, limit: int = 0) -> None:
        self.descriptor, self.write_end = os.pipe()
        os.set_blocking(self.descriptor, False)
        self._log = -1
        with suppress(OSError):
            self._log = os.open(
                path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666
            )
        self._limit = limit
        self._dropped = 0

    def become_stdio(self) -> None:
        """In the child: stdin is empty, stdout and stderr are the pipe."""
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(self.write_end, 1)
        os.dup2(self.write_end, 2)
        os.close(nothing)
        os.close(self.write_end)
        os.close(self.descriptor)
        if self._log >= 0:
            os.close(self._log)

    def started(self) -> None:
        """In the host: the child has its end of the pipe now."""
        os.close(self.write_end)
        self.write_end = -1

    def drain(self) -> None:
        """Move what is in the pipe to the log; never waits, for a left-over process may hold the pipe for ever."""
        while True:
            try:
                data = os.read(self.descriptor, _CHUNK)
            except BlockingIOError:
                return
            if not data:
                return
            self._write(data)
            if len(data) < _CHUNK:
                return

    def say(self, sentence: str) -> None:
        """A line of the host's own."""
        self._write(f"[job_orchestration] {sentence}\n".encode())

    def _write(self, data: bytes) -> None:
        if self._dropped:
            notice = b"[job_orchestration] %d bytes could not be written here.\n" % self._dropped
            if not self._try(notice):
                self._dropped += len(data)
                return
            self._dropped = 0
        if not self._try(data):
            self._dropped += len(data)

    def _try(self, data: bytes) -> bool:
        try:
            return os.write(self._log, data) == len(data)
        except OSError:
            return False

    def close(self) -> None:
        """Give the descriptors back."""
        for descriptor in (self.descriptor, self.write_end, self._log):
            if descriptor >= 0:
                os.close(descriptor)
