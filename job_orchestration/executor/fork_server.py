"""The fork server: a warm process that has imported the tasks, forks a child for each attempt, and guards it.

A worker starts its fork server by exec and not by fork, so that the fork server holds only its own
descriptors. It serves from its main thread alone (the kernel's parent-death signal follows the forking
*thread*) and waits on four things at once: the worker's socket, the child's end, the child's output, and the
moment at which a grace time ends.

If the worker's socket ends, in whatever form, the worker is dead: the fork server kills the child and all
descendants, and exits. If a child ends by itself, the fork server kills the descendants as well. Only then
does it send ``end``, so a worker that releases its claim knows that no process of the run is left.
"""

from __future__ import annotations

import contextlib
import contextvars
import faulthandler
import functools
import gc
import os
import select
import signal
import socket
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from job_orchestration.code import imported_files, task_importer
from job_orchestration.executor import (
    child_setup,
    exhaustion,
    messages,
    open_files,
    preload_server,
    preloading,
    process_exit,
    rehearsal,
    task_folder,
    task_runner,
    task_validation,
    thread_pools,
    tracebacks,
    unseeded_generators,
)
from job_orchestration.executor.child_process import ChildProcess
from job_orchestration.executor.import_folder import ImportFolder
from job_orchestration.executor.shared_memory import SharedPage
from job_orchestration.processes import reaper, stop_signals
from job_orchestration.runs import working_folder
from job_orchestration.runs.events import JournalEntry, Outcome, TaskFinished, TaskStarted, Usage
from job_orchestration.workspace import failures, locks

if TYPE_CHECKING:
    from collections.abc import Callable

    from job_orchestration.executor.messages import Message
    from job_orchestration.executor.task_folder import TaskFolder

_NAMED: Final = 5
"""Processes left by a child that its log names."""
_TRACKERS_END: Final = 2.0
"""Seconds for the trackers of shared memory and semaphores to remove what was left of these."""
_SPAWNED: Final = (200, 201, 202, 203)
"""Descriptors of the lock, the journal, the shared page and the request in a spawned child."""


class ForkServer:
    """The loop that serves a worker, from its first message to the end of its socket."""

    def __init__(
        self,
        worker: socket.socket,
        shared_page: SharedPage,
        plan: task_importer.CodePlan,
        folder: TaskFolder,
    ) -> None:
        self.folder = folder
        self.worker = worker
        self.shared_page = shared_page
        self.plan = plan
        self.spare: set[int] = set()
        self.threads = task_importer.thread_count()
        self.child: ChildProcess | None = None
        self.has_forked = False
        self.has_rehearsed = False

    def serve(self) -> None:
        """Serve until the worker's socket ends."""
        self.spare = set(reaper._children(os.getpid()))  # noqa: SLF001  # what the imports started is not a run's
        child_setup.prepare_interpreter()
        process_exit.note_imports(shared=True)
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
            reaper.kill_descendants()
            return False
        message, descriptors = received
        if message["op"] == "begin":
            self._begin(message, descriptors)
        elif message["op"] == "ask":
            messages.send(self.worker, {"event": "answer"})
        elif message["op"] == "preload":
            messages.send(self.worker, preload_server.answer(message))
            self.threads = task_importer.thread_count()
            self.spare = set(reaper._children(os.getpid()))  # noqa: SLF001  # nor is what it has started
        elif message["op"] == "stop" and self.child is not None:
            self.child.stop(Outcome(message["outcome"]), float(message["grace"]))
        return True

    # -- a child's life -----------------------------------------------------------------------------------

    def _begin(self, order: Message, descriptors: list[int]) -> None:
        """Start a child, or report that there is no room for one."""
        child: ChildProcess | None = None
        self.shared_page.reset()
        try:
            child = ChildProcess(order, descriptors, self.shared_page)
            spawn = order["isolation"] == "spawn" or self.threads > 1
            child.pid = self._spawn(child) if spawn else self._fork(child)
            child.started(child.pid)
        except OSError as error:
            number = exhaustion.number_of(error)
            if number is None:
                raise
            if child is None:
                for descriptor in descriptors:
                    os.close(descriptor)
            else:
                child.abandon()
            messages.send(self.worker, {"event": "exhausted", "error": number})
        else:
            self.child = child

    def _fork(self, child: ChildProcess) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        fork_server = os.getpid()
        if self.has_forked and not self.has_rehearsed and child.order["kind"] == "attempt":
            self.has_rehearsed = True  # for a second run: it costs what some runs save
            rehearsal.rehearse(child.order, self.folder)
            imported_files.start(self.plan.snapshot)
        if child.order.get(messages.INPUTS):
            from job_orchestration.executor import input_recorder  # noqa: F401  # once, for all forks
        work = _work_of(child.order, child.descriptors, self.shared_page, self.folder)
        if not self.has_forked:
            self.has_forked = True
            _context = contextvars.copy_context()  # a task has one, too
            open_files.know_types({TaskStarted, TaskFinished, JournalEntry, Usage})
        os.environ.update(child.order["environment"])  # the fork server itself reads none of it
        pid = os.fork()
        if pid:
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)
            return pid
        code = 1
        try:
            # A descriptor in flight would keep the lock until both ends are closed. The method of the type
            # in C touches less than that of `socket.socket`.
            socket.SocketType.close(self.worker)
            child.output.become_stdio()
            child_setup.become_child(fork_server, self.shared_page)
            gc.freeze()  # what is made from now on is the child's own: `open_files` looks at nothing else
            code = work()
        except BaseException:  # noqa: BLE001  # nothing may unwind into the fork server's frames
            traceback.print_exc()
        finally:
            process_exit.exit_child(code, self.shared_page)

    def _spawn(self, child: ChildProcess) -> int:
        import json

        request = {"order": child.order, "plan": self.plan.as_message(), "fork_server": os.getpid()}
        file = messages.unnamed_file(json.dumps(request).encode())  # an argument has a limit
        given = [*child.descriptors, self.shared_page.descriptor, file]
        targets = [*_SPAWNED[: len(child.descriptors)], *_SPAWNED[2:]]
        file_actions: list[tuple[Any, ...]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, child.output.write_end, 1),
            (os.POSIX_SPAWN_DUP2, child.output.write_end, 2),
            *((os.POSIX_SPAWN_DUP2, source, target) for source, target in zip(given, targets, strict=True)),
        ]
        command = [sys.executable, "-P", "-c", bootstrap("spawned")]
        environment = {**os.environ, **child.order["environment"]}
        try:
            return os.posix_spawn(
                sys.executable, command, environment, file_actions=file_actions, setpgroup=0
            )
        finally:
            os.close(file)

    def _ended(self, child: ChildProcess) -> None:
        _, status, usage = os.wait4(child.pid, 0)
        self._end_what_is_left(child)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        left = reaper.kill_descendants(self.spare)
        child.output.drain()
        out_of_memory = child.out_of_memory(status, usage)
        child.close()
        self.child = None
        messages.send(
            self.worker,
            {
                "event": "end",
                "code": os.waitstatus_to_exitcode(status),
                "verdict": int(self.shared_page.verdict),
                "stopped": child.stopped,
                "oom": out_of_memory,
                "left": left,
            },
        )

    def _end_what_is_left(self, child: ChildProcess) -> None:
        """Name the processes that a child left, and let the trackers of resources do their work first."""
        left = reaper.name_descendants(self.spare)
        trackers = {pid for pid, name in left.items() if name == reaper.TRACKER}
        named = [f"{name} (process {pid})" for pid, name in left.items() if pid not in trackers]
        if named:
            more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
            child.output.say(f"Left running, and ended: {', '.join(named[:_NAMED])}{more}")
        if trackers:
            reaper.kill_descendants(self.spare | trackers)
            reaper.wait_for(trackers, _TRACKERS_END)


def _work_of(
    order: Message, descriptors: list[int], shared_page: SharedPage, folder: TaskFolder
) -> Callable[[], int]:
    """The function that a child executes for the worker or for `ready`, prepared before the fork."""
    if order["kind"] == "validate":
        return functools.partial(task_validation.answer, order, folder)
    try:
        return task_runner.TaskRunner(order, descriptors[0], descriptors[1], shared_page, folder).run
    except OSError as error:
        if exhaustion.number_of(error) is not None:
            return functools.partial(task_runner.end_exhausted, shared_page, error)
        return functools.partial(task_runner.end_by_disk, shared_page, error)


PACKAGE: Final = __name__.partition(".")[0]
_APART: Final = "is_apart"
"""Attribute of the package in an interpreter that finds no other package beside it."""


def bootstrap(function: str, *, apart: bool = False) -> str:
    """The Python that starts one of this module's processes wherever the package lies.

    Args:
        function: what to call.
        apart: whether no other package that lies beside this one can be imported.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parent = os.path.dirname(package)
    if apart or hasattr(sys.modules[PACKAGE], _APART):
        return (
            "import sys, importlib.util as u; "
            f"s = u.spec_from_file_location({PACKAGE!r}, {os.path.join(package, '__init__.py')!r}, "
            f"submodule_search_locations=[{package!r}]); "
            f"m = u.module_from_spec(s); sys.modules[{PACKAGE!r}] = m; m.{_APART} = True; "
            "s.loader.exec_module(m); "
            f"from {PACKAGE}.executor.fork_server import {function}; {function}()"
        )
    return (
        f"import sys; p = {parent!r}; p in sys.path or sys.path.append(p); "
        f"from job_orchestration.executor.fork_server import {function}; {function}()"
    )


def main() -> None:
    """The fork server process: ``argv[1]`` is the descriptor of the worker's socket."""
    reaper.become_subreaper()
    worker = socket.socket(fileno=int(sys.argv[1]))
    worker.set_inheritable(False)
    received = messages.receive(worker)
    if received is None:
        return
    message, descriptors = received
    shared_page = SharedPage(descriptors[0])
    plan = task_importer.CodePlan.from_message(message["plan"])
    faulthandler.enable()
    child_setup.look_like_script()
    child_setup.restore_signals()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the worker decides when it ends
    for number in stop_signals.WARNINGS:  # programs that the imports start have the defaults
        signal.signal(number, lambda *_: None)
    own = os.getpid()
    # During the imports it does not look at the socket, so the kernel ends it with the thread that waits for
    # them; afterwards the end of the socket does, and another thread may have taken over.
    reaper.die_with_parent(message["starter"])
    imported = _import(plan, own)
    reaper.outlive_parent()
    ready = {
        "event": "ready",
        "threads": task_importer.thread_count(),
        "error": imported.error,
        "disk": imported.disk,
        "preloads": imported.folder is not None and preloading.is_offered(plan),
    }
    if messages.send(worker, ready) and imported.folder is not None:
        try:
            ForkServer(worker, shared_page, plan, imported.folder).serve()
        except OSError as refused:
            if exhaustion.number_of(refused) is None:
                raise  # otherwise it ends without a word, and its worker waits
    reaper.kill_descendants()
    process_exit.remove_shared()
    if imported.made is not None:
        with contextlib.suppress(Exception):
            imported.made.remove()
    os._exit(0)


class _Imported(NamedTuple):
    """What became of the imports."""

    made: ImportFolder | None = None
    """The folder of the fork server's own in which they were made."""
    folder: TaskFolder | None = None
    """What a run begins with; `None` if the imports failed."""
    error: str | None = None
    """The traceback."""
    disk: int | None = None
    """The number of the error that kept a folder from being made; no code of the tasks is its cause."""


def _import(plan: task_importer.CodePlan, own: int) -> _Imported:
    made: ImportFolder | None = None
    try:
        made = _import_folder(plan)
        with process_exit.keep_removals():
            error = _load(plan, own)
        if error is not None:
            return _Imported(made, error=error)
        return _Imported(made, task_folder.of_plan(plan) if made is None else task_folder.of_imports(made))
    except OSError as error:
        if failures.concerns_all(error):
            return _Imported(made, disk=error.errno)
        return _Imported(made, error=tracebacks.text_of(error)[-20_000:])


def _import_folder(plan: task_importer.CodePlan) -> ImportFolder | None:
    """Make and enter the folder in which the tasks are imported, if it is one of its own."""
    if plan.snapshot is not None:
        locks.share_folder(plan.snapshot)  # by which `gc` knows that it is in use
    if plan.imports:
        return ImportFolder(plan.imports, working_folder.view_of(plan.snapshot, plan.folder))
    return None


def _load(plan: task_importer.CodePlan, own: int) -> str | None:
    """Import the tasks; return the traceback if that failed."""
    try:
        if not plan.imports:
            os.chdir(plan.tasks_folder)
        with thread_pools.one_thread(), unseeded_generators.recorded():
            task_importer.load(plan)
        if plan.is_observed:
            from job_orchestration.executor import reused_tasks

            reused_tasks.prepare()
    except BaseException as error:  # noqa: BLE001  # a module may even call sys.exit while it is imported
        process_exit.end_if_fork(own, error)
        return tracebacks.text_of(error)[-20_000:]
    process_exit.end_if_fork(own)
    return None


def spawned() -> None:
    """The spawned child process: a file that is handed to it holds what a fork would find in memory."""
    import json

    with open(_SPAWNED[3], "rb") as file:
        file.seek(0)
        request = json.loads(file.read())
    child_setup.look_like_script()
    descriptors = list(_SPAWNED[:2]) if request["order"]["kind"] == "attempt" else []
    for descriptor in (*descriptors, _SPAWNED[2]):
        os.set_inheritable(descriptor, False)
    shared_page = SharedPage(_SPAWNED[2])
    faulthandler.enable()
    code = 1
    try:
        child_setup.become_child(request["fork_server"], shared_page)
        plan = task_importer.CodePlan.from_message(request["plan"])
        folder = task_folder.of_plan(plan)
        folder.enter(task_folder.base_of(request["order"]))
        with unseeded_generators.recorded():
            task_importer.load(plan)
        child_setup.prepare_interpreter()
        process_exit.note_imports(shared=False)
        gc.freeze()
        os.environ.update(request["order"]["environment"])
        if request["order"].get("cpus") is not None:
            thread_pools.find()
        code = _work_of(request["order"], descriptors, shared_page, folder)()
    except BaseException:  # noqa: BLE001  # the log shows it; the worker sees that there is no verdict
        traceback.print_exc()
    finally:
        process_exit.exit_child(code, shared_page)
