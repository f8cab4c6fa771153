"""The child process of a fork server: enforce its limits, and stop it.

Stopping has four steps: the shared page says stop and SIGTERM is sent, a grace time passes, the stacks of all
threads are written into the log, and the whole process group is killed. The reason decides how long the grace
time is. A shutdown signals the child alone, so that it may let its programs finish; every other reason
signals the group.

To detect a hang, a thread in the child writes the time into the shared page: while that thread cannot run,
nothing in the interpreter can. The fork server counts only time that it saw pass itself, so a machine that
slept, or a process family that was stopped and continued, is not a hang.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import TYPE_CHECKING, Final

from job_orchestration.executor import memory_limit
from job_orchestration.executor.log_capture import LogCapture
from job_orchestration.executor.out_of_memory import peak_of
from job_orchestration.runs.events import Outcome

if TYPE_CHECKING:
    import resource

    from job_orchestration.executor.messages import Message
    from job_orchestration.executor.shared_memory import SharedPage

_DUMP_TIME: Final = 0.3
"""Seconds that a child has to write its stack before it is killed."""
_LOOK_AGAIN: Final = 0.05
"""Seconds between two checks of a child if the system has no pidfd."""
_TICK: Final = 0.5
"""Seconds between two checks of limits that begin without a message: a task's timeout, a hang, the end."""
STOP_TIME: Final = 3.0
"""Seconds between SIGTERM and SIGKILL after a limit."""


class ChildProcess:
    """The current child: its message, and the resources that the fork server holds for it.

    Args:
        order: the worker's message.
        descriptors: the lock and the journal, for as long as the child lives.
        shared_page: shared with it.
    """

    def __init__(self, order: Message, descriptors: list[int], shared_page: SharedPage) -> None:
        self.order = order
        self.descriptors = descriptors
        self.shared_page = shared_page
        self.pid = 0
        self.pidfd = -1
        self.stopped: Outcome | None = None
        self.output = LogCapture(order["log"], order.get("log_limit") or 0)
        self.memory = memory_limit.limited(order.get("memory_limit"), self.output.say)
        self._began = time.monotonic()
        self._deadline: float | None = None
        self._dumped = False
        self._heartbeat = 0.0
        self._still = 0.0
        self._ticked = self._began
        self._ending: float | None = None

    def started(self, pid: int) -> None:
        """Note that the child runs: its limits count from now on."""
        self.pid = pid
        self.pidfd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1
        self.output.started()
        self.memory.add(pid)

    def register(self, poll: select.poll) -> float:
        """Register the descriptors to poll; return the seconds after which to check the child in any case."""
        now = time.monotonic()
        waits = [_TICK] if self._deadline is None else [self._deadline - now]
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
        return max(min(waits), 0.0)

    def is_over(self, ready: set[int]) -> bool:
        """Whether the child has ended; it is not reaped yet."""
        if self.pidfd >= 0:
            return self.pidfd in ready
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def stop(self, outcome: Outcome, grace: float) -> None:
        """Ask the child to stop, for the first time or more urgently."""
        if self.stopped is None:
            self.stopped = outcome
        self.shared_page.stop = self.stopped
        deadline = time.monotonic() + grace
        self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)
        with contextlib.suppress(ProcessLookupError):
            if outcome is Outcome.INTERRUPTED:
                os.kill(self.pid, signal.SIGTERM)
            else:
                os.killpg(self.pid, signal.SIGTERM)

    def press(self) -> None:
        """Enforce the limits, and the grace time of a stop."""
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
        """Kill the child and its process group."""
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self.pid, signal.SIGKILL)

    def out_of_memory(self, status: int, usage: resource.struct_rusage) -> str | None:
        """Return what happened if the kernel killed for lack of memory; `None` if it did not.

        Args:
            status: the child's, as `os.wait4` returned it.
            usage: the resources that it has used.
        """
        killed, has_group = os.WIFSIGNALED(status), isinstance(self.memory, memory_limit.ControlGroup)
        if not (killed or has_group) or not self.memory.was_exceeded():
            return None
        sentence = self.memory.sentence(peak_of(usage))
        if killed:
            return sentence
        self.output.say(f"A program of this run is gone, {sentence}.")
        return None

    def abandon(self) -> None:
        """End a child that could not be guarded, if there is one, and close what was held for it."""
        if self.pid:
            self.kill()
            os.waitpid(self.pid, 0)
        self.close()

    def close(self) -> None:
        """Close the descriptors that were held for the child."""
        self.output.close()
        self.memory.close()
        for descriptor in self.descriptors:
            os.close(descriptor)
        if self.pidfd >= 0:
            os.close(self.pidfd)

    def _check_limits(self, now: float) -> None:
        seen, self._ticked = min(now - self._ticked, 2 * _TICK), now
        if self.shared_page.ending:
            self._check_end(now, seen)
            return
        running = self.shared_page.task
        limits = self.order.get("timeouts") or []
        limit = limits[running[0]] if running is not None and running[0] < len(limits) else None
        if running is not None and limit is not None and now - running[1] >= limit:
            from job_orchestration.diagnostics import durations

            self.output.say(f"The task's timeout of {durations.text_of(limit)} is over.")
            self.stop(Outcome.TIMEOUT, STOP_TIME)
            return
        run_limit = self.order.get("run_limit")
        if run_limit is not None and now - self._began >= run_limit:
            self.output.say("The run's timeout is over.")
            self.stop(Outcome.TIMEOUT, STOP_TIME)
            return
        stall = self.order.get("stall_timeout")
        if stall is not None and running is not None:
            self._check_heartbeat(seen, stall)

    def _check_end(self, now: float, seen: float) -> None:
        """Limit the end of a child whose work is done: what did not end by itself is killed."""
        self._ending = 0.0 if self._ending is None else self._ending + seen
        grace = self.order.get("grace_time", STOP_TIME)
        if self._ending >= grace and self._deadline is None:
            self.output.say(f"The process did not end within {grace:g} s (graceTime) of its last task.")
            self._deadline = now

    def _check_heartbeat(self, seen: float, stall: float) -> None:
        heartbeat = self.shared_page.heartbeat
        self._still = self._still + seen if heartbeat == self._heartbeat else 0.0
        self._heartbeat = heartbeat
        if self._still >= stall:
            from job_orchestration.diagnostics import durations

            self.output.say(f"The interpreter has not run for {durations.text_of(stall)} (stallTimeout).")
            self.stop(Outcome.HANG, 0.0)
