"""What a class loads once for all runs of a worker: `preload`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from job_orchestration.cli import render
from job_orchestration.commands import cancel, selection, show
from job_orchestration.queue import preload_preference
from tests.integration.harness import eventually, is_gone

if TYPE_CHECKING:
    from tests.integration.harness import Sandbox

TASKS = """
    import os
    import signal
    import subprocess
    import threading
    import time
    from pathlib import Path

    from job_orchestration import PermanentError, TaskBase, TemporaryError


    class Base(TaskBase):
        preload_keys = ("data", "fault")

        @classmethod
        def preload(cls, config):
            with open(Path(os.environ["NOTES"], "calls"), "a") as file:
                file.write(f"{cls.__name__} {os.getpid()} {config.get('data')}\\n")
            print("reading", config.get("data"))
            return cls.loaded(config)

        @classmethod
        def loaded(cls, config):
            return {"data": config.get("data"), "process": os.getpid(), "keys": sorted(config)}

        def run(self):
            return {"own": os.getpid(), "parent": os.getppid(), **self.context.preloaded}


    class Plain(Base):
        pass


    class Reads(Base):
        @classmethod
        def loaded(cls, config):
            return {"text": Path(config["data"]).read_text(), "process": os.getpid()}


    class Large(Base):
        @classmethod
        def loaded(cls, config):
            return {"bytes": b"x" * 50_000_000}

        def run(self):
            return len(self.context.preloaded["bytes"])


    class Changes(Base):
        def run(self):
            self.context.preloaded["data"] = "changed"
            return self.context.preloaded["data"]


    class Undeclared(Base):
        @classmethod
        def loaded(cls, config):
            return config["secret"]


    class Raises(Base):
        @classmethod
        def loaded(cls, config):
            faults = {
                "permanent": PermanentError("no such table"),
                "temporary": TemporaryError("not yet", delay=0.2),
                "memory": MemoryError("too large"),
                "exit": SystemExit(3),
            }
            raise faults.get(config["fault"], ValueError(f"bad {config['fault']}"))


    class RaisesOnce(Base):
        @classmethod
        def loaded(cls, config):
            if len(Path(os.environ["NOTES"], "calls").read_text().splitlines()) < 2:
                raise ValueError("not the first time")
            return {"data": 1}


    class Dies(Base):
        @classmethod
        def loaded(cls, config):
            os.kill(os.getpid(), signal.SIGKILL)


    class DiesOnce(Base):
        @classmethod
        def loaded(cls, config):
            if len(Path(os.environ["NOTES"], "calls").read_text().splitlines()) < 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return {"data": 1}


    class Hangs(Base):
        @classmethod
        def loaded(cls, config):
            started = subprocess.Popen(["sleep", "1000"], start_new_session=True)
            Path(os.environ["NOTES"], "started").write_text(f"{started.pid}\\n")
            Path(os.environ["NOTES"], "hangs").write_text(f"{os.getpid()}\\n")
            time.sleep(1000)


    class Threads(Base):
        @classmethod
        def loaded(cls, config):
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
            return {"data": 1}


    class Sloppy(Base):
        @classmethod
        def loaded(cls, config):
            os.chdir("/")
            os.environ["LEFT"] = "x"
            os.umask(0)
            return {"data": 1}

        def run(self):
            return [os.getcwd() == "/", os.environ.get("LEFT"), os.umask(0o22)]


    class Forks(Base):
        @classmethod
        def loaded(cls, config):
            if os.fork() == 0:
                raise SystemExit
            return {"data": 1}


    class Unused(TaskBase):
        def preload(self):
            return "a method of its own"

        def run(self):
            return [self.preload(), self.context.preloaded]


    class First(TaskBase):
        def run(self):
            return "first"
"""


@pytest.fixture(autouse=True)
def _notes(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))


def calls(sandbox: Sandbox) -> list[str]:
    """The class and the data of each call of `preload`."""
    path = sandbox.notes / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    return [" ".join(line.split()[::2]) for line in lines]


@pytest.mark.slow
def test_runs_with_the_same_values_share_what_was_loaded(sandbox):
    for number in range(5):
        sandbox.queue(f"r{number}", "Plain", data="a", other=number)
    sandbox.work()
    found = [sandbox.results(f"r{number}")["plain"] for number in range(5)]
    assert calls(sandbox) == ["Plain a"]
    assert {result["data"] for result in found} == {"a"}
    assert {tuple(result["keys"]) for result in found} == {("data",)}
    assert {result["process"] for result in found} == {result["parent"] for result in found}
    assert len({result["own"] for result in found}) == 5
    assert sandbox.log("r0").count("reading a") == 1
    assert "reading" not in sandbox.log("r1")


@pytest.mark.slow
def test_the_journal_says_what_it_cost(sandbox):
    sandbox.queue("first", "Large")
    sandbox.queue("second", "Large")
    sandbox.work()
    (first,), (second,) = (sandbox.events(run, "task_finished") for run in ("first", "second"))
    assert first["result"] == second["result"] == 50_000_000
    assert 45 <= first["preload_mb"] <= 60
    assert first["preload_s"] > 0
    assert "preload_s" not in second
    shown = [show.show(sandbox.workspace, run) for run in ("first", "second")]
    lines = ["\n".join(render.shown(one)) for one in shown]
    assert re.search(r"task large preloaded in .*, \d+(\.\d)? MB", lines[0])
    assert "preloaded" not in lines[1]
    assert "preload_mb" not in second


@pytest.mark.slow
def test_other_values_are_loaded_in_another_process_after_the_first_has_ended(sandbox):
    for name, data in (("a1", "a"), ("b1", "b"), ("b2", "b"), ("a2", "a")):
        sandbox.queue(
            name,
            "Plain",
            data=data,
            **({"after": [{"b1": "a1", "b2": "b1", "a2": "b2"}[name]]} if name != "a1" else {}),
        )
    sandbox.work()
    assert calls(sandbox) == ["Plain a", "Plain b", "Plain a"]
    found = {name: sandbox.results(name)["plain"] for name in ("a1", "a2", "b1", "b2")}
    assert {name: result["data"] for name, result in found.items()} == {
        "a1": "a",
        "a2": "a",
        "b1": "b",
        "b2": "b",
    }
    assert len({result["process"] for result in found.values()}) == 3
    assert found["b1"]["process"] == found["b2"]["process"]


@pytest.mark.slow
def test_a_worker_keeps_as_many_as_the_config_says(sandbox):
    before = None
    for number, data in enumerate("abab"):
        sandbox.queue(
            f"r{number}", "Plain", data=data, preloadKeep=2, **({"after": [before]} if before else {})
        )
        before = f"r{number}"
    sandbox.work()
    assert calls(sandbox) == ["Plain a", "Plain b"]


@pytest.mark.slow
def test_a_file_that_changes_is_read_anew(sandbox, tmp_path):
    path = tmp_path / "table.txt"
    path.write_text("one")
    worker = sandbox.start()
    sandbox.queue("before", "Reads", data=str(path))
    eventually(lambda: "before" in sandbox.names("Completed"))
    sandbox.queue("same", "Reads", data=str(path))
    eventually(lambda: "same" in sandbox.names("Completed"))
    path.write_text("other")
    sandbox.queue("changed", "Reads", data=str(path))
    eventually(lambda: "changed" in sandbox.names("Completed"))
    worker.terminate()
    sandbox.ended(worker)
    assert [sandbox.results(run)["reads"]["text"] for run in ("before", "same", "changed")] == [
        "one",
        "one",
        "other",
    ]
    assert len(calls(sandbox)) == 2


@pytest.mark.slow
def test_what_a_run_changes_is_its_own(sandbox):
    sandbox.queue("one", "Changes", data="a")
    sandbox.queue("two", "Plain", "Changes", data="a", after=["one"])
    sandbox.work()
    assert sandbox.results("one") == {"changes": "changed"}
    assert sandbox.results("two")["plain"]["data"] == "a"
    assert calls(sandbox) == ["Changes a", "Plain a"]


def test_readying_loads_nothing(sandbox):
    sandbox.queue("run", "Plain", data="a")
    assert calls(sandbox) == []


def test_a_method_of_that_name_is_the_tasks_own(sandbox):
    sandbox.queue("run", "Unused")
    sandbox.work()
    assert sandbox.results("run") == {"unused": ["a method of its own", None]}


def test_a_spawned_run_loads_for_itself(sandbox):
    for run in ("one", "two"):
        sandbox.queue(run, "Plain", data="a", isolation="spawn")
    sandbox.work()
    for run in ("one", "two"):
        result = sandbox.results(run)["plain"]
        assert result["process"] == result["own"]
        (finished,) = sandbox.events(run, "task_finished")
        assert finished["preload_s"] > 0
    assert calls(sandbox) == ["Plain a", "Plain a"]


def test_threads_that_it_leaves_make_runs_spawn_with_one_sentence(sandbox):
    for run in ("one", "two"):
        sandbox.queue(run, "Threads")
    said = sandbox.work()
    assert said.count("leave threads behind") == 1
    for run in ("one", "two"):
        assert sandbox.results(run)["threads"]["data"] == 1
        assert sandbox.results(run)["threads"]["own"] != 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "tries", "outcome", "what"),
    [
        ("value", 2, "error", "preload: ValueError: bad value"),
        ("permanent", 1, "error", "preload: PermanentError: no such table"),
        ("temporary", 2, "error", "preload: TemporaryError: not yet"),
        ("memory", 2, "oom", "preload: MemoryError: too large"),
        ("exit", 2, "error", "preload: SystemExit: 3"),
    ],
)
def test_an_exception_is_a_failed_try_with_its_traceback_in_the_log(sandbox, fault, tries, outcome, what):
    sandbox.queue("run", "First", "Raises", fault=fault, maxAttempts=2)
    sandbox.work()
    failures = sandbox.events("run", "task_failed")
    assert [f["task"] for f in failures] == ["raises"] * tries
    assert {f["outcome"] for f in failures} == {outcome}
    assert all(f["error"].startswith(what) for f in failures)
    assert sandbox.results("run") == {"first": "first"}
    assert "Tasks.py" in sandbox.log("run")
    assert "preload_server.py" not in sandbox.log("run")
    assert len(sandbox.names("Failed")) == 1


def test_the_current_tasks_exception_comes_before_its_process_is_made(sandbox):
    sandbox.queue("run", "Raises", fault="value", maxAttempts=2)
    sandbox.work()
    failures = sandbox.events("run", "task_failed")
    assert [f["error"] for f in failures] == ["preload: ValueError: bad value"] * 2
    assert sandbox.events("run", "task_started") == []
    assert sandbox.log("run").count("ValueError: bad value") >= 2


def test_a_key_that_is_not_declared_is_named_with_the_remedy(sandbox):
    sandbox.queue("run", "Undeclared", secret=1, maxAttempts=1)
    sandbox.work()
    assert "preload_keys names (data, fault)" in sandbox.log("run")


@pytest.mark.slow
def test_a_second_try_loads_again(sandbox):
    sandbox.queue("run", "RaisesOnce", maxAttempts=2)
    sandbox.work()
    assert sandbox.results("run")["raisesonce"]["data"] == 1


@pytest.mark.slow
def test_a_kill_while_it_loads_is_a_failed_try(sandbox):
    sandbox.queue("good", "First")
    sandbox.queue("run", "Dies", maxAttempts=2)
    sandbox.queue("mended", "DiesOnce", maxAttempts=2)
    sandbox.work()
    failures = sandbox.events("run", "task_failed")
    assert [f["outcome"] for f in failures] == ["crash", "crash"]
    assert all(f["error"] == "preload: the process that loads its data has ended: SIGKILL" for f in failures)
    assert sandbox.results("good") == {"first": "first"}
    assert len(sandbox.names("Failed")) == 1


@pytest.mark.slow
def test_a_timeout_ends_it(sandbox):
    sandbox.queue("run", "Hangs", timeout=1, maxAttempts=1)
    sandbox.work()
    (failure,) = sandbox.events("run", "task_failed")
    assert failure["outcome"] == "timeout"
    assert is_gone(int(sandbox.note("hangs")))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGTERM", "cancel"])
def test_a_stop_ends_it_and_counts_no_try(sandbox, how):
    sandbox.queue("run", "Hangs")
    worker = sandbox.start()
    process = int(sandbox.note("hangs"))
    if how == "cancel":
        cancel.cancel(sandbox.workspace, selection.Selection(("run",)))
        eventually(lambda: sandbox.names("Failed"))
        worker.terminate()
    else:
        worker.terminate()
    sandbox.ended(worker)
    assert is_gone(process)
    assert sandbox.events("run", "task_failed") == []
    assert len(sandbox.names("Failed" if how == "cancel" else "ConfigsToRun")) == 1


@pytest.mark.slow
def test_a_killed_worker_leaves_no_process_and_the_run_goes_on(sandbox):
    sandbox.queue("run", "Hangs", timeout=5, maxAttempts=1)
    worker = sandbox.start()
    process = int(sandbox.note("hangs"))
    worker.kill()
    worker.wait()
    eventually(lambda: is_gone(process))
    started = int(sandbox.note("started"))
    assert not is_gone(started)
    sandbox.work()
    assert is_gone(started)
    (failure,) = sandbox.events("run", "task_failed")
    assert failure["outcome"] == "timeout"


def test_it_leaves_the_process_as_it_was(sandbox):
    sandbox.queue("run", "Sloppy")
    sandbox.work()
    assert sandbox.results("run")["sloppy"][:2] == [False, None]
    assert sandbox.results("run")["sloppy"][2] != 0


@pytest.mark.slow
def test_a_fork_of_it_is_no_fork_server(sandbox):
    sandbox.queue("run", "Forks")
    sandbox.work()
    assert sandbox.results("run")["forks"]["data"] == 1
    assert sandbox.alive() == []


def order_of(sandbox: Sandbox, runs: list[str]) -> list[str]:
    """The runs in the order in which they were claimed."""
    return sorted(runs, key=lambda run: sandbox.events(run, "claimed")[0]["at"])


def test_runs_that_want_what_is_loaded_come_next(sandbox):
    for number in range(12):
        sandbox.drop(f"r{number:02}", "Plain", data="ab"[number % 2])
    assert not sandbox.ready().refused
    sandbox.work()
    assert calls(sandbox) == ["Plain a", "Plain b"]
    names = [f"r{number:02}" for number in range(12)]
    assert order_of(sandbox, names) == names[::2] + names[1::2]


@pytest.mark.slow
def test_a_run_is_passed_over_a_bounded_number_of_times(sandbox):
    names = ["a00", "b"] + [f"a{number:02}" for number in range(1, 25)]
    for name in names:
        sandbox.queue(name, "Plain", data=name[0])
    sandbox.work()
    found = order_of(sandbox, names)
    assert found.index("b") == 1 + preload_preference.MOST_TIMES
    found.remove("b")
    assert found == sorted(found)


@pytest.mark.slow
def test_priority_precedes_what_is_loaded(sandbox):
    sandbox.queue("first", "Plain", data="a", priority=2)
    sandbox.queue("same", "Plain", data="a")
    sandbox.queue("urgent", "Plain", data="b", priority=1)
    sandbox.work()
    assert order_of(sandbox, ["first", "same", "urgent"]) == ["first", "urgent", "same"]
