"""A worker's end of its hosts: starting them, giving them work, and ending what they leave behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.engine import messages, page, sweep
from job_orchestration.engine.host import bootstrap
from job_orchestration.files.workspace import VARIABLE
from job_orchestration.model.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from job_orchestration.engine.loading import CodePlan
    from job_orchestration.engine.messages import Message
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.run import Outcome

IMPORT_LIMIT: Final = 600.0
"""Seconds that the imports of a ``Tasks.py`` may take."""
_LOOK_AGAIN: Final = 0.5
"""Seconds between two looks whether the imports are still wanted."""
KEPT: Final = 2
"""Hosts that a worker keeps warm: the one of the moment and the one before."""


class Host:
    """A host process as its worker sees it; ready for work once it has been made.

    Raises:
        HostError: when the tasks cannot be imported; the sentence holds the traceback.
    """

    def __init__(
        self, workspace: Workspace, plan: CodePlan, unwanted: Callable[[], bool] = lambda: False
    ) -> None:
        self.plan = plan
        self.page = page.Page(page.create())
        self.socket, theirs = messages.pair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", bootstrap("main"), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what imports print is no data of the command that runs them
                start_new_session=True,
                env=_environment(workspace),
            )
        try:
            messages.send(self.socket, {"plan": plan.as_message()}, [self.page.descriptor])
            ready = self._first_word(unwanted)
        except BaseException:
            self.kill()
            raise
        if ready is not None and ready["event"] == "ready" and not ready["error"]:
            return
        if ready is not None and ready["event"] == "ready":
            self.close()  # it ends what its imports had started, and goes
        raise HostError(_why(ready, self.kill()), "Mend the import, commit, and ready the config anew")

    def _first_word(self, unwanted: Callable[[], bool]) -> Message | None:
        """Wait for the imports, but no longer than somebody wants them."""
        deadline = time.monotonic() + IMPORT_LIMIT
        while True:
            said = self.wait(min(_LOOK_AGAIN, max(deadline - time.monotonic(), 0)))
            if said is None or said["event"] != "nothing" or unwanted() or time.monotonic() >= deadline:
                return said

    @property
    def pid(self) -> int:
        """The host's process."""
        return self._process.pid

    def begin(self, order: Message, descriptors: Sequence[int] = ()) -> bool:
        """Have a child forked. Returns whether the host was still there to be asked."""
        self.page.reset()  # at once: what it said of the last child is not true of this one
        return messages.send(self.socket, {"op": "begin", **order}, descriptors)

    def stop(self, outcome: Outcome, grace: float) -> None:
        """Have the child stopped, politely for so many seconds."""
        messages.send(self.socket, {"op": "stop", "outcome": outcome, "grace": grace})

    def wait(self, seconds: float | None, wake: int | None = None) -> Message | None:
        """The host's next message.

        Args:
            seconds: how long to wait for it; for ever when `None`.
            wake: another descriptor whose readiness ends the waiting.

        Returns:
            The message; ``{"event": "nothing"}`` when the time was over or `wake` was ready; `None` when
            the host is gone.
        """
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        if wake is not None:
            poll.register(wake, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(None if seconds is None else max(seconds, 0) * 1000)}
        if self.socket.fileno() in ready:
            received = messages.receive(self.socket)
            return None if received is None else received[0]
        return {"event": "nothing"}

    def is_gone(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def close(self, seconds: float = 5.0) -> None:
        """End an idle host: it goes when its socket does."""
        self.socket.close()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._free()

    def kill(self) -> int:
        """End a host that does not answer; returns its exit code. Its orphans are the caller's to sweep."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # its session: what the imports started goes too
        code = self._process.wait()
        self.socket.close()
        self._free()
        return code

    def _free(self) -> None:
        with suppress(OSError, ValueError):
            self.page.close()


def _why(ready: Message | None, code: int) -> str:
    if ready is None:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"The process that imports the tasks {how}"
    if ready["event"] == "nothing":
        return f"The imports of the tasks took longer than {IMPORT_LIMIT:.0f} s"
    traceback = str(ready["error"]).encode("utf-8", "backslashreplace").decode()
    return f"The tasks cannot be imported: {_exception_in(traceback)}\n{traceback}".rstrip()


def _exception_in(traceback: str) -> str:
    """The first line of what was raised: the first that is not indented, after the last frame."""
    lines = traceback.strip().splitlines()
    frames = [n for n, line in enumerate(lines) if line.startswith("  File ")]
    told = (line for line in lines[max(frames, default=0) :] if not line.startswith(" "))
    return next(told, lines[-1])[:500]


def _environment(workspace: Workspace) -> dict[str, str]:
    """The environment of hosts: in all of them sets have one order.

    Apache Arrow, which pandas imports where it is there, is kept from starting a thread: no fork has it.
    """
    return {
        "PYTHONHASHSEED": "0",
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        VARIABLE: workspace.root,
    }


class Hosts:
    """The hosts that a worker keeps warm, the one used last at the end.

    Args:
        workspace: where they work.
        unwanted: whether imports that take long are waited for no more.
    """

    def __init__(self, workspace: Workspace, unwanted: Callable[[], bool] = lambda: False) -> None:
        self._workspace = workspace
        self._unwanted = unwanted
        self._warm: dict[CodePlan, Host] = {}

    def get(self, plan: CodePlan) -> Host:
        """The host that has imported what a plan names.

        Raises:
            HostError: when it cannot be imported.
        """
        host = self._warm.pop(plan, None)
        if host is not None and host.is_gone():
            self.bury(host)
            host = None
        while len(self._warm) >= KEPT:
            self._warm.pop(next(iter(self._warm))).close()
        if host is None:
            try:
                host = Host(self._workspace, plan, self._unwanted)
            except HostError:
                self._sweep()
                raise
        self._warm[plan] = host
        return host

    def bury(self, host: Host) -> None:
        """Forget a host that died, and end what it left."""
        self._warm.pop(host.plan, None)
        host.kill()
        self._sweep()

    def _sweep(self) -> None:
        """End the orphans of dead hosts, which a worker inherits; others may have children of their own."""
        if sweep.is_subreaper():
            sweep.kill_descendants(spare={h.pid for h in self._warm.values()} | sweep.lasting)

    def close(self) -> None:
        """End all of them."""
        deadline = time.monotonic() + 5
        while self._warm:
            _, host = self._warm.popitem()
            host.close(max(deadline - time.monotonic(), 0.1))
