"""The warm host: a process that has imported the tasks, forks a child for each attempt, and guards it.

A host is exec'd by its worker and never forked from it, so that it holds no descriptor but its own. It
serves from its main thread alone (the kernel's parent-death signal follows the forking *thread*) and waits
on four things at once: the worker's socket, the child's end, the child's output, and the moment at which a
stop stops being polite.

The end of the worker's socket, in whatever form it comes, means that the worker is dead: the child and all
that it started are killed, and the host goes too. When a child ends by itself the same sweep follows; only
then does the host say ``end``, so that a worker that releases its claim knows that nothing of the run is
left.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.engine import attempt, loading, messages, sweep, validation
from job_orchestration.engine.output import Output
from job_orchestration.engine.page import Page
from job_orchestration.model.run import Outcome

if TYPE_CHECKING:
    from job_orchestration.engine.messages import Message

_DUMP_TIME: Final = 0.3
"""Seconds that a child gets to write its stack down before it is killed."""
_LOOK_AGAIN: Final = 0.05
"""Seconds between two looks at a child where the system has no descriptor for it."""
_SPAWNED: Final = (200, 201, 202)
"""Where a spawned child finds the lock, the journal and the page."""


class Child:
    """The child of the moment, and what its host owes it."""

    def __init__(self, order: Message, descriptors: list[int]) -> None:
        self.order = order
        self.descriptors = descriptors
        self.pid = 0
        self.pidfd = -1
        self.deadline: float | None = None
        self.stopped: Outcome | None = None
        self.dumped = False
        self.output = Output(order["log"], order.get("log_limit") or 0)

    def task_deadline(self, page: Page) -> float | None:
        """When the running task's time is over, on the monotonic clock."""
        running = page.task
        limits = self.order.get("timeouts") or []
        if running is None or running[0] >= len(limits) or limits[running[0]] is None:
            return None
        return running[1] + float(limits[running[0]])

    def close(self) -> None:
        """Let go of what was held for it."""
        self.output.close()
        for descriptor in self.descriptors:
            os.close(descriptor)
        if self.pidfd >= 0:
            os.close(self.pidfd)


class Host:
    """The serving loop, from the first order to the end of the worker's socket."""

    def __init__(self, worker: socket.socket, page: Page, plan: loading.CodePlan) -> None:
        self.worker = worker
        self.page = page
        self.plan = plan
        self.spare: set[int] = set()
        self.child: Child | None = None

    def serve(self) -> None:
        """Work until the worker is gone."""
        self.spare = set(sweep._children(os.getpid()))  # noqa: SLF001  # what the imports started is not a run's
        gc.collect()
        gc.freeze()  # forks share the memory of the imports, which a collection would copy
        while True:
            ready = self._wait()
            child = self.child
            if child is not None and child.output.descriptor in ready:
                child.output.drain()
            if self.worker.fileno() in ready and not self._obey():
                return
            if child is not None and self.child is child:
                if child.pidfd in ready or (child.pidfd < 0 and _is_over(child.pid)):
                    self._ended(child)
                else:
                    self._press(child)

    def _wait(self) -> set[int]:
        poll = select.poll()
        poll.register(self.worker, select.POLLIN)
        timeout: float | None = None
        if self.child is not None:
            poll.register(self.child.output.descriptor, select.POLLIN)
            limits = [t for t in (self.child.deadline, self.child.task_deadline(self.page)) if t is not None]
            if self.child.pidfd >= 0:
                poll.register(self.child.pidfd, select.POLLIN)
            else:
                limits.append(time.monotonic() + _LOOK_AGAIN)
            timeout = min(limits) - time.monotonic() if limits else None
            if timeout is None and self.child.order.get("timeouts"):
                timeout = 1.0  # the next task's limit begins when it does, and nobody tells us
        return {fd for fd, _ in poll.poll(None if timeout is None else max(timeout, 0) * 1000 + 1)}

    def _obey(self) -> bool:
        received = messages.receive(self.worker)
        if received is None:
            if self.child is not None:
                self._kill(self.child)
            sweep.kill_descendants()
            return False
        message, descriptors = received
        if message["op"] == "begin":
            self._begin(Child(message, descriptors))
        elif message["op"] == "stop" and self.child is not None:
            self._stop(self.child, Outcome(message["outcome"]), float(message["grace"]))
        return True

    # -- a child's life -----------------------------------------------------------------------------------

    def _begin(self, child: Child) -> None:
        self.page.reset()
        spawn = child.order["isolation"] == "spawn" or loading.thread_count() > 1
        if spawn and child.order["isolation"] != "spawn":
            child.output.say(
                "The imports left threads behind, which do not survive a fork: this run gets a fresh"
                " interpreter. (OMP_NUM_THREADS=1 keeps NumPy from starting threads when it is imported.)"
            )
        child.pid = self._spawn(child) if spawn else self._fork(child)
        child.pidfd = os.pidfd_open(child.pid) if hasattr(os, "pidfd_open") else -1
        child.output.started()
        self.child = child

    def _fork(self, child: Child) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        host = os.getpid()
        pid = os.fork()
        if pid:
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)
            return pid
        code = 1
        try:
            self.worker.close()  # a descriptor in flight would keep the lock until both ends are closed
            child.output.become_stdio()
            attempt.settle_in(host)
            code = run_order(child.order, child.descriptors, self.page)
        except BaseException:  # noqa: BLE001  # nothing may unwind into the host's frames
            traceback.print_exc()
        finally:
            attempt.leave(code)
        return 0  # not reached

    def _spawn(self, child: Child) -> int:
        import json

        request = {"order": child.order, "plan": self.plan.as_message(), "host": os.getpid()}
        given = [*child.descriptors, self.page.descriptor]
        targets = [*_SPAWNED[: len(child.descriptors)], _SPAWNED[2]]
        actions: list[tuple[Any, ...]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, child.output.write_end, 1),
            (os.POSIX_SPAWN_DUP2, child.output.write_end, 2),
            *((os.POSIX_SPAWN_DUP2, source, target) for source, target in zip(given, targets, strict=True)),
        ]
        command = [sys.executable, "-P", "-c", bootstrap("spawned"), json.dumps(request)]
        environment = {**os.environ, **child.order["environment"]}
        return os.posix_spawn(sys.executable, command, environment, file_actions=actions, setpgroup=0)

    def _stop(self, child: Child, outcome: Outcome, grace: float) -> None:
        """Ask the child to end; a shutdown asks the child alone, and lets its programs finish."""
        if child.stopped is None:
            child.stopped = outcome
        self.page.stop = True
        deadline = time.monotonic() + grace
        child.deadline = deadline if child.deadline is None else min(deadline, child.deadline)
        with contextlib.suppress(ProcessLookupError):
            if outcome is Outcome.INTERRUPTED:
                os.kill(child.pid, signal.SIGTERM)
            else:
                os.killpg(child.pid, signal.SIGTERM)

    def _press(self, child: Child) -> None:
        """See whether the time of the task, or of a stop, is over."""
        now = time.monotonic()
        limit = child.task_deadline(self.page)
        if child.stopped is None and limit is not None and now >= limit:
            child.output.say("The task's timeout is over: it is stopped.")
            self._stop(child, Outcome.TIMEOUT, 3.0)
        if child.deadline is None or now < child.deadline:
            return
        if child.dumped:
            self._kill(child)
        else:
            child.dumped = True
            child.deadline = now + _DUMP_TIME
            child.output.say("It did not end in time. Where it was:")
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGUSR1)

    def _kill(self, child: Child) -> None:
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(child.pid, signal.SIGKILL)

    def _ended(self, child: Child) -> None:
        _, status = os.waitpid(child.pid, 0)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        left = sweep.kill_descendants(self.spare)
        child.output.drain()
        child.close()
        self.child = None
        messages.send(
            self.worker,
            {
                "event": "end",
                "code": os.waitstatus_to_exitcode(status),
                "verdict": int(self.page.verdict),
                "stopped": child.stopped,
                "left": left,
            },
        )


def _is_over(pid: int) -> bool:
    """Whether a child has ended, where no descriptor tells; it stays to be reaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def run_order(order: Message, descriptors: list[int], page: Page) -> int:
    """Do in a child what the worker, or `ready`, asked for; returns the exit code."""
    if order["kind"] == "validate":
        return validation.answer(order)
    return attempt.run(order, descriptors[0], descriptors[1], page)


def bootstrap(function: str) -> str:
    """The Python that starts one of this module's processes wherever the package lies."""
    parent = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return (
        f"import sys; p = {parent!r}; p in sys.path or sys.path.append(p); "
        f"from job_orchestration.engine.host import {function}; {function}()"
    )


def main() -> None:
    """The host process: ``argv[1]`` is the descriptor of the worker's socket."""
    sweep.become_subreaper()
    worker = socket.socket(fileno=int(sys.argv[1]))
    worker.set_inheritable(False)
    received = messages.receive(worker)
    if received is None:
        return
    message, descriptors = received
    page = Page(descriptors[0])
    plan = loading.CodePlan.from_message(message["plan"])
    faulthandler.enable()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the worker says when it is over
    error = _load(plan)
    host = Host(worker, page, plan)
    if (
        messages.send(worker, {"event": "ready", "threads": loading.thread_count(), "error": error})
        and not error
    ):
        host.serve()
    sweep.kill_descendants()
    os._exit(0)


def _load(plan: loading.CodePlan) -> str | None:
    try:
        loading.load(plan)
    except BaseException:  # noqa: BLE001  # a module may even call sys.exit while it is imported
        return traceback.format_exc()[-20_000:]
    return None


def spawned() -> None:
    """A spawned child: what a fork would have found in memory comes as ``argv[1]``."""
    import json

    request = json.loads(sys.argv[1])
    descriptors = list(_SPAWNED[:2]) if request["order"]["kind"] == "attempt" else []
    for descriptor in (*descriptors, _SPAWNED[2]):
        os.set_inheritable(descriptor, False)
    page = Page(_SPAWNED[2])
    faulthandler.enable()
    code = 1
    try:
        attempt.settle_in(request["host"])
        loading.load(loading.CodePlan.from_message(request["plan"]))
        code = run_order(request["order"], descriptors, page)
    except BaseException:  # noqa: BLE001  # said in the log; the worker sees that nothing was done
        traceback.print_exc()
    finally:
        attempt.leave(code)
