"""Workers and `watch` as processes of their own, started from a program or a notebook.

A worker handles signals, forks and reaps processes, none of which a process with threads of its own can have
done to it. So each is a process of the same interpreter, which ends when its program ends.
"""

from __future__ import annotations

import collections
import os
import queue
import signal
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from job_orchestration.diagnostics.errors import UsageError, WorkspaceError
from job_orchestration.processes import supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_KEPT: Final = 1000
"""Lines of output that are kept."""
_WELL: Final = frozenset({0, 1, 130})


class Background:
    """A worker, `watch` or `up` that goes on in a process of its own.

    Use it in a ``with`` statement, or call ``stop()``. It ends with the program that started it.
    """

    def __init__(self, words: Sequence[str], say: Callable[[str], None] | None = None) -> None:
        self._words = list(words)
        self._say = say
        self._lines: collections.deque[str] = collections.deque(maxlen=_KEPT)
        self._code: int | None = None
        self._owner = os.getpid()
        self._ended = threading.Event()
        """Set at the end; an interrupted `Thread.join` would take the thread for ended."""
        started: queue.SimpleQueue[subprocess.Popen[str] | OSError] = queue.SimpleQueue()
        # The thread starts it: the kernel ends a child with the thread that it comes from, not the process.
        threading.Thread(target=self._serve, args=(started,), daemon=True).start()
        found = started.get()
        if isinstance(found, OSError):
            raise found
        self._process = found

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        if self._owner != os.getpid():  # in a forked child no thread of this object goes on
            return self._is_there()
        return not self._ended.is_set()

    @property
    def lines(self) -> list[str]:
        """The last lines that it printed."""
        return list(self._lines)

    def stop(self, timeout: float | None = None) -> None:
        """Ask it to stop, and wait until it has; unfinished runs go on later from their checkpoints.

        In a child that the program has forked it does nothing: it is the program's.

        Args:
            timeout: seconds after which it is asked to stop at once.
        """
        if self._owner != os.getpid():
            return
        self._signal(signal.SIGTERM)
        if not self._ended.wait(timeout):
            self._signal(signal.SIGTERM)
            self._ended.wait()

    def wait(self) -> bool:
        """Wait until it ends by itself; return whether no run of it failed.

        Ctrl-C asks it to stop politely, a second one at once.

        Raises:
            UsageError: if an argument does not suit; the text is what it printed.
            WorkspaceError: if it could not use the workspace.
        """
        if self._owner != os.getpid():
            raise UsageError(
                "It was started by the program that forked this process", "Wait for runs instead"
            )
        interrupted = False
        while self.is_alive:
            try:
                self._ended.wait()
            except KeyboardInterrupt:
                interrupted = True
                self._signal(signal.SIGINT)
        if interrupted:
            raise KeyboardInterrupt
        if self._code not in _WELL:
            kind = UsageError if self._code == UsageError.exit_code else WorkspaceError
            raise kind(self._lines[-1] if self._lines else f"It ended with exit code {self._code}")
        return self._code != 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = f"process {self._process.pid}" if self.is_alive else f"ended with {self._code}"
        return f"<{self._words[0]}: {state}>"

    def _is_there(self) -> bool:
        try:
            os.kill(self._process.pid, 0)
        except OSError:
            return False
        return True

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _serve(self, started: queue.SimpleQueue[subprocess.Popen[str] | OSError]) -> None:
        try:
            process = subprocess.Popen(
                supervisor.command_of(self._words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C in a terminal reaches the program, which passes it on once
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            self._ended.set()
            started.put(error)
            return
        started.put(process)
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._lines.append(line.rstrip("\n"))
                if self._say is not None:
                    with suppress(Exception):  # the pipe is read on, whatever a person's function does
                        self._say(line.rstrip("\n"))
        self._code = process.wait()
        self._ended.set()


Background.__module__ = "job_orchestration"
