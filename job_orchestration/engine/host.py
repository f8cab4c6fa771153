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
import functools
import gc
import os
import select
import signal
import socket
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.engine import attempt, interior, loading, messages, sweep, validation
from job_orchestration.engine.page import Page
from job_orchestration.engine.supervision import Child
from job_orchestration.model.run import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from job_orchestration.engine.messages import Message

_SPAWNED: Final = (200, 201, 202)
"""Where a spawned child finds the lock, the journal and the page."""


class Host:
    """The serving loop, from the first order to the end of the worker's socket."""

    def __init__(self, worker: socket.socket, page: Page, plan: loading.CodePlan) -> None:
        self.worker = worker
        self.page = page
        self.plan = plan
        self.spare: set[int] = set()
        self.threads = loading.thread_count()
        self.child: Child | None = None

    def serve(self) -> None:
        """Work until the worker is gone."""
        self.spare = set(sweep._children(os.getpid()))  # noqa: SLF001  # what the imports started is not a run's
        interior.prepare()
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
                if child.is_over(ready):
                    self._ended(child)
                else:
                    child.press()

    def _wait(self) -> set[int]:
        poll = select.poll()
        poll.register(self.worker, select.POLLIN)
        seconds = None if self.child is None else self.child.register(poll)
        return {fd for fd, _ in poll.poll(None if seconds is None else seconds * 1000 + 1)}

    def _obey(self) -> bool:
        received = messages.receive(self.worker)
        if received is None:
            if self.child is not None:
                self.child.kill()
            sweep.kill_descendants()
            return False
        message, descriptors = received
        if message["op"] == "begin":
            self._begin(Child(message, descriptors, self.page))
        elif message["op"] == "stop" and self.child is not None:
            self.child.stop(Outcome(message["outcome"]), float(message["grace"]))
        return True

    # -- a child's life -----------------------------------------------------------------------------------

    def _begin(self, child: Child) -> None:
        self.page.reset()
        spawn = child.order["isolation"] == "spawn" or self.threads > 1
        if spawn and child.order["isolation"] != "spawn":
            child.output.say(
                "The imports left threads behind, which do not survive a fork: this run gets a fresh"
                " interpreter. (OMP_NUM_THREADS=1 keeps NumPy from starting threads when it is imported.)"
            )
        child.started(self._spawn(child) if spawn else self._fork(child))
        self.child = child

    def _fork(self, child: Child) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        host = os.getpid()
        work = _work_of(child.order, child.descriptors, self.page)
        os.environ.update(child.order["environment"])  # nothing of a host's own heeds it
        pid = os.fork()
        if pid:
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)
            return pid
        code = 1
        try:
            self.worker.close()  # a descriptor in flight would keep the lock until both ends are closed
            child.output.become_stdio()
            interior.settle_in(host, self.page)
            code = work()
        except BaseException:  # noqa: BLE001  # nothing may unwind into the host's frames
            traceback.print_exc()
        finally:
            interior.leave(code)
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

    def _ended(self, child: Child) -> None:
        _, status = os.waitpid(child.pid, 0)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        left = sweep.kill_descendants(self.spare)
        child.output.drain()
        exceeded = os.WIFSIGNALED(status) and child.memory.was_exceeded()
        child.close()
        self.child = None
        messages.send(
            self.worker,
            {
                "event": "end",
                "code": os.waitstatus_to_exitcode(status),
                "verdict": int(self.page.verdict),
                "stopped": child.stopped,
                "oom": exceeded,
                "left": left,
            },
        )


def _work_of(order: Message, descriptors: list[int], page: Page) -> Callable[[], int]:
    """What a child is to do for the worker, or for `ready`; what it can be given ready-made it is."""
    if order["kind"] == "validate":
        return functools.partial(validation.answer, order)
    try:
        return attempt.Attempt(order, descriptors[0], descriptors[1], page).run
    except OSError as error:
        return functools.partial(attempt.end_by_disk, page, error)


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
        interior.settle_in(request["host"], page)
        loading.load(loading.CodePlan.from_message(request["plan"]))
        interior.prepare()
        os.environ.update(request["order"]["environment"])
        code = _work_of(request["order"], descriptors, page)()
    except BaseException:  # noqa: BLE001  # said in the log; the worker sees that nothing was done
        traceback.print_exc()
    finally:
        interior.leave(code)
