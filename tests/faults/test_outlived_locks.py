"""A worker dies, and something of its run goes on and holds the lock: the next worker ends it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from job_orchestration.processes import reaper
from job_orchestration.runs import outlived_locks
from job_orchestration.workspace.layout import VARIABLE
from tests.faults.promises import raw
from tests.integration.harness import LIMIT, Sandbox, eventually, is_gone

if sys.platform != "linux":
    pytestmark = pytest.mark.skip("other systems have no /proc")

TASKS = """
    import ctypes
    import os
    import signal
    import time
    from pathlib import Path

    from job_orchestration import TaskBase


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config

        def note(self, name, text):
            path = Path(self.config["notes"], name)
            path.with_suffix(".tmp").write_text(f"{text}\\n")
            path.with_suffix(".tmp").rename(path)

        def is_again(self):
            return self.context.attempt > 1


    class Daemon(Base):
        def run(self):
            if self.is_again():
                return "again"
            if ctypes.CDLL(None).fork() == 0:  # no hook of Python is called
                os.setsid()
                if ctypes.CDLL(None).fork() == 0:
                    self.note("left", os.getpid())
                    time.sleep(1000)
                os._exit(0)
            time.sleep(1000)


    class Freezes(Base):
        def run(self):
            if self.is_again():
                return "again"
            self.note("left", os.getppid())
            time.sleep(1000)


    class Fails(Base):
        def run(self):
            raise ValueError("as the test asked")
"""


@pytest.fixture
def left(sandbox: Sandbox):
    """Waits for the process that is left behind; it is killed at the end of the test."""
    found = []

    def wait() -> int:
        found.append(int(sandbox.note("left")))
        return found[-1]

    yield wait
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_family(worker: subprocess.Popen[str], but: int) -> None:
    """Kill a worker, its fork server and its child at once, but not their daemon."""
    family = [worker.pid, *(p.pid for p in psutil.Process(worker.pid).children(recursive=True))]
    for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped, none of them notices the others' end
        for pid in family:
            if pid != but:
                os.kill(pid, number)
    worker.wait(LIMIT)


def command(sandbox: Sandbox, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "job_orchestration", *words],
        env={**os.environ, VARIABLE: str(sandbox.root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )


def is_locked(sandbox: Sandbox) -> bool:
    (path,) = (sandbox.root / "Running").iterdir()
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("resources", [{}, {"resources": {"cpus": 1}}], ids=["plain", "with resources"])
def test_a_daemon_of_c_code_that_keeps_the_lock_is_ended_and_the_run_goes_on(sandbox, left, resources):
    sandbox.queue("daemon", "Daemon", **resources)
    worker = sandbox.start()
    daemon = left()
    kill_family(worker, daemon)
    assert not is_gone(daemon)
    assert is_locked(sandbox)
    if not resources:
        said = command(sandbox, "doctor").stdout
        assert f"(process {daemon})" in said, said
        assert "is dead" in said
    said = sandbox.work()
    assert f"process {daemon}" in said
    assert is_gone(daemon)
    assert sandbox.names("Completed") == ["daemon"]
    assert [e["result"] for e in raw(sandbox.output("daemon")) if e["event"] == "task_finished"] == ["again"]
    assert command(sandbox, "doctor").stdout.count("is dead") == 0


@pytest.mark.slow
def test_a_stopped_fork_server_that_outlives_its_worker_is_ended_and_the_run_goes_on(sandbox, left):
    sandbox.queue("frozen", "Freezes")
    worker = sandbox.start()
    fork_server = left()
    os.kill(fork_server, signal.SIGSTOP)
    worker.kill()
    worker.wait(LIMIT)
    said = sandbox.work()
    assert f"process {fork_server}" in said
    assert is_gone(fork_server)
    assert sandbox.names("Completed") == ["frozen"]


@pytest.mark.slow
def test_cancel_ends_what_holds_a_lock_without_a_worker(sandbox, left):
    sandbox.queue("daemon", "Daemon")
    worker = sandbox.start()
    daemon = left()
    kill_family(worker, daemon)
    done = command(sandbox, "cancel", "daemon")
    assert is_gone(daemon), done.stdout + done.stderr
    assert f"process {daemon}" in done.stderr
    assert sandbox.names("Failed") == ["daemon"]


def test_a_living_worker_that_is_stopped_is_no_dead_one(sandbox):
    sandbox.queue("frozen", "Freezes")
    worker = sandbox.start()
    fork_server = int(sandbox.note("left"))
    (path,) = (sandbox.root / "Running").iterdir()
    for pid in (fork_server, worker.pid):
        os.kill(pid, signal.SIGSTOP)
    said: list[str] = []
    clock = [0.0]
    locks = outlived_locks.OutlivedLocks(said.append, lambda: clock[0])
    for _ in range(10):
        locks.look(str(path))
        clock[0] += 100
    assert outlived_locks.holders(str(path)) == {}
    assert not said
    assert not is_gone(fork_server)
    for pid in (worker.pid, fork_server):
        os.kill(pid, signal.SIGCONT)


def test_a_reader_of_a_token_holds_no_lock(tmp_path):
    path = tmp_path / "a~g000001~lab.999999999.abc.yaml"
    path.write_text("x")
    with path.open("rb") as file:
        assert outlived_locks.holders(str(path)) == {}
        fcntl.flock(file, fcntl.LOCK_EX)
        assert outlived_locks.holders(str(path)) == {}, "it is this process itself"
    program = (
        "import fcntl, sys, time; f = open(sys.argv[1]); fcntl.flock(f, 2); print(flush=True); time.sleep(99)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert list(outlived_locks.holders(str(path))) == [process.pid]
    process.stdout.close()
    process.kill()
    process.wait()


# -- handing over -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_command_that_lets_go_of_a_run_is_not_ended_by_the_next_holder(sandbox, tmp_path):
    """`retry` stands still just after it has unlocked a run, and the next holder sweeps."""
    sandbox.queue("again", "Fails", maxAttempts=1)
    sandbox.work()
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text(
        "import fcntl, os, sys, time\n"
        "flock = fcntl.flock\n"
        "def slow(descriptor, operation):\n"
        "    found = flock(descriptor, operation)\n"
        "    if operation == fcntl.LOCK_UN and 'retry' in sys.argv:\n"
        f"        open({str(tmp_path / 'unlocked')!r}, 'w').close()\n"
        f"        while not os.path.exists({str(tmp_path / 'swept')!r}):\n"
        "            time.sleep(0.01)\n"
        "    return found\n"
        "fcntl.flock = slow\n"
    )
    path = os.pathsep.join([str(tmp_path / "slow"), os.environ.get("PYTHONPATH", "")])
    retry = subprocess.Popen(
        [sys.executable, "-m", "job_orchestration", "retry", "again", "--fresh"],
        env={**os.environ, VARIABLE: str(sandbox.root), "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    eventually((tmp_path / "unlocked").exists)
    journal = str(sandbox.output("again") / "journal")
    swept = reaper.kill_marked("again", str(sandbox.root), VARIABLE, journal, seconds=1)
    (tmp_path / "swept").touch()
    said, _ = retry.communicate(timeout=LIMIT)
    assert swept == 0, "there was nothing of the run"
    assert retry.returncode == 0, said


def test_the_terminal_from_which_a_holder_was_started_is_spared(tmp_path):
    """A task may have opened the terminal: then the worker's own parents carry the run's mark."""
    program = (
        "import os, sys\n"
        "from job_orchestration.processes import reaper\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        f"    print(reaper.kill_marked('a', {str(tmp_path)!r}, {VARIABLE!r}, seconds=1), flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
        "print('lives')\n"
    )
    environment = {**os.environ, reaper.MARK: "a#1", VARIABLE: str(tmp_path)}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.stdout.split() == ["0", "lives"], done
    assert time.monotonic() - started < LIMIT
