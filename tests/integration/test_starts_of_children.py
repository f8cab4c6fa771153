"""What a child is started with: the state of its run in a message, and a path that was rehearsed before."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from tests.integration.harness import PACKAGE, Sandbox

TASKS = """
    from job_orchestration import TaskBase


    class First(TaskBase):
        def run(self):
            with open("/proc/self/cmdline") as file:
                return {"size": len(self.config["text"]), "command": file.read()}


    class Second(TaskBase):
        def run(self):
            return self.context.result_of(self.config["of"])["size"]
"""
TEXT = "a value that is a secret "
METHODS = ("First", "Second")
SMALL, LARGE = 4, 20_000
"""Repetitions of the text: a large config fits into no message."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """A workspace in which one worker has executed three small runs, and then others."""
    found = Sandbox(tmp_path_factory.mktemp("starts"), TASKS)
    for name, size, isolation in (
        *((f"small{number}", SMALL, "fork") for number in range(3)),
        ("large", LARGE, "fork"),
        ("spawned", SMALL, "spawn"),
    ):
        found.queue(name, *METHODS, text=TEXT * size, of="first", isolation=isolation)
    found.work()
    yield found
    found.close()


@pytest.mark.slow
@pytest.mark.parametrize(("run", "size"), [("small2", SMALL), ("large", LARGE), ("spawned", SMALL)])
def test_a_run_of_any_size_gets_its_config_and_results(sandbox, run, size):
    first, second = (event["result"] for event in sandbox.events(run, "task_finished"))
    assert first["size"] == second == len(TEXT) * size


@pytest.mark.slow
def test_a_config_is_not_in_the_list_of_processes(sandbox):
    command = sandbox.events("spawned", "task_finished")[0]["result"]["command"]
    assert "fork_server" in command
    assert TEXT not in command


@pytest.mark.slow
def test_a_rehearsal_leaves_nothing_in_the_runs(sandbox):
    runs = ["small0", "small1", "small2"]
    assert {len(sandbox.events(run)) for run in runs} == {len(sandbox.events("small0"))}
    for run in runs:
        assert sandbox.events(run, "task_finished")[0]["imported"] == ["Tasks.py"], run
        assert sandbox.log(run).count("Running task") == len(METHODS), "those of the rehearsal are in no log"
    assert sorted(os.listdir(sandbox.output("small1"))) == sorted(os.listdir(sandbox.output("small0")))


REHEARSED = """
    import gc, os, random, sys
    from job_orchestration.code.task_importer import CodePlan
    from job_orchestration.executor import child_setup, rehearsal, task_folder
    from job_orchestration.executor.shared_memory import Verdict
    child_setup.look_like_script()
    child_setup.prepare_interpreter()
    order = {"attempt": 1, "journal": [1], "grace_time": 1.0, "max_attempts": 3, "cpus": 4}
    order |= {"allocation": {}, "environment": {}}

    folder = task_folder.of_plan(CodePlan())

    def seen():
        files = sorted(os.listdir("/proc/self/fd"))
        return [files, random.getstate(), dict(os.environ), sys.stderr, os.getcwd()]

    before = seen()
    assert rehearsal.rehearse_once(order, folder) is Verdict.DONE
    rehearsal.rehearse(order, folder)
    assert seen() == before
    rehearsal.rehearse({}, folder)
    assert seen() == before, "an error is ignored"
"""


@pytest.mark.slow
def test_a_rehearsal_comes_to_its_end_and_leaves_nothing_in_the_process():
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(REHEARSED)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Running task") == 2, "only of the one that was not silenced"
