"""Signals and streams of the shell: a closed terminal, `nohup`, a batch system's warning, closed streams."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest

from tests.faults.workspace_files import events, names
from tests.integration.harness import LIMIT, MARK, PACKAGE, Sandbox, eventually, is_gone

TASKS = """
    import os
    import sys
    import time
    from pathlib import Path

    from job_orchestration import TaskBase


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config

        def note(self, name, text="so"):
            path = Path(self.config["notes"], name)
            path.with_suffix(".new").write_text(f"{text}\\n")
            path.with_suffix(".new").rename(path)


    class SeesStop(Base):
        def run(self):
            self.note("started", os.getpid())
            while not self.context.should_stop and self.context.attempt == 1:
                time.sleep(0.01)
            self.note("saw")
            end = Path(self.config["notes"], "end")
            while not end.exists():
                time.sleep(0.01)
            return self.context.attempt


    class WaitsForGate(Base):
        def run(self):
            self.note(f"started {self.context.run}", os.getpid())
            while not Path(self.config["notes"], "gate").exists():
                time.sleep(0.01)
            return self.context.attempt


    class Prints(Base):
        def run(self):
            print("to stdout")
            print("to stderr", file=sys.stderr)
            return sys.stdin.read()
"""
WARNINGS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@pytest.fixture
def family(sandbox):
    """Returns a worker's processes, those of its runs included."""

    def find(worker: subprocess.Popen[str]) -> list[int]:
        return [worker.pid, *(child.pid for child in psutil.Process(worker.pid).children(recursive=True))]

    return find


# -- signals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", WARNINGS)
def test_a_warning_stops_a_worker_politely_however_often_it_comes(sandbox, number):
    sandbox.queue("a", "SeesStop", maxAttempts=1)
    worker = sandbox.start()
    sandbox.note("started")
    for _ in range(3):
        worker.send_signal(number)
    sandbox.note("saw")
    worker.send_signal(number)
    (sandbox.notes / "end").touch()
    sandbox.ended(worker)
    assert worker.returncode == 130
    assert sandbox.results("a") == {"seesstop": 1}, "it was given the time to end"
    assert sandbox.events("a", "task_failed") == []


@pytest.mark.parametrize("number", WARNINGS)
def test_a_warning_to_all_processes_of_a_job_is_no_fault_of_the_task(sandbox, family, number):
    sandbox.queue("a", "SeesStop", maxAttempts=1)
    worker = sandbox.start()
    sandbox.note("started")
    for pid in family(worker):
        os.kill(pid, number)
    sandbox.note("saw")
    (sandbox.notes / "end").touch()
    sandbox.ended(worker)
    assert worker.returncode == 130
    assert sandbox.results("a") == {"seesstop": 1}


def test_a_request_after_a_warning_is_the_first_one(sandbox):
    sandbox.queue("a", "SeesStop", maxAttempts=1)
    worker = sandbox.start()
    child = int(sandbox.note("started"))
    worker.send_signal(signal.SIGHUP)
    sandbox.note("saw")
    worker.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGHUP)
    assert not is_gone(child)
    (sandbox.notes / "end").touch()
    sandbox.ended(worker)
    assert sandbox.results("a") == {"seesstop": 1}


def start(sandbox: Sandbox, *words: str, **more: object) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    environment = {**os.environ, "JOB_ORCHESTRATION_WORKSPACE": str(sandbox.root)}
    environment["PYTHONPATH"] = str(PACKAGE.parent)
    environment.pop(MARK, None)
    return subprocess.Popen(
        [*words],
        cwd=sandbox.folder,
        env=environment,
        text=True,
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **more},
    )


US = (sys.executable, "-m", "job_orchestration")
NOHUP = {
    "work": ("work", "--until-idle"),
    "workers": ("work", "--until-idle", "--workers", "2"),
    "up": ("up", "--until-idle", "--workers", "2"),
}


@pytest.mark.slow
@pytest.mark.parametrize("command", NOHUP)
def test_what_was_ignored_stays_ignored(sandbox, command):
    for name in "ab":
        sandbox.queue(name, "WaitsForGate")
    process = start(sandbox, "nohup", *US, *NOHUP[command], process_group=0)
    sandbox.note("started a")
    os.killpg(process.pid, signal.SIGHUP)
    for member in psutil.Process(process.pid).children():
        os.kill(member.pid, signal.SIGHUP)
    (sandbox.notes / "gate").touch()
    said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, said
    assert sandbox.names("Completed") == ["a", "b"]
    assert sandbox.results("a") == {"waitsforgate": 1}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["work", "workers", "up"])
def test_a_terminal_that_closes_stops_workers_politely(sandbox, command):
    sandbox.queue("a", "SeesStop", maxAttempts=1)
    words = [word for word in NOHUP[command] if word != "--until-idle"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(sandbox.folder)
        environment = {**os.environ, "JOB_ORCHESTRATION_WORKSPACE": str(sandbox.root), "TERM": "xterm"}
        os.execvpe(sys.executable, [*US, *words], {**environment, "PYTHONPATH": str(PACKAGE.parent)})
    try:
        sandbox.note("started")
        os.close(terminal)
        sandbox.note("saw")
        (sandbox.notes / "end").touch()
        eventually(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT), "its end")
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert sandbox.results("a") == {"seesstop": 1}
    assert sandbox.events("a", "task_failed") == []


# -- streams ----------------------------------------------------------------------------------------------

CLOSED = {"input": "<&-", "output": ">&-", "error": "2>&-", "all": "<&- >&- 2>&-"}


@pytest.mark.slow
@pytest.mark.parametrize("closed", CLOSED)
def test_commands_do_their_work_with_closed_streams(sandbox, closed):
    def run(*words: str, **more: object) -> str:
        script = f'exec "$@" {CLOSED[closed]}'
        process = start(sandbox, "sh", "-c", script, "sh", *US, *words, **more)
        said, _ = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, (words, said)
        assert "Traceback" not in said
        return said

    sandbox.drop("a", "Prints")
    run("ready")
    assert sandbox.names("ConfigsToRun") == ["a"]
    run("status")
    run("status", "--json")
    run("work", "--until-idle")
    assert sandbox.results("a") == {"prints": ""}
    log = sandbox.log("a")
    assert "to stdout" in log
    assert "to stderr" in log
    sandbox.drop("b", "Prints")
    run("up", "--until-idle", "--workers", "2")
    assert sandbox.names("Completed") == ["a", "b"]
    assert all(e["event"] for e in sandbox.events("b")), "nothing else was written into the journal"


CLOSES = """
    import os
    import sys

    from job_orchestration import TaskBase


    class Closes(TaskBase):
        def run(self):
            print("before")
            for number in self.config["closes"]:
                os.close(number)
            if self.config["opens"]:
                file = open("printed.txt", "w")
                os.write(1, b"as in a script\\n")
            if self.config["prints"]:
                print("fails, as in a script")

        def __init__(self, config):
            self.config = config


    class Says(TaskBase):
        def run(self):
            print("said by the next task")
            return [os.readlink(f"/proc/self/fd/{n}").partition(":")[0] for n in range(3)]
"""


@pytest.mark.slow
def test_descriptors_that_a_task_closes_are_there_again_for_the_next(workspace, drop, cli, repository):
    folder = repository(CLOSES, name="closes")
    cases = {"out": [1], "err": [2], "both": [1, 2], "all": [0, 1, 2]}
    tasks = [{"id": "closes", "method": "Closes"}, {"id": "says", "method": "Says"}]
    usual = {"pathToTasks": str(folder), "maxAttempts": 1, "opens": False, "prints": False, "tasks": tasks}
    for name, numbers in cases.items():
        drop(name, {**usual, "closes": numbers})
    drop("file", {**usual, "closes": [1], "opens": True})
    drop("prints", {**usual, "closes": [1], "prints": True})
    cli("ready")
    cli("work", "--until-idle", check=1)
    assert names(workspace, "Failed") == ["prints"]
    for name in (*cases, "file"):
        (said,) = (e for e in events(workspace, f"runs/{name}", "task_finished") if e["task"] == "says")
        assert said["result"] == ["/dev/null", "pipe", "pipe"], name
        assert "said by the next task" in (workspace / "Output" / "runs" / name / "log.log").read_text()
    (printed,) = (workspace / "Output" / "runs" / "file").rglob("printed.txt")
    assert printed.read_text() == "as in a script\n"
