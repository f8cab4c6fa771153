"""A workspace was copied without hard links just after a move was cut short: one run, two tokens."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest

from job_orchestration.workspace.layout import VARIABLE
from tests.faults.promises import raw, tokens
from tests.integration.harness import LIMIT, Sandbox, eventually

TASKS = """
    import time
    from pathlib import Path

    from job_orchestration import TaskBase


    class Work(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            with open(Path(self.config["notes"], "runs"), "a") as file:
                file.write("x\\n")
            mended = Path(self.config["notes"], "mended")
            if self.config.get("fails") and not mended.exists():
                raise ValueError("as the test asked")
            while self.config.get("waits") and not mended.exists():
                time.sleep(0.01)
            return "done"
"""


def command(sandbox: Sandbox, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "job_orchestration", *words],
        env={**os.environ, VARIABLE: str(sandbox.root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def copy_to_running(sandbox: Sandbox, place: str) -> None:
    """Have the run's token in Running again, as a copy that is a file of its own."""
    (path,) = (sandbox.root / place).glob("*.yaml")
    stem = path.name.partition("~")[0].removesuffix(".yaml").removesuffix("-2")
    shutil.copy2(path, sandbox.root / "Running" / f"{stem}~g000001~elsewhere.4711.abc.yaml")


def executions(sandbox: Sandbox) -> int:
    return len((sandbox.notes / "runs").read_text().split())


@pytest.mark.slow
@pytest.mark.parametrize("place", ["Completed", "Failed"])
def test_a_run_that_has_ended_stays_ended_and_its_copy_goes(sandbox, place):
    sandbox.queue("a", "Work", fails=place == "Failed", maxAttempts=1)
    sandbox.work()
    before = raw(sandbox.output("a"))
    copy_to_running(sandbox, place)
    sandbox.work()
    assert tokens(sandbox.root) == {"a": [place]}
    assert raw(sandbox.output("a")) == before
    assert executions(sandbox) == 1
    assert "More than one" not in command(sandbox, "doctor")


@pytest.mark.slow
def test_a_copy_is_known_by_its_run_although_a_name_was_taken(sandbox):
    sandbox.queue("a", "Work")
    sandbox.work()
    (sandbox.root / "Completed" / "a.yaml").rename(sandbox.root / "Completed" / "a-2.yaml")
    copy_to_running(sandbox, "Completed")
    sandbox.work()
    assert tokens(sandbox.root) == {"a": ["Completed"]}
    assert executions(sandbox) == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", ["released", "requeued"])
def test_a_run_that_waits_again_is_executed_once_and_its_copy_goes(sandbox, how):
    if how == "released":
        sandbox.queue("a", "Work", waits=True, graceTime=0.1)
        worker = sandbox.start()
        eventually((sandbox.notes / "runs").exists)
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=LIMIT)
    else:
        sandbox.queue("a", "Work", fails=True, maxAttempts=1)
        sandbox.work()
        command(sandbox, "retry")
    assert sandbox.names("ConfigsToRun") == ["a"]
    (sandbox.notes / "mended").touch()
    copy_to_running(sandbox, "ConfigsToRun")
    workers = [sandbox.start("--until-idle") for _ in range(2)]
    said = [sandbox.ended(worker) for worker in workers]
    assert tokens(sandbox.root) == {"a": ["Completed"]}, said
    finished = [e for e in raw(sandbox.output("a")) if e["event"] == "task_finished"]
    assert len(finished) == 1
    assert executions(sandbox) == 2
    assert not list(sandbox.root.glob("*/*.problems.txt"))


@pytest.mark.slow
def test_a_token_that_was_edited_counts_for_no_copy(sandbox):
    sandbox.queue("a", "Work", fails=True, maxAttempts=1)
    sandbox.work()
    command(sandbox, "retry")
    copy_to_running(sandbox, "ConfigsToRun")
    with (sandbox.root / "ConfigsToRun" / "a.yaml").open("a") as token:
        token.write("# edited\n")
    (sandbox.notes / "mended").touch()
    sandbox.work()
    assert sandbox.names("Completed") == ["a"], "the token that was not edited goes on"
    assert executions(sandbox) == 2


@pytest.mark.slow
def test_a_copy_of_a_run_that_is_executed_is_still_refused(sandbox):
    sandbox.queue("a", "Work", waits=True)
    worker = sandbox.start()
    eventually((sandbox.notes / "runs").exists)
    (path,) = (sandbox.root / "Running").glob("*.yaml")
    shutil.copy2(path, sandbox.root / "ConfigsToRun" / "copy.yaml")
    other = sandbox.start("--until-idle")
    eventually((sandbox.root / "ConfigsToRun" / "copy.yaml.problems.txt").exists)
    (sandbox.notes / "mended").touch()
    assert "It is a copy" in sandbox.ended(other)
    eventually(lambda: "a" in sandbox.names("Completed"))
    worker.terminate()
    sandbox.ended(worker)
    assert executions(sandbox) == 1
