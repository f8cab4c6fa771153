"""Progress bars: a run's log has the last state of each line, while the task runs and when it is killed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from job_orchestration.workspace.layout import VARIABLE
from tests.integration.harness import LIMIT, PACKAGE, Sandbox, eventually

TASKS = """
    import os
    import signal
    import sys
    import time
    from pathlib import Path

    from tqdm import tqdm

    from job_orchestration import TaskBase


    class Bars(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            print("before")
            for _ in tqdm(range(30), mininterval=0, desc="epochs"):
                for _ in tqdm(range(5), mininterval=0, desc="batches", leave=False):
                    pass
            print("after")


    class Waits(Bars):
        def run(self):
            if self.context.attempt > 1:
                return
            print("before")
            bar = tqdm(total=100, mininterval=0)
            for step in range(3):
                bar.update(10)
                while not Path(self.config["notes"], f"step{step}").exists():
                    time.sleep(0.01)
            if self.config["ends"]:
                bar.close()
                print("after")
            else:
                os.kill(os.getppid(), signal.SIGKILL)
                time.sleep(1000)
"""


@pytest.fixture
def sandbox(tmp_path):
    sandbox = Sandbox(tmp_path, TASKS)
    yield sandbox
    sandbox.close()


def bars_in(text: str) -> list[str]:
    return [line.split("|")[0].strip() for line in text.splitlines() if "[INFO" not in line]


def log_of(sandbox: Sandbox) -> str:
    path = sandbox.output("waits") / "log.log"
    return path.read_text() if path.exists() else ""


def test_a_log_has_one_line_for_each_bar(sandbox):
    sandbox.queue("bars", "Bars")
    sandbox.work()
    assert bars_in(sandbox.log("bars")) == ["before", "epochs: 100%", "after"]
    assert "30/30" in sandbox.log("bars")
    assert "\r" not in sandbox.log("bars")


@pytest.mark.slow
def test_a_log_has_the_state_of_the_moment_and_keeps_it_when_its_writer_is_killed(sandbox):
    sandbox.queue("waits", "Waits", ends=False)
    worker = sandbox.start("--until-idle")
    for step, percent in enumerate(["10%", "20%", "30%"]):
        eventually(lambda percent=percent: bars_in(log_of(sandbox)) == ["before", percent])
        (sandbox.notes / f"step{step}").touch()
    sandbox.ended(worker)
    assert bars_in(sandbox.log("waits"))[:2] == ["before", "30%"]
    assert "waits" in sandbox.names("Completed")


@pytest.mark.slow
def test_a_followed_log_shows_a_bar_move_and_repeats_nothing_else(sandbox):
    sandbox.queue("waits", "Waits", ends=True)
    worker = sandbox.start("--until-idle")
    eventually(lambda: "10%" in log_of(sandbox))
    follower = subprocess.Popen(
        [sys.executable, "-m", "job_orchestration", "logs", "waits", "-f"],
        stdout=subprocess.PIPE,
        env={**os.environ, VARIABLE: str(sandbox.root), "PYTHONPATH": str(PACKAGE.parent)},
    )
    said = b""
    for step, percent in enumerate([b" 10%", b" 20%", b" 30%"]):
        while percent not in said:
            data = os.read(follower.stdout.fileno(), 1 << 16)
            assert data, said
            said += data
        (sandbox.notes / f"step{step}").touch()
    rest, _ = follower.communicate(timeout=LIMIT)
    sandbox.ended(worker)
    said += rest
    assert follower.returncode == 0
    assert said.count(b"before") == 1
    assert said.count(b"after") == 1
    assert said.count(b"\r") >= 4, "each state takes the place of the one before"
    shown = b"\n".join(line.rpartition(b"\r")[2] for line in said.split(b"\n"))
    assert shown.decode() == sandbox.log("waits")


@pytest.mark.slow
def test_what_the_fork_server_says_stands_on_a_line_of_its_own(sandbox):
    sandbox.queue("waits", "Waits", ends=False, timeout=3, maxAttempts=1)
    (sandbox.notes / "step0").touch()
    worker = sandbox.start("--until-idle")
    sandbox.ended(worker)
    lines = sandbox.log("waits").splitlines()
    assert "[job_orchestration] The run's timeout is over." in lines
    assert any(line.startswith(" 20%") for line in lines)
