"""Signals that ask a process to stop: of a person, a closing terminal (SIGHUP), Slurm (SIGUSR1, SIGUSR2).

A signal that was ignored when the process was started stays ignored: `nohup`, and `&` in a script, mean it. A
terminal and a batch system may warn more than once, so all their warnings count as one request.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

_REQUESTS: Final = (signal.SIGINT, signal.SIGTERM)
WARNINGS: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class StopSignals:
    """The stop signals that this process got, from `handle` on."""

    def __init__(self) -> None:
        self._requests = 0
        self._warned = False
        self._before: dict[int, signal.Handlers] = {}

    @property
    def count(self) -> int:
        """The number of requests to stop: 1 politely, 2 and more at once."""
        return max(self._requests, int(self._warned))

    def handle(self) -> None:
        """Handle the signals, other than ignored ones and warnings that a program has a handler for."""
        for number in (*_REQUESTS, *WARNINGS):
            before = signal.getsignal(number)
            if before is signal.SIG_DFL or (number in _REQUESTS and before is not signal.SIG_IGN):
                signal.signal(number, self._on_signal)
                self._before[number] = before  # type: ignore[assignment]  # or a function, or None

    def restore(self) -> None:
        """Handle the signals as before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number in _REQUESTS:
            self._requests += 1
        else:
            self._warned = True
