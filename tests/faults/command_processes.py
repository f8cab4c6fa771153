"""Commands of the product as short-lived processes, quick enough to be run by the thousand.

An *act* is one command to its end, or to its death. It runs either as a program of its own, or, ten times
quicker, as a fork of the test that calls the same command line, and forks its hosts in turn. All processes
are there either way, and make the same durable operations in the same order, which the tests assert.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

from job_orchestration.workspace import durable
from tests.faults import injection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Interceptor = Callable[[durable.Operation, Callable[[], object]], object]

ROOT = Path(__file__).parent.parent.parent
VARIABLE = "JOB_ORCHESTRATION_WORKSPACE"

TASKS = '''
"""Tasks of the fault suite: what they do depends on nothing but their config and what they find."""

import os
import re
import signal
import time
from pathlib import Path

from job_orchestration import TaskBase


class Base(TaskBase):
    def __init__(self, config):
        self.config = config


class Save(Base):
    """Saves two files and returns something that no other try returns."""

    def run(self):
        self.context.store.save_json("one.json", {"by": self.context.attempt})
        self.context.store.save_bytes("deep/two.bin", bytes(range(256)) * 20)
        return {"nonce": f"{os.getpid()} {time.monotonic_ns()}"}


class Use(Base):
    """Returns what the task before it returned, and something of its own."""

    def run(self):
        return {"first": self.context.result_of("save"), "nonce": f"{os.getpid()} {time.monotonic_ns()}"}


class Fails(Base):
    def run(self):
        if not Path(self.config["mended"]).exists():
            raise ValueError("as the test asked")
        return {"nonce": "mended"}


class Stops(Base):
    """Asks its worker to end, in its first attempt, and goes on until it is asked to end itself."""

    def run(self):
        if self.context.attempt == 1:
            (name,) = os.listdir(Path(os.environ["JOB_ORCHESTRATION_WORKSPACE"], "Running"))
            os.kill(int(re.search(r"[.]([0-9]+)[.][a-z0-9]{3}[.]yaml$", name)[1]), signal.SIGTERM)
            while not self.context.should_stop:
                time.sleep(0.002)
        return {"nonce": f"{os.getpid()} {time.monotonic_ns()}"}
'''


class Ended(NamedTuple):
    """How an act ended."""

    code: int
    """Its exit code; the negative number of a signal."""
    said: str
    seconds: float


class Stage:
    """Where the acts take place: one workspace, importable tasks, and perhaps a fault.

    Args:
        folder: where everything is made.
        real: whether acts are programs of their own.
    """

    def __init__(self, folder: Path, *, real: bool = False) -> None:
        self.folder = folder
        self.real = real
        self.workspace = folder / "workspace"
        self.site = folder / "site"
        self.site.mkdir(parents=True)
        (self.site / "fault_tasks.py").write_text(TASKS)
        (self.site / "sitecustomize.py").write_text(injection.SITE)
        self.faults = folder / "faults"
        injection.plan(self.faults)
        self.slowest = 0.0
        if not real:
            _warm_up()

    def act(
        self,
        *words: str,
        faulty: bool = False,
        recorder: Interceptor | None = None,
        limit: float = 5.0,
        **environment: str,
    ) -> Ended:
        """Run one command to its end; one that takes longer than its limit has hung.

        Args:
            words: the command and its arguments.
            faulty: whether it meets the plan in `faults`.
            recorder: called instead of each durable operation; for forks only.
            limit: seconds; three times as many for a program of its own.
            environment: variables; for programs only.
        """
        started = time.monotonic()
        said = self.folder / "said"
        with said.open("wb") as output:
            if self.real:
                code = self._exec(words, output.fileno(), faulty, 3 * limit, environment)
            else:
                code = self._fork(words, output.fileno(), faulty, recorder, limit)
        seconds = time.monotonic() - started
        self.slowest = max(self.slowest, seconds)
        text = said.read_text(errors="replace")
        assert "Traceback" not in text, text
        return Ended(code, text, seconds)

    def environment(self, *, faulty: bool) -> dict[str, str]:
        """The environment of an act."""
        kept = {k: v for k, v in os.environ.items() if k != injection.VARIABLE}
        path = os.pathsep.join(map(str, (self.site, ROOT)))
        faults = {injection.VARIABLE: str(self.faults)} if faulty else {}
        return {**kept, **faults, VARIABLE: str(self.workspace), "PYTHONPATH": path}

    def _exec(
        self, words: Sequence[str], output: int, faulty: bool, limit: float, more: dict[str, str]
    ) -> int:
        process = subprocess.Popen(
            [sys.executable, "-m", "job_orchestration", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=self.folder,
            start_new_session=True,
            env={**self.environment(faulty=faulty), **more},
        )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise AssertionError(f"{words} hung for {limit:g} s") from None

    def _fork(
        self, words: Sequence[str], output: int, faulty: bool, recorder: Interceptor | None, limit: float
    ) -> int:
        pid = os.fork()
        if pid == 0:
            self._play(words, output, faulty, recorder)
        end = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(end, select.POLLIN)
            hung = not poll.poll(limit * 1000)
            if hung:
                os.kill(pid, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        finally:
            os.close(end)
        assert not hung, f"{words} hung for {limit:g} s: {(self.folder / 'said').read_text()}"
        return code

    def _play(self, words: Sequence[str], output: int, faulty: bool, recorder: Interceptor | None) -> None:
        """The act, in the fork; never returns."""
        code = 70
        try:
            os.setsid()
            logging.root.handlers.clear()  # those of the test write to its own files
            os.dup2(output, 1)
            os.dup2(output, 2)
            sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115  # lives as long as the process
            sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
            os.environ.clear()
            os.environ.update(self.environment(faulty=faulty))
            sys.path.insert(0, str(self.site))
            for number in (signal.SIGALRM, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            _without_exec()
            injection.hasten()
            durable.intercept = injection.Injection(str(self.faults)) if faulty else recorder
            from job_orchestration.cli.main import main

            code = main(words)
        except BaseException:  # noqa: BLE001  # nothing may unwind into the test
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)


class ForkedProgram:
    """Stands in for `subprocess.Popen` of a host: forks it, and closes what an exec would close."""

    def __init__(
        self, command: Sequence[str], *, pass_fds: Sequence[int], env: dict[str, str], **_: object
    ) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            self._play(command, pass_fds, env)

    def _play(self, command: Sequence[str], kept: Sequence[int], environment: dict[str, str]) -> None:
        """The host's life; never returns."""
        from job_orchestration.executor import fork_server

        try:
            signal.set_wakeup_fd(-1)
            os.setsid()
            os.dup2(2, 1)
            for name in os.listdir("/proc/self/fd"):
                if int(name) > 2 and int(name) not in kept:
                    with suppress(OSError):
                        os.close(int(name))
            os.environ.clear()
            os.environ.update(environment)
            injection.install()  # its descriptor went with the others
            sys.argv = ["-c", *command[4:]]
            fork_server.main()
        except BaseException:  # noqa: BLE001  # nothing may unwind into the worker's frames
            traceback.print_exc()
        finally:
            os._exit(1)

    def poll(self) -> int | None:
        if self.returncode is None:
            with suppress(ChildProcessError):
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = 60.0) -> int:
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("host", timeout)
            time.sleep(0.001)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def _warm_up() -> None:
    """Import, and look up, once for all forks what every command would import and look up for itself."""
    for module in (
        "commands.init",
        "commands.ready",
        "commands.retry",
        "submission.reports",
        "commands.work",
        "cli.commands",
    ):
        importlib.import_module(f"job_orchestration.{module}")
    for module in ("executor.task_runner", "executor.fork_server", "worker.worker"):
        importlib.import_module(f"job_orchestration.{module}")
    from job_orchestration.code import provenance

    provenance.environment()
    gc.collect()
    gc.freeze()  # a collection in a fork would copy every page of the test


def _without_exec() -> None:
    """Have this process fork its hosts, and do without the thread that watches its folders."""
    from job_orchestration.executor import fork_server_client
    from job_orchestration.workspace import folder_watcher

    fork_server_client.subprocess = SimpleNamespace(  # type: ignore[assignment]
        Popen=ForkedProgram, DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired
    )
    folder_watcher.FolderWatcher.start = lambda _self: None  # type: ignore[method-assign]
