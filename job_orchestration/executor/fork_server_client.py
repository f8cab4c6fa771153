"""A worker's side of its fork servers: start them, send them work, and kill what they leave behind."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.errors import ForkServerError
from job_orchestration.executor import exhaustion, import_folder, messages, shared_memory, snapshot_check
from job_orchestration.executor.fork_server import bootstrap
from job_orchestration.executor.silence import Silence
from job_orchestration.processes import reaper, standard_streams
from job_orchestration.workspace.layout import VARIABLE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from job_orchestration.code.task_importer import CodePlan
    from job_orchestration.executor.messages import Message
    from job_orchestration.runs.events import Outcome
    from job_orchestration.workspace.layout import Workspace

IMPORT_LIMIT: Final = 600.0
"""Seconds that the imports of a ``Tasks.py`` may take."""
_LOOK_AGAIN: Final = 0.5
"""Seconds between two checks whether the imports are still wanted."""
_OF_SNAPSHOT: Final = re.compile(r'  File "(?P<path>.*/snapshots/.*)", line (?P<line>[0-9]+), in ')
"""A frame of a traceback in the code of the tasks."""
_DEATH_TIME: Final = 5.0
"""Seconds that a killed process may take to end."""
KEPT: Final = 2
"""Number of fork servers that a worker keeps warm: the current one and the one before."""


class ForkServerClient:
    """A fork server process as its worker sees it; ready for work once it has been made.

    Raises:
        ForkServerError: if the tasks cannot be imported; the message holds the traceback.
        OSError: if the disk kept it from starting; no code of the tasks is the cause.
    """

    def __init__(
        self,
        workspace: Workspace,
        plan: CodePlan,
        unwanted: Callable[[], bool] = lambda: False,
        limit: float | None = None,
        output: int | None = None,
    ) -> None:
        limit = IMPORT_LIMIT if limit is None else limit
        standard_streams.open_missing()  # a program that embeds the product may have closed them
        self.plan = plan
        self.shared_page = shared_memory.SharedPage(shared_memory.create())
        try:
            self.socket, theirs = messages.pair()
        except OSError:
            self._free()
            raise
        self.silence = Silence(lambda: messages.send(self.socket, {"op": "ask"}))
        self._start(workspace, theirs, plan.interpreter, output)
        try:
            start = {"plan": plan.as_message(), "starter": os.getpid()}
            messages.send(self.socket, start, [self.shared_page.descriptor])
            ready = self._first_word(unwanted, limit)
        except BaseException:
            self.kill()
            raise
        if ready is not None and ready["event"] == "ready" and ready["disk"]:
            self.close()
            raise OSError(ready["disk"], os.strerror(ready["disk"]), workspace.imports)
        if ready is not None and ready["event"] == "ready" and not ready["error"]:
            self.threads: int = ready["threads"]
            """Number of its threads after the imports; a fork would have only one of them."""
            self.preloads: bool = ready["preloads"]
            """Whether a class in the imports has a `preload`."""
            self.has_preloaded = False
            """Whether it holds what a `preload` has returned."""
            return
        if ready is not None and ready["event"] == "ready":
            self.close()  # it kills the processes that its imports started, and exits
        code = self.kill()
        failed = ForkServerError(
            _why(ready, code, limit), "Mend the import, commit, and ready the config anew"
        )
        failed.was_killed = ready is None and code == -signal.SIGKILL
        raise failed

    def _start(
        self, workspace: Workspace, theirs: socket.socket, interpreter: str, output: int | None
    ) -> None:
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [
                        *(interpreter or sys.executable, "-P", "-c"),
                        *(bootstrap("main", apart=bool(interpreter)), str(theirs.fileno())),
                    ],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=2 if output is None else output,  # that of imports is no output of the command
                    stderr=output,
                    start_new_session=True,
                    env=_environment(workspace, interpreter),
                )
        except OSError:
            self.socket.close()
            self._free()
            raise

    def _first_word(self, unwanted: Callable[[], bool], limit: float) -> Message | None:
        """Wait until the imports have ended or are no longer wanted."""
        deadline = time.monotonic() + limit
        while True:
            said = self.wait(min(_LOOK_AGAIN, max(deadline - time.monotonic(), 0)))
            if said is None or said["event"] != "nothing" or unwanted() or time.monotonic() >= deadline:
                return said

    @property
    def pid(self) -> int:
        """The fork server's process."""
        return self._process.pid

    def begin(self, order: Message, descriptors: Sequence[int] = ()) -> bool:
        """Ask for a child; return whether the fork server was still alive."""
        self.shared_page.reset()  # at once: its values are those of the last child
        self.silence.broken()
        return messages.send(self.socket, {"op": "begin", **order}, descriptors)

    def preload(self, request: Message, wait: Callable[[], Message | None]) -> Message | None:
        """Have the fork server load what a run wants.

        Args:
            request: from `preload_server.request_of`.
            wait: returns the next message, or one of its own that ends the waiting; `None` if the fork
                server is gone.

        Returns:
            The last message.
        """
        answer = wait() if messages.send(self.socket, {"op": "preload", **request}) else None
        if answer is not None and answer["event"] == "preloaded":
            self.threads = answer["threads"]
            self.has_preloaded |= bool(answer["loaded"])
        return answer

    def stop(self, outcome: Outcome, grace: float) -> None:
        """Ask for the child's end; it is killed after `grace` seconds."""
        messages.send(self.socket, {"op": "stop", "outcome": outcome, "grace": grace})

    def wait(self, seconds: float | None, wake: int | None = None) -> Message | None:
        """The fork server's next message.

        Args:
            seconds: how long to wait for it; for ever when `None`.
            wake: another descriptor whose readiness ends the waiting.

        Returns:
            The message; ``{"event": "nothing"}`` when the time was over or `wake` was ready; `None` when
            the fork server is gone.
        """
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        if wake is not None:
            poll.register(wake, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(None if seconds is None else max(seconds, 0) * 1000)}
        if self.socket.fileno() in ready:
            received = messages.receive(self.socket)
            if received is None:
                return None
            self.silence.broken()
            return {"event": "nothing"} if received[0]["event"] == "answer" else received[0]
        return {"event": "nothing"}

    def is_gone(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def close(self, seconds: float = 5.0) -> None:
        """End an idle fork server, by closing its socket."""
        self.socket.close()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):  # its control group is frozen: it dies once it may run
                self._process.wait(_DEATH_TIME)
        self._free()

    def kill(self) -> int:
        """Kill a fork server that does not answer, and return its exit code. The caller reaps its orphans."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(
                    self._process.pid, signal.SIGKILL
                )  # its session, with the processes that the imports started
        try:
            code = self._process.wait(_DEATH_TIME)
        except subprocess.TimeoutExpired:  # its control group is frozen: it dies as soon as it may run
            code = -signal.SIGKILL
        self.socket.close()
        self._free()
        return code

    def _free(self) -> None:
        with suppress(OSError, ValueError):
            self.shared_page.close()


def _why(ready: Message | None, code: int, limit: float) -> str:
    if ready is None:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"The process that imports the tasks {how}"
    if ready["event"] == "nothing":
        from job_orchestration.diagnostics import durations

        return f"The imports of the tasks took longer than {durations.text_of(limit)}"
    traceback = str(ready["error"]).encode("utf-8", "backslashreplace").decode()
    return f"The tasks cannot be imported: {_exception_in(traceback)}\n{traceback}".rstrip()


def _exception_in(traceback: str) -> str:
    """The first line of the exception: the first one after the last frame that is not indented."""
    lines = traceback.strip().splitlines()
    frames = [n for n, line in enumerate(lines) if line.startswith("  File ")]
    last = max(frames, default=0)
    unindented = (line for line in lines[last:] if not line.startswith(" "))
    found = next(unindented, lines[-1])[:500]
    place = re.fullmatch(r'  File "(?P<path>.*)", line (?P<line>[0-9]+)', lines[last])  # of a SyntaxError
    own = (_OF_SNAPSHOT.match(lines[n]) for n in reversed(frames))
    place = place or next(filter(None, own), None)
    if place is None:
        return found
    where = f"({os.path.basename(place['path'])}, line {place['line']})"
    kind, _, text = found.partition(": ")
    return f"{kind} {where}: {text}" if ". " in text else f"{found} {where}"  # not behind several sentences


def _environment(workspace: Workspace, interpreter: str) -> dict[str, str]:
    """The environment of fork servers; a fixed hash seed gives sets the same order in each of them.

    Apache Arrow, which pandas imports if it is installed, must start no thread: no fork would have it.
    """
    inherited: Mapping[str, str] = os.environ
    if interpreter:
        from job_orchestration.executor import recorded_environments

        inherited = recorded_environments.environment_for(interpreter, inherited)
    return {
        "PYTHONHASHSEED": "0",
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
        **inherited,
        "PYTHONUNBUFFERED": "1",
        VARIABLE: workspace.root,
    }


class ForkServerPool:
    """The warm fork servers of a worker, least recently used first.

    Args:
        workspace: the workspace of their runs.
        unwanted: whether to stop waiting for imports.
        say: called with one sentence, once, if imports leave threads behind.
    """

    def __init__(
        self,
        workspace: Workspace,
        unwanted: Callable[[], bool] = lambda: False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._workspace = workspace
        self._unwanted = unwanted
        self._say = say
        self._said_threads = False
        self._warm: list[ForkServerClient] = []
        self.output: int | None = None
        """The descriptor to which fork servers print that are started from now on; default: 2."""

    @property
    def is_warm(self) -> bool:
        """Whether a fork server is kept for further runs."""
        return bool(self._warm)

    def get(self, plan: CodePlan, limit: float | None = None) -> ForkServerClient:
        """Return the fork server that has imported the tasks of a plan; start it if there is none.

        If there are several, it is the one that was used last.

        Args:
            plan: the code.
            limit: seconds that the imports may take; `IMPORT_LIMIT` if not given.

        Raises:
            ForkServerError: if it cannot be imported.
            CodeError: if the snapshot was changed and cannot be made anew.
            ExhaustedError: if there is no room for another process.
        """
        fork_server = next((found for found in reversed(self._warm) if found.plan == plan), None)
        if fork_server is not None:
            self._warm.remove(fork_server)
            if fork_server.is_gone():
                self.bury(fork_server)
                fork_server = None
        self._close_all_but(KEPT - 1, [found for found in self._warm if not found.has_preloaded])
        if plan.snapshot is not None and snapshot_check.is_due(is_imported=fork_server is not None):
            snapshot_check.mend(self._workspace, plan.snapshot, self._say)
        if fork_server is None:
            fork_server = self._started(plan, limit)
        self._warm.append(fork_server)
        return fork_server

    def _started(self, plan: CodePlan, limit: float | None = None) -> ForkServerClient:
        try:
            fork_server = ForkServerClient(self._workspace, plan, self._unwanted, limit, self.output)
        except ForkServerError:
            self._reap()
            raise
        except OSError as error:
            if (number := exhaustion.number_of(error)) is None:
                raise
            raise exhaustion.ExhaustedError(number, os.strerror(number)) from None
        self._note_threads(fork_server)
        return fork_server

    def preloaded(
        self, plan: CodePlan, keep: int, load: Callable[[ForkServerClient], Message | None]
    ) -> tuple[ForkServerClient, Message | None]:
        """Return a fork server of a plan that holds what a run wants to be loaded.

        Args:
            plan: the code; `get` has been called with it.
            keep: number of fork servers with something loaded that stay warm, from 1.
            load: asks a fork server for what the run wants, and returns its answer; `None` if it is gone.

        Raises:
            ForkServerError: as for `get`; so do the others.
        """
        own = [found for found in reversed(self._warm) if found.plan == plan]
        for fork_server in own:
            if fork_server.has_preloaded:
                answer = load(fork_server)
                if answer is None or answer["event"] != "occupied":
                    self._warm.remove(fork_server)
                    self._warm.append(fork_server)
                    return fork_server, answer
        self._close_all_but(keep - 1, [found for found in self._warm if found.has_preloaded])
        plain = [found for found in own if not found.has_preloaded]
        if not plain:
            plain = [self._started(plan)]
            self._warm += plain
        answer = load(plain[0])
        self._note_threads(plain[0])
        return plain[0], answer

    def _close_all_but(self, number: int, among: list[ForkServerClient]) -> None:
        """Close the least recently used of some fork servers."""
        for fork_server in among[: max(len(among) - number, 0)]:
            self._warm.remove(fork_server)
            fork_server.close()

    def _note_threads(self, fork_server: ForkServerClient) -> None:
        if fork_server.threads > 1 and not self._said_threads:
            self._said_threads = True
            self._say(
                "The imports of some tasks leave threads behind, which do not survive a fork: each of their"
                " runs gets a fresh interpreter and imports again. Start threads in run() to avoid this"
            )

    def bury(self, fork_server: ForkServerClient) -> None:
        """Forget a dead fork server, and kill the processes that it left behind."""
        if fork_server in self._warm:
            self._warm.remove(fork_server)
        fork_server.kill()
        self._reap()
        import_folder.collect(self._workspace.imports)

    def _reap(self) -> None:
        """Kill the orphans of dead fork servers, which the worker inherits, if the worker is a subreaper.

        A program that embeds the product is none, and keeps its own children.
        """
        if reaper.is_subreaper():
            reaper.kill_descendants(spare={h.pid for h in self._warm} | reaper.lasting)

    def close(self) -> None:
        """End all of them."""
        deadline = time.monotonic() + 5
        while self._warm:
            self._warm.pop().close(max(deadline - time.monotonic(), 0.1))
