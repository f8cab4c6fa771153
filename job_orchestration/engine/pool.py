"""Several processes of this program under one that starts them, hears them and ends them.

Each is a process group of its own, so that Ctrl-C in a terminal reaches only the supervisor, which passes
it on once; a worker would take a second one for "now". The kernel sends them the same polite signal when
the supervisor dies. One that ends without having been asked (killed, or out of memory) is started again, at
most once a second.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from job_orchestration.engine import sweep
from job_orchestration.engine.queue import Wake

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

_ENDS: Final = frozenset({0, 1, 2, 3, 4, 130})
"""The exit codes of a process that ended of its own will."""
_RESTART_AFTER: Final = 1.0
_LOOK_AGAIN: Final = 0.2
"""Seconds between two looks while one that was killed waits for its restart."""
_MOST: Final = 1 << 16
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Member:
    """One process of a pool, and the one that takes its place when it is killed."""

    def __init__(self, label: str, arguments: Sequence[str]) -> None:
        self.label = label
        self.code: int | None = None
        """How it ended for good."""
        self._arguments = arguments
        self._rest = b""
        self.start()

    def start(self) -> None:
        """Start the process."""
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            _command(self._arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        assert self.process.stdout is not None
        self.output = self.process.stdout.fileno()
        os.set_blocking(self.output, False)

    @property
    def lives(self) -> bool:
        """Whether its process still runs."""
        return self.process.returncode is None and self.process.poll() is None

    def lines(self) -> list[str]:
        """What it printed since the last time, whole lines only."""
        with suppress(BlockingIOError):
            while data := os.read(self.output, _MOST):
                self._rest += data
        *whole, self._rest = self._rest.split(b"\n")
        return [line.decode("utf-8", "replace") for line in whole]

    def tell(self, number: int) -> None:
        """Send it a signal."""
        if self.lives:
            self.process.send_signal(number)

    def close(self) -> None:
        """End it in any case."""
        if self.lives:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Pool:
    """The supervisor of some processes, as a context: leaving it ends them all.

    Args:
        say: gets the label of a process and a line that it printed, or a sentence about it.
    """

    def __init__(self, say: Callable[[str, str], None]) -> None:
        self.members: list[Member] = []
        self.interrupted = False
        """Whether a signal ended it."""
        self._say = say
        self._wake = Wake()
        self._signals = 0
        self._passed_on = 0
        self._stopping = False

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._wake.signal_end, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only its byte in the pipe is wanted
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        for number in (*_SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for member in self.members:
            member.close()

    def start(self, label: str, *arguments: str) -> None:
        """Start a process: this program, with these arguments."""
        self.members.append(Member(label, arguments))

    @property
    def stopping(self) -> bool:
        """Whether its processes were asked to end."""
        return self._stopping

    def living(self, label: str) -> int:
        """How many processes live whose label begins so."""
        return sum(m.lives for m in self.members if m.label.startswith(label))

    def codes(self, label: str) -> list[int]:
        """The exit codes of those whose label begins so and that have ended."""
        return [m.code for m in self.members if m.label.startswith(label) and m.code is not None]

    def stop(self) -> None:
        """Ask all processes to end; none is started again."""
        self._stopping = True
        for member in self.members:
            member.tell(signal.SIGTERM)

    def turn(self, seconds: float) -> bool:
        """Wait for something to happen, see to it, and tell whether any process is left."""
        left = [m for m in self.members if m.code is None]
        living = [m.output for m in left if m.lives]
        poll = select.poll()
        for descriptor in (self._wake.descriptor, *living):
            poll.register(descriptor, select.POLLIN)
        poll.poll((seconds if len(living) == len(left) else min(seconds, _LOOK_AGAIN)) * 1000)
        self._wake.clear()
        self._pass_on()
        for member in left:
            lives = member.lives  # asked first: what it said before its end has been written then
            for line in member.lines():
                self._say(member.label, line)
            if not lives:
                self._ended(member)
        return any(m.code is None for m in self.members)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        self.interrupted = True

    def _pass_on(self) -> None:
        while self._passed_on < self._signals:
            self._passed_on += 1
            self.stop()

    def _ended(self, member: Member) -> None:
        code = member.process.returncode
        if self._stopping or code in _ENDS:
            member.code = code
            return
        if time.monotonic() - member.started < _RESTART_AFTER:
            return  # at the next turn, or the one after that
        how = signal.Signals(-code).name if -code in set(signal.Signals) else f"exit code {code}"
        self._say(member.label, f"it was ended by {how}; another one takes its place")
        member.close()
        member.start()


def stop_with_parent(parent: int) -> None:
    """Have the kernel ask this process to end when its supervisor dies; end at once if it already has."""
    sweep._prctl(sweep._PR_SET_PDEATHSIG, signal.SIGTERM)  # noqa: SLF001  # the one place that knows prctl
    if os.getppid() != parent:
        os._exit(1)


def program(arguments: Sequence[str], before: str = "") -> list[str]:
    """The command line of this program, wherever the package lies.

    Args:
        arguments: its words.
        before: statements that it executes first.
    """
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = (
        f"import sys; p = {package!r}; p in sys.path or sys.path.append(p); {before}"
        "import runpy; runpy.run_module('job_orchestration', run_name='__main__', alter_sys=True)"
    )
    return [sys.executable, "-P", "-c", code, *arguments]


def _command(arguments: Sequence[str]) -> list[str]:
    """This program, with the supervisor's death as a signal to end."""
    stop = "from job_orchestration.engine.pool import stop_with_parent"
    return program(arguments, f"{stop}; stop_with_parent({os.getpid()}); ")
