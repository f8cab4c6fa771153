"""What a host watches in its child: that it keeps to its limits, and that it really ends when it should.

Stopping has four steps: the child is told (the shared page says stop, and SIGTERM comes), it gets a grace
time, then everybody's stack is written into the log, then its whole group is killed. How long the grace is
depends on why. A shutdown signals the child alone, so that it may let its programs finish; everything else
signals the group.

A hang is told by a thread in the child that writes the time into the shared page: as long as it cannot run,
nothing in that interpreter can. The host counts only time that it saw pass itself, so a machine that slept,
or a whole family that was stopped and continued, is no hang.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import TYPE_CHECKING, Final

from job_orchestration.engine import memory
from job_orchestration.engine.output import Output
from job_orchestration.model.run import Outcome

if TYPE_CHECKING:
    from job_orchestration.engine.messages import Message
    from job_orchestration.engine.page import Page

_DUMP_TIME: Final = 0.3
"""Seconds that a child gets to write its stack down before it is killed."""
_LOOK_AGAIN: Final = 0.05
"""Seconds between two looks at a child where the system has no descriptor for it."""
_TICK: Final = 0.5
"""Seconds between two looks at limits that begin without a message: a task's timeout, a hang."""
STOP_TIME: Final = 3.0
"""Seconds between SIGTERM and SIGKILL when a limit is over."""


class Child:
    """The child of the moment: what was asked of it, and what its host holds for it.

    Args:
        order: the worker's message.
        descriptors: the lock and the journal, for as long as the child lives.
        page: shared with it.
    """

    def __init__(self, order: Message, descriptors: list[int], page: Page) -> None:
        self.order = order
        self.descriptors = descriptors
        self.page = page
        self.pid = 0
        self.pidfd = -1
        self.stopped: Outcome | None = None
        self.output = Output(order["log"], order.get("log_limit") or 0)
        self.memory = memory.limited(order.get("memory_limit"), self.output.say)
        limits = (order.get("timeouts") or None, order.get("run_limit"), order.get("stall_timeout"))
        self._limited = any(limit is not None for limit in limits)
        self._began = time.monotonic()
        self._deadline: float | None = None
        self._dumped = False
        self._beat = 0.0
        self._still = 0.0
        self._ticked = self._began

    def started(self, pid: int) -> None:
        """It runs: from now on its limits count."""
        self.pid = pid
        self.pidfd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1
        self.output.started()
        self.memory.add(pid)

    def register(self, poll: select.poll) -> float | None:
        """Add what is to be waited for; returns the seconds after which it wants to be looked at anyway."""
        now = time.monotonic()
        waits = [] if self._deadline is None else [self._deadline - now]
        if not self.output.ended:
            gathers = self.output.look_at - now
            if gathers > 0:
                waits.append(gathers)
            else:
                poll.register(self.output.descriptor, select.POLLIN)
        if self.pidfd >= 0:
            poll.register(self.pidfd, select.POLLIN)
        else:
            waits.append(_LOOK_AGAIN)
        if self._limited:
            waits.append(_TICK)
        return max(min(waits), 0.0) if waits else None

    def is_over(self, ready: set[int]) -> bool:
        """Whether it has ended; it stays to be reaped."""
        if self.pidfd >= 0:
            return self.pidfd in ready
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def stop(self, outcome: Outcome, grace: float) -> None:
        """Ask it to end, for the first time or more urgently."""
        if self.stopped is None:
            self.stopped = outcome
        self.page.stop = self.stopped
        deadline = time.monotonic() + grace
        self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)
        with contextlib.suppress(ProcessLookupError):
            if outcome is Outcome.INTERRUPTED:
                os.kill(self.pid, signal.SIGTERM)
            else:
                os.killpg(self.pid, signal.SIGTERM)

    def press(self) -> None:
        """See whether a limit, or the grace of a stop, is over."""
        now = time.monotonic()
        if self.stopped is None:
            self._check_limits(now)
        if self._deadline is None or now < self._deadline:
            return
        if self._dumped:
            self.kill()
            return
        self._dumped = True
        self._deadline = now + _DUMP_TIME
        self.output.say("It did not end by itself. Where it was:")
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR1)

    def kill(self) -> None:
        """End it and its group, now."""
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let go of what was held for it."""
        self.output.close()
        self.memory.close()
        for descriptor in self.descriptors:
            os.close(descriptor)
        if self.pidfd >= 0:
            os.close(self.pidfd)

    def _check_limits(self, now: float) -> None:
        running = self.page.task
        limits = self.order.get("timeouts") or []
        limit = limits[running[0]] if running is not None and running[0] < len(limits) else None
        if running is not None and limit is not None and now - running[1] >= limit:
            self.output.say(f"The task's timeout of {limit:g} s is over.")
            self.stop(Outcome.TIMEOUT, STOP_TIME)
            return
        run_limit = self.order.get("run_limit")
        if run_limit is not None and now - self._began >= run_limit:
            self.output.say("The run's timeout is over.")
            self.stop(Outcome.TIMEOUT, STOP_TIME)
            return
        stall = self.order.get("stall_timeout")
        if stall is not None and running is not None:
            self._check_beat(now, stall)

    def _check_beat(self, now: float, stall: float) -> None:
        seen, self._ticked = min(now - self._ticked, 2 * _TICK), now
        beat = self.page.beat
        self._still = self._still + seen if beat == self._beat else 0.0
        self._beat = beat
        if self._still >= stall:
            self.output.say(f"The interpreter has not run for {stall:g} s (stallTimeout).")
            self.stop(Outcome.HANG, 0.0)
