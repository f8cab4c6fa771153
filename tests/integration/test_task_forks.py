"""Forks that a task makes: they end as the forks of a script do, and never speak for the run."""

from __future__ import annotations

import pytest

from tests.integration.harness import Sandbox

TASKS = r"""
    import atexit
    import multiprocessing
    import os
    import signal
    import subprocess
    import sys
    import threading
    import time
    from pathlib import Path

    from job_orchestration import TaskBase

    if os.environ.get("FORK_AT_IMPORT") and not os.fork():
        if os.environ["FORK_AT_IMPORT"] == "exits":
            sys.exit(3)


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config

        def path(self, name):
            return os.path.join(self.config["outputDir"], name)


    def exits():
        sys.exit(0)


    def exits_with_code():
        sys.exit(300)


    def exits_with_text():
        sys.exit("as a text")


    def raises():
        raise ValueError("of a fork")


    def returns():
        return {"of": "a fork"}


    def cannot_be_kept():
        return object()


    def interrupts():
        raise KeyboardInterrupt


    class Forks(Base):
        def run(self):
            self.context.store.save_text("saved", "by the task")
            pid = os.fork()
            if pid == 0:
                atexit.register(lambda: Path(self.path("hook")).write_text("of the fork"))
                self.table = open(self.path("table"), "w")
                self.table.write("by the fork")
                return globals()[self.config["how"]]()
            _, status = os.waitpid(pid, 0)
            return os.waitstatus_to_exitcode(status)


    class Quick(Base):
        def run(self):
            return "quick"


    class ForksLate(Base):
        def run(self):
            if os.fork() == 0:
                time.sleep(1000)
            raise RuntimeError("of the task")


    class ForksInConstructor(Base):
        def __init__(self, config):
            self.config = config
            self.pid = os.fork() if "outputDir" in config and "Output" in config["outputDir"] else None
            if self.pid == 0:
                raise SystemExit(4)

        def run(self):
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


    class ForksInValidation(Base):
        def validate(self):
            pid = os.fork()
            if pid == 0:
                if self.config["how"] == "raises":
                    raise ValueError("of a fork")
                return ["of a fork"]
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            return [f"the fork ended with {code}"]

        def run(self):
            pass


    class ManyPools(Base):
        def run(self):
            done = 0
            for _ in range(self.config["many"]):
                with multiprocessing.Pool(2) as pool:
                    done += sum(pool.map(int, "11"))
                process = multiprocessing.Process(target=time.sleep, args=(1000,))
                process.start()
                process.terminate()
                process.join()
            return done
"""
HOW = {
    "exits": 0,
    "exits_with_code": 300 & 0xFF,
    "exits_with_text": 1,
    "raises": 1,
    "returns": 0,
    "cannot_be_kept": 0,
    "interrupts": -2,
}
"""How a fork comes back to our code, and the exit code of a script's fork."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """One worker has run all of them, forked and spawned."""
    sandbox = Sandbox(tmp_path_factory.mktemp("forks"), TASKS)
    for how in HOW:
        sandbox.drop(how, "Forks", "Quick", how=how, maxAttempts=1)
    sandbox.drop("spawned", "Forks", "Quick", how="raises", maxAttempts=1, isolation="spawn")
    sandbox.drop("late", "ForksLate", maxAttempts=1)
    sandbox.drop("constructor", "ForksInConstructor", maxAttempts=1)
    report = sandbox.ready()
    assert not report.refused, report.refused
    sandbox.work()
    yield sandbox
    sandbox.close()


@pytest.mark.parametrize("run", [*HOW, "spawned"])
def test_a_fork_ends_with_the_code_of_a_scripts_fork_and_the_run_goes_on(sandbox, run):
    assert sandbox.results(run) == {"forks": HOW.get(run, 1), "quick": "quick"}
    kinds = [event["event"] for event in sandbox.events(run)]
    assert kinds.count("task_started") == kinds.count("task_finished") == 2
    assert "task_failed" not in kinds
    assert (sandbox.output(run) / "forks" / "saved").read_text() == "by the task"


@pytest.mark.parametrize("run", [*HOW, "spawned"])
def test_a_fork_calls_its_exit_hooks_and_writes_its_files(sandbox, run):
    assert (sandbox.output(run) / "hook").read_text() == "of the fork"
    assert (sandbox.output(run) / "table").read_text() == "by the fork"


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("raises", "ValueError: of a fork"),
        ("exits_with_text", "as a text"),
        ("interrupts", "KeyboardInterrupt"),
    ],
)
def test_what_a_fork_dies_of_is_in_the_log(sandbox, run, said):
    assert said in sandbox.log(run)


def test_a_fork_that_outlives_a_failed_task_is_ended_and_the_failure_is_the_tasks(sandbox):
    (failure,) = sandbox.events("late", "task_failed")
    assert failure["error"] == "RuntimeError: of the task"


def test_a_fork_in_a_constructor_ends_likewise(sandbox):
    assert sandbox.results("constructor") == {"forksinconstructor": 4}


@pytest.fixture
def small(tmp_path):
    sandbox = Sandbox(tmp_path, TASKS)
    yield sandbox
    sandbox.close()


@pytest.mark.parametrize(("how", "code"), [("raises", 1), ("returns", 0)])
def test_a_fork_in_validate_gives_no_answer(small, how, code):
    small.drop("a", "ForksInValidation", how=how)
    assert len(small.ready().refused) == 1
    text = (small.root / "ConfigSources" / "a.yaml.problems.txt").read_text()
    assert f"the fork ended with {code}" in text
    assert "of a fork" not in text


@pytest.mark.parametrize("how", ["exits", "returns"])
def test_a_fork_while_the_tasks_are_imported_is_no_fork_server(small, how):
    small.queue("a", "Quick")
    small.work(FORK_AT_IMPORT=how)
    assert small.results("a") == {"quick": "quick"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_many_pools_of_processes_end(small):
    small.queue("a", "ManyPools", many=300, graceTime=5)
    small.work()
    assert small.results("a") == {"manypools": 600}
