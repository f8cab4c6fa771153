"""`status --why` and `show`: why a run does not run, seen in real workspaces with real workers."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]
    Start = Callable[..., subprocess.Popen[str]]
    Drop = Callable[..., Path]

TASKS = """
    import time
    from pathlib import Path

    from job_orchestration import TaskBase, TemporaryError


    class Long(TaskBase):
        def run(self):
            while not Path(self.config["gate"]).exists():
                time.sleep(0.02)


    class Later(TaskBase):
        def run(self):
            raise TemporaryError("the licence server is busy", delay=600)


    class Bad(TaskBase):
        def run(self):
            raise ValueError("no")
"""


class Waiting:
    """A workspace whose runs wait, and what it says of them."""

    def __init__(self, cli: Cli, start: Start, drop: Drop, content: dict[str, object]) -> None:
        self.cli, self.start = cli, start
        self._drop, self._content = drop, content

    def ready(self, **tasks: tuple[str, dict[str, object]]) -> None:
        """Queue a run for each name: the class of its task, and keys of its config."""
        for name, (method, keys) in tasks.items():
            self._drop(name, {**self._content, **keys}, tasks=[method])
        self.cli("ready")

    def why(self, config: str) -> list[dict[str, Any]]:
        """Return the reasons of a run."""
        runs = json.loads(self.cli("status", "--why", "--json").stdout)["runs"]
        (found,) = [run["why"] for run in runs if run["config"] == config]
        return found

    def first(self, config: str) -> tuple[str, str]:
        """Return the first of them, which is in the lines for people and in `show` as well."""
        reason = self.why(config)[0]
        return reason["kind"], reason["text"]


@pytest.fixture
def waiting(cli: Cli, start: Start, drop: Drop, repository: Callable[..., Path], tmp_path: Path) -> Waiting:
    return Waiting(cli, start, drop, {"pathToTasks": str(repository(TASKS)), "gate": str(tmp_path / "gate")})


@pytest.mark.slow
def test_a_run_without_a_worker_a_held_one_one_that_comes_after_it_and_a_dropped_one_say_so(
    waiting: Waiting, drop: Drop
) -> None:
    cli, first = waiting.cli, waiting.first
    waiting.ready(a=("Long", {}), b=("Long", {"after": "a"}))
    assert first("a") == ("no_worker", "there is no worker; start one with: work")
    assert first("b") == ("after", "comes after runs/a (waiting itself)")
    cli("hold", "a")
    kind, text = first("a")
    assert kind == "held"
    assert text.endswith("; let it start with: release runs/a")
    assert waiting.why("b")[0]["runs"] == ["runs/a"]
    assert "held: this run will not start before it is released" in cli("show", "b").stdout
    drop("c", "dropped: and not readied yet")
    assert first("c")[0] == "source"
    lines = cli("status", "--why").stdout.splitlines()
    at = lines.index("Why runs do not run:")
    assert lines[at + 1].split()[:2] == ["runs/a", "held"] or lines[at + 2].split()[:2] == ["runs/a", "held"]
    assert "Why" not in cli("status").stdout
    assert json.loads(cli("status", "--json").stdout)["runs"][0]["why"] is None
    watcher = waiting.start("status", "--why", "--watch", "--json")
    assert watcher.stdout is not None
    runs = json.loads(watcher.stdout.readline())["runs"]
    assert sorted(run["why"][0]["kind"] for run in runs) == ["after", "held", "source"]


def test_a_run_whose_resources_no_worker_can_give_says_which_and_what_to_do(
    waiting: Waiting, eventually: Callable[..., object]
) -> None:
    waiting.ready(
        gpu=("Long", {"resources": {"gpus": 2}}),
        big=("Long", {"resources": {"memory": "900T"}}),
    )
    waiting.start("work", "--resources", "gpus=1")
    eventually(lambda: waiting.first("gpu")[0] == "no_worker_has")
    assert waiting.first("gpu")[1] == (
        "no worker has gpus: 2 (the most that one has is 1); start one with: work --resources gpus=2"
    )
    assert waiting.why("gpu")[0]["resources"] == {"gpus": 2}
    kind, text = waiting.first("big")
    assert kind == "no_worker_has"
    assert "memory: 900 TB" in text or "memory: 989.6 TB" in text
    assert "let the config ask for less" in text
    assert "no worker has gpus: 2" in waiting.cli("show", "gpu").stdout


@pytest.mark.slow
def test_a_run_that_lacks_a_resource_says_who_holds_it_and_the_next_one_whose_turn_it_is(
    waiting: Waiting, eventually: Callable[..., object]
) -> None:
    waiting.ready(
        one=("Long", {"resources": {"licence": 1}, "priority": 9}),
        two=("Long", {"resources": {"licence": 2}}),
        three=("Long", {"resources": {"licence": 1}, "priority": -1}),
    )
    waiting.start("work", "--workers", "2", "--resources", "licence=2")
    eventually(lambda: waiting.first("two")[0] == "resources")
    found = waiting.why("two")[0]
    assert found["runs"] == ["runs/one"]
    assert found["resources"] == {"licence": 2}
    assert found["text"].startswith("needs licence: 2, of which 1 of 2 is free on ")
    assert found["text"].endswith("; held by runs/one")
    assert waiting.first("three") == ("behind", "runs/two has its turn first, and waits for licence")


@pytest.mark.slow
def test_a_run_behind_busy_workers_and_one_between_two_tries_say_so(
    waiting: Waiting, eventually: Callable[..., object]
) -> None:
    waiting.ready(
        later=("Later", {"priority": 2}),
        bad=("Bad", {"priority": 3, "maxAttempts": 1}),
        long=("Long", {"priority": 1}),
        next=("Long", {}),
        last=("Long", {"after": "bad"}),
    )
    waiting.start("work")
    eventually(lambda: waiting.first("next") == ("busy", "the worker is busy"))
    kind, text = waiting.first("later")
    assert kind == "delayed"
    assert text.startswith("waits until ")
    assert ", for try 2 of 3 of task later (" in text
    assert "the licence server is busy" in text
    assert waiting.first("last") == (
        "after",
        "comes after runs/bad (failed: retry it, or this run will not start)",
    )


@pytest.mark.slow
def test_a_process_that_holds_the_lock_of_a_run_whose_worker_is_dead_is_named(
    waiting: Waiting, eventually: Callable[..., object], workspace: Path
) -> None:
    waiting.ready(a=("Long", {}))
    worker = waiting.start("work")
    eventually(lambda: "Long" in waiting.cli("show", "a").stdout and os.listdir(workspace / "Running"))
    eventually((workspace / "Output/runs/a/log.log").exists)
    servers = children_of(worker.pid)
    for pid in servers:
        os.kill(pid, signal.SIGSTOP)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    try:
        eventually(lambda: waiting.why("a") and waiting.first("a")[0] == "lock")
        text = waiting.first("a")[1]
        assert text.startswith("its worker is dead, but ")
        assert any(f"(process {pid})" in text for pid in servers)
    finally:
        for pid in servers:
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{servers[0]}"))


def children_of(pid: int) -> list[int]:
    """The processes that a process started."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            found += [int(child) for child in file.read().split()]
    return found
