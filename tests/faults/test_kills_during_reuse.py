"""Everything is killed at each step of taking a checkpoint: what is there then is whole or does not count."""

from __future__ import annotations

import hashlib
import json
import textwrap
from typing import TYPE_CHECKING

import pytest

from tests.faults.workspace_files import tree
from tests.integration.harness import PACKAGE, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TASKS = """
    from job_orchestration import TaskBase


    class Load(TaskBase):
        def run(self):
            self.context.store.save_text("numbers.txt", "7" * 10_000)
            return {"parts": 1}


    class Fit(TaskBase):
        def run(self):
            return len((self.context.folder_of("load") / "numbers.txt").read_text())
"""
KILLER = """
    import os, signal, sys

    LAST = int(os.environ.get("KILL_AT", "0"))
    STEPS = {"open", "os.mkdir", "os.rename", "os.chmod", "os.utime"}
    seen = [0]

    def step():
        seen[0] += 1
        if seen[0] == LAST:
            server = os.getppid()
            with open(f"/proc/{server}/stat") as file:
                worker = int(file.read().rpartition(")")[2].split()[1])
            for pid in (worker, server, os.getpid()):
                os.kill(pid, signal.SIGKILL)

    def intercept(operation, call):
        step()
        return call()

    def hook(event, arguments):
        if event in STEPS and os.environ["RUN_OF_TEST"] + "/.partial" in str(arguments[0]):
            if "JOB_ORCHESTRATION_RUN" in os.environ and LAST:
                from job_orchestration.workspace import durable
                durable.intercept = intercept
                step()

    if LAST:
        sys.addaudithook(hook)
"""
MOST_STEPS = 200


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path, TASKS)
    yield made
    made.close()


def check_checkpoints(sandbox: Sandbox, run: str) -> None:
    """Each file that a checkpoint names is there and is what it was."""
    for event in sandbox.events(run, "task_finished"):
        for output in event.get("outputs", ()):
            content = (sandbox.output(run) / output["path"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == output["sha256"]


def check_completed(sandbox: Sandbox, run: str) -> None:
    """A run that was killed has ended as an undisturbed one does."""
    check_checkpoints(sandbox, run)
    assert run in sandbox.names("Completed")
    assert not (sandbox.output(run) / ".partial").exists()
    assert sandbox.results(run) == {"load": {"parts": 1}, "fit": 10_000}


@pytest.mark.slow
def test_a_kill_at_any_step_of_taking_leaves_no_half_checkpoint(sandbox: Sandbox) -> None:
    killer = sandbox.folder / "killer"
    killer.mkdir()
    (killer / "sitecustomize.py").write_text(textwrap.dedent(KILLER))
    sandbox.queue("first", "Load", "Fit", reuse=True)
    sandbox.work()
    before = tree(sandbox.output("first"))
    again = set()
    for number in range(1, MOST_STEPS):
        run = f"run{number}"
        sandbox.queue(run, "Load", "Fit", reuse=True)
        path = f"{killer}:{PACKAGE.parent}"
        worker = sandbox.start("--until-idle", KILL_AT=str(number), RUN_OF_TEST=run, PYTHONPATH=path)
        said, _ = worker.communicate(timeout=120)
        check_checkpoints(sandbox, run)
        if number > 1:  # the worker has finished the run of the one before it first
            check_completed(sandbox, f"run{number - 1}")
        if worker.returncode == 0:
            break
        assert worker.returncode == -9, said
        again.add(json.dumps(sandbox.events(run, "task_finished") == []))
    assert number > 15, "the copies, their syncs, the rename and the events are steps"
    assert again == {"true", "false"}, "some kills come before the checkpoint, some after it"
    assert tree(sandbox.output("first")) == before
