"""Start, watch and end several processes of this program under a supervisor.

Each process is a process group of its own, so Ctrl-C in a terminal reaches only the supervisor, which passes
it on once: a second signal would make a worker stop at once. If the supervisor dies, the kernel sends its
processes the signal to stop. A process that ends unasked (killed, or out of memory) is restarted, at most
once a second.
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

from job_orchestration.processes import reaper
from job_orchestration.processes.stop_signals import StopSignals
from job_orchestration.processes.wakeup import WakeupPipe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ENDS: Final = frozenset({0, 1, 2, 3, 4, 130})
"""The exit codes of a process that ended regularly."""
_RESTART_AFTER: Final = 1.0
_LOOK_AGAIN: Final = 0.2
"""Seconds between two checks while a killed process waits for its restart."""
_MOST: Final = 1 << 16


class SupervisedProcess:
    """A supervised process, and its replacements."""

    def __init__(self, label: str, arguments: Sequence[str]) -> None:
        self.label = label
        self.code: int | None = None
        """The final exit code; `None` before the end."""
        self._arguments = arguments
        self._rest = b""
        self.start()

    def start(self) -> None:
        """Start the process."""
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command_of(self._arguments),
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
        """Return whether the process still runs."""
        return self.process.returncode is None and self.process.poll() is None

    def lines(self) -> list[str]:
        """Return the whole lines printed since the last call."""
        with suppress(BlockingIOError):
            while data := os.read(self.output, _MOST):
                self._rest += data
        *whole, self._rest = self._rest.split(b"\n")
        return [line.decode("utf-8", "replace") for line in whole]

    def send_signal(self, number: int) -> None:
        """Send a signal to the process."""
        if self.lives:
            self.process.send_signal(number)

    def close(self) -> None:
        """Kill the process if it still runs."""
        if self.lives:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Supervisor:
    """Context that supervises processes; leaving it ends them all.

    Args:
        say: called with the label of a process and a line that it printed, or a line about it.
    """

    def __init__(self, say: Callable[[str, str], None]) -> None:
        self.members: list[SupervisedProcess] = []
        self._say = say
        self._wake = WakeupPipe()
        self._stop_signals = StopSignals()
        self._passed_on = 0
        self._stopping = False

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._wake.signal_end, warn_on_full_buffer=False)
        self._stop_signals.handle()
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only wakes the wait, through the pipe
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        self._stop_signals.restore()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for member in self.members:
            member.close()

    def start(self, label: str, *arguments: str) -> None:
        """Start a process of this program with these arguments."""
        self.members.append(SupervisedProcess(label, arguments))

    @property
    def interrupted(self) -> bool:
        """Whether a signal ended the supervisor."""
        return self._stop_signals.count > 0

    @property
    def stopping(self) -> bool:
        """Return whether the processes were asked to end."""
        return self._stopping

    def living(self, label: str) -> int:
        """Return the number of living processes whose label has this beginning."""
        return sum(m.lives for m in self.members if m.label.startswith(label))

    def label_of(self, pid: int | None) -> str | None:
        """Return the label of the living process with this id; `None` if it is none of these."""
        return next((m.label for m in self.members if m.lives and m.process.pid == pid), None)

    def codes(self, label: str) -> list[int]:
        """Return the exit codes of ended processes whose label has this beginning."""
        return [m.code for m in self.members if m.label.startswith(label) and m.code is not None]

    def stop(self) -> None:
        """Ask all processes to end; none is started again."""
        self._stopping = True
        for member in self.members:
            member.send_signal(signal.SIGTERM)

    def turn(self, seconds: float) -> bool:
        """Wait for an event or until the time is over, handle it, and return whether any process is left."""
        left = [m for m in self.members if m.code is None]
        living = [m.output for m in left if m.lives]
        poll = select.poll()
        for descriptor in (self._wake.descriptor, *living):
            poll.register(descriptor, select.POLLIN)
        poll.poll((seconds if len(living) == len(left) else min(seconds, _LOOK_AGAIN)) * 1000)
        self._wake.clear()
        self._pass_on()
        for member in left:
            lives = member.lives  # asked first, so that the output before its end is read below
            for line in member.lines():
                self._say(member.label, line)
            if not lives:
                self._ended(member)
        return any(m.code is None for m in self.members)

    def _pass_on(self) -> None:
        while self._passed_on < self._stop_signals.count:
            self._passed_on += 1
            self.stop()

    def _ended(self, member: SupervisedProcess) -> None:
        code = member.process.returncode
        if self._stopping or code in _ENDS:
            member.code = code
            return
        if time.monotonic() - member.started < _RESTART_AFTER:
            return  # in a later turn
        how = signal.Signals(-code).name if -code in set(signal.Signals) else f"exit code {code}"
        self._say(member.label, f"it was ended by {how}; another one takes its place")
        member.close()
        member.start()


def stop_with_parent(parent: int) -> None:
    """Have the kernel send SIGTERM to this process if its supervisor dies; end at once if it has died."""
    reaper._prctl(reaper._PR_SET_PDEATHSIG, signal.SIGTERM)  # noqa: SLF001  # the only caller of prctl
    if os.getppid() != parent:
        os._exit(1)


def program(arguments: Sequence[str], before: str = "") -> list[str]:
    """Return a command line of this program that works wherever the package is.

    Args:
        arguments: the arguments of the program.
        before: Python statements to execute first.
    """
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = (
        f"import sys; p = {package!r}; p in sys.path or sys.path.append(p); {before}"
        "import runpy; runpy.run_module('job_orchestration', run_name='__main__', alter_sys=True)"
    )
    return [sys.executable, "-P", "-c", code, *arguments]


def command_of(arguments: Sequence[str]) -> list[str]:
    """Return the command line of this program; it ends if the supervisor dies."""
    stop = "from job_orchestration.processes.supervisor import stop_with_parent"
    return program(arguments, f"{stop}; stop_with_parent({os.getpid()}); ")
