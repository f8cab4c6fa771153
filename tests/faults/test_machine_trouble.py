"""A machine is in trouble for a while: workers and `watch` wait, say so, and go on; no run pays for it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from job_orchestration.executor.exhaustion import ExhaustedError
from job_orchestration.worker.failed_starts import FailedStarts
from job_orchestration.workspace.layout import VARIABLE
from tests.faults.machine_trouble import Trouble
from tests.faults.promises import raw
from tests.integration.harness import LIMIT, Sandbox, eventually

if sys.platform != "linux":
    pytestmark = pytest.mark.skip("other systems have no fork server")

TASKS = """
    import os
    import signal
    from pathlib import Path

    from job_orchestration import TaskBase

    deadly = Path(__file__).resolve().parent / "deadly"
    if "TROUBLE_DEADLY" in os.environ and Path(os.environ["TROUBLE_DEADLY"]).exists():
        with open(os.environ["TROUBLE_DEADLY"] + ".hits", "a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)


    class Quick(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            return "quick"
"""
NAMES = ["one", "two"]
STRICT = {"maxAttempts": 1, "maxInterruptions": 1}
"""One start that counts would end a run."""


@pytest.fixture
def trouble(tmp_path: Path) -> Trouble:
    return Trouble(tmp_path)


def attempts(sandbox: Sandbox) -> int:
    return sum(len(list((sandbox.output(name) / "journal").glob("*.jsonl"))) - 1 for name in NAMES)


def ended(worker: subprocess.Popen[str]) -> str:
    worker.send_signal(signal.SIGTERM)
    said, _ = worker.communicate(timeout=LIMIT)
    assert "Traceback" not in said, said
    return said


def assert_all_well(sandbox: Sandbox, said: str, *, may_begin: bool = False) -> None:
    """`may_begin`: the start was refused after the fork, so the child may have begun before it was killed."""
    assert sandbox.names("Completed") == NAMES
    for name in NAMES:
        kinds = [e["event"] for e in raw(sandbox.output(name))]
        assert "task_failed" not in kinds
        started, again = kinds.count("task_started"), kinds.count("handed_back")
        assert kinds.count("task_finished") == 1 <= started <= (1 + again if may_begin else 1)
        assert "Traceback" not in sandbox.log(name)
    assert said.count("There is no room") == 1, said
    assert said.count("There is room again") == 1, said


STARTS = {
    "no process for the child": ("fork", errno.EAGAIN, {}),
    "no memory for the child": ("fork", errno.ENOMEM, {}),
    "no process for a spawned child": ("spawn", errno.EAGAIN, {"isolation": "spawn"}),
    "no descriptor for the child's output": ("pipe", errno.EMFILE, {}),
    "no descriptor for the child's end": ("pidfd", errno.EMFILE, {}),
    "no process for the fork server": ("exec", errno.EAGAIN, {}),
    "no descriptor for the fork server": ("memfd", errno.ENFILE, {}),
    "no thread in the child": ("thread", errno.EAGAIN, {"stallTimeout": 60}),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", STARTS)
def test_a_start_that_the_system_refuses_counts_for_nothing(sandbox, trouble, kind):
    call, number, values = STARTS[kind]
    for name in NAMES:
        sandbox.queue(name, "Quick", **STRICT, **values)
    worker = sandbox.start(**trouble.environment())
    trouble.begin(call, number, "_heartbeat" if call == "thread" else "")
    eventually(lambda: attempts(sandbox) >= 2 and trouble.hits >= 2)
    assert sandbox.names("Failed") == []
    trouble.end()
    eventually(lambda: sandbox.names("Completed") == NAMES)
    assert_all_well(sandbox, ended(worker), may_begin=call == "pidfd")


@pytest.mark.slow
def test_a_fork_server_that_is_killed_while_it_imports_counts_for_nothing(sandbox, tmp_path):
    for name in NAMES:
        sandbox.queue(name, "Quick", **STRICT)
    deadly = tmp_path / "deadly"
    deadly.touch()
    worker = sandbox.start(TROUBLE_DEADLY=str(deadly))
    eventually(lambda: attempts(sandbox) >= 2)
    deadly.unlink()
    eventually(lambda: sandbox.names("Completed") == NAMES)
    assert_all_well(sandbox, ended(worker))


def test_killed_starts_count_once_there_were_many_in_a_row():
    starts = FailedStarts()
    pauses = []
    for _ in range(8):
        with pytest.raises(ExhaustedError):
            starts.excuse_kill("it was killed")
        pauses.append(starts.add())
    starts.excuse_kill("it was killed")  # believed no longer
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert starts.succeeded()
    assert not starts.succeeded()
    assert starts.add() == 1


@pytest.fixture
def pids_group():
    """A control group with its limit of processes; skipped where none can be made."""
    for parent in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup"):
        group = Path(parent, f"job_orchestration_{os.getpid()}")
        with suppress(OSError):
            group.mkdir()
            if (group / "pids.max").exists():
                yield group
                with suppress(OSError):
                    group.rmdir()
                return
            group.rmdir()
    pytest.skip("no control group of processes can be made here")


@pytest.mark.slow
def test_a_container_that_is_full_of_processes_is_waited_for(sandbox, pids_group):
    for name in NAMES:
        sandbox.queue(name, "Quick", **STRICT)
    command = f"echo $$ > {pids_group}/cgroup.procs; exec {sys.executable} -m job_orchestration work"
    worker = subprocess.Popen(
        ["sh", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, VARIABLE: str(sandbox.root)},
    )
    try:
        eventually(lambda: b"job_orchestration" in Path(f"/proc/{worker.pid}/cmdline").read_bytes())
        (pids_group / "pids.max").write_text("2")  # room for its threads, at most
        eventually(lambda: attempts(sandbox) >= 3)
        assert sandbox.names("Failed") == []
        (pids_group / "pids.max").write_text("max")
        eventually(lambda: sandbox.names("Completed") == NAMES)
        assert "There is no room" in ended(worker)
    finally:
        worker.kill()
        worker.wait()


# -- limits that are reached for a moment --------------------------------------------------------------------


@pytest.mark.slow
def test_a_folder_that_cannot_be_listed_for_a_moment_ends_no_worker_and_no_watch(sandbox, trouble):
    worker = sandbox.start(**trouble.environment())
    watch = start(sandbox, trouble.environment(), "watch")
    troubles = (
        (errno.EMFILE, "ConfigsToRun"),
        (errno.ENOMEM, "Running"),
        (errno.EIO, "ConfigSources"),
        (errno.ESTALE, "ConfigsToRun"),
    )
    for turn, (number, place) in enumerate(troubles):
        trouble.begin("list", number, place)
        eventually(lambda: trouble.hits >= 1)
        trouble.end()
        drop(sandbox, f"run{turn}")
        eventually(lambda turn=turn: f"run{turn}" in sandbox.names("Completed"))
    said = ended(worker)
    assert "The workspace cannot be used" in said
    assert "can be used again" in said
    assert "cannot be used" in ended(watch)


@pytest.mark.slow
@pytest.mark.parametrize("lacking", ["instances", "watches", "threads"])
def test_without_inotify_new_files_are_found_by_looking(sandbox, trouble, lacking):
    environment = trouble.environment(**({"TROUBLE_INOTIFY": lacking} if lacking != "threads" else {}))
    if lacking == "threads":
        trouble.begin("thread")
    worker = sandbox.start(**environment)
    watch = start(sandbox, environment, "watch")
    drop(sandbox, "first")
    eventually(lambda: sandbox.names("Completed") == ["first"])
    drop(sandbox, "second")
    eventually(lambda: sandbox.names("Completed") == ["first", "second"], seconds=30)
    for process in (worker, watch):
        said = ended(process)
        assert said.count("can watch no more folders") == 1, said
        assert "only every" in said


def start(sandbox: Sandbox, environment: dict[str, str], *words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "job_orchestration", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, VARIABLE: str(sandbox.root), **environment},
    )
    sandbox._started.append(process)  # it ends with the sandbox
    return process


def drop(sandbox: Sandbox, name: str) -> None:
    """Drop a config as a rename does it."""
    sandbox.drop(name, "Quick")
    path = sandbox.root / "ConfigSources" / f"{name}.yaml"
    aside = sandbox.folder / f"{name}.yaml"
    path.rename(aside)
    aside.rename(path)
