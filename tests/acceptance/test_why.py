"""`status --why` and `show`: why a run does not run, seen in real workspaces with real workers."""

from __future__ import annotations

import json
import os
import signal
import time
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


@pytest.fixture
def content(repository: Callable[..., Path], tmp_path: Path) -> dict[str, object]:
    return {"pathToTasks": str(repository(TASKS)), "gate": str(tmp_path / "gate")}


@pytest.fixture
def why(cli: Cli) -> Callable[[str], list[dict[str, Any]]]:
    """The reasons of a run, of which the first is in the lines for people and in `show` as well."""

    def of(config: str) -> list[dict[str, Any]]:
        runs = json.loads(cli("status", "--why", "--json").stdout)["runs"]
        (found,) = [run["why"] for run in runs if run["config"] == config]
        return found

    return of


def first(reasons: list[dict[str, Any]]) -> tuple[str, str]:
    return reasons[0]["kind"], reasons[0]["text"]


@pytest.mark.slow
def test_a_run_without_a_worker_a_held_one_one_that_comes_after_it_and_a_dropped_one_say_so(
    cli: Cli, drop: Drop, why: Callable[..., list[dict[str, Any]]]
) -> None:
    drop("a")
    drop("b", {"after": "a", "outputDir": "runs/b"})
    cli("ready")
    assert first(why("a")) == ("no_worker", "there is no worker; start one with: work")
    assert first(why("b")) == ("after", "comes after runs/a (waiting itself)")
    cli("hold", "a")
    kind, text = first(why("a"))
    assert kind == "held"
    assert text.endswith("; let it start with: release runs/a")
    assert why("b")[0]["runs"] == ["runs/a"]
    assert "held: this run will not start before it is released" in cli("show", "b").stdout
    drop("c")
    assert first(why("c"))[0] == "source"
    lines = cli("status", "--why").stdout.splitlines()
    at = lines.index("Why runs do not run:")
    assert lines[at + 1].split()[:2] == ["runs/a", "held"] or lines[at + 2].split()[:2] == ["runs/a", "held"]
    assert "Why" not in cli("status").stdout
    assert json.loads(cli("status", "--json").stdout)["runs"][0]["why"] is None
    assert "cannot be combined" in cli("status", "--why", "--watch", check=2).stderr


def test_a_run_whose_resources_no_worker_can_give_says_which_and_what_to_do(
    cli: Cli,
    start: Start,
    drop: Drop,
    content: dict[str, object],
    why: Callable[..., list[dict[str, Any]]],
    eventually: Callable[..., object],
) -> None:
    drop("gpu", {**content, "resources": {"gpus": 2}}, tasks=["Long"])
    drop("big", {**content, "resources": {"memory": "900T"}, "outputDir": "runs/big"}, tasks=["Long"])
    cli("ready")
    start("work", "--resources", "gpus=1")
    eventually(lambda: first(why("gpu"))[0] == "no_worker_has")
    assert first(why("gpu"))[1] == (
        "no worker has gpus: 2 (the most that one has is 1); start one with: work --resources gpus=2"
    )
    assert why("gpu")[0]["resources"] == {"gpus": 2}
    kind, text = first(why("big"))
    assert kind == "no_worker_has"
    assert "memory: 900 TB" in text or "memory: 989.6 TB" in text
    assert "let the config ask for less" in text
    assert "no worker has gpus: 2" in cli("show", "gpu").stdout


@pytest.mark.slow
def test_a_run_that_lacks_a_resource_says_who_holds_it_and_the_next_one_whose_turn_it_is(
    cli: Cli,
    start: Start,
    drop: Drop,
    content: dict[str, object],
    why: Callable[..., list[dict[str, Any]]],
    eventually: Callable[..., object],
) -> None:
    drop("one", {**content, "resources": {"licence": 1}, "priority": 9}, tasks=["Long"])
    drop("two", {**content, "resources": {"licence": 2}, "outputDir": "runs/two"}, tasks=["Long"])
    drop(
        "three",
        {**content, "resources": {"licence": 1}, "outputDir": "runs/3", "priority": -1},
        tasks=["Long"],
    )
    cli("ready")
    start("work", "--workers", "2", "--resources", "licence=2")
    eventually(lambda: first(why("two"))[0] == "resources")
    found = why("two")[0]
    assert found["runs"] == ["runs/one"]
    assert found["resources"] == {"licence": 2}
    assert found["text"].startswith("needs licence: 2, of which 1 of 2 is free on ")
    assert found["text"].endswith("; held by runs/one")
    assert first(why("three")) == ("behind", "runs/two has its turn first, and waits for licence")


@pytest.mark.slow
def test_a_run_behind_busy_workers_and_one_between_two_tries_say_so(
    cli: Cli,
    start: Start,
    drop: Drop,
    content: dict[str, object],
    why: Callable[..., list[dict[str, Any]]],
    eventually: Callable[..., object],
) -> None:
    drop("later", {**content, "priority": 2}, tasks=["Later"])
    drop("bad", {**content, "priority": 3, "maxAttempts": 1, "outputDir": "runs/bad"}, tasks=["Bad"])
    drop("long", {**content, "priority": 1, "outputDir": "runs/long"}, tasks=["Long"])
    drop("next", {**content, "outputDir": "runs/next"}, tasks=["Long"])
    drop("last", {**content, "outputDir": "runs/last", "after": "bad"}, tasks=["Long"])
    cli("ready")
    start("work")
    eventually(lambda: first(why("next")) == ("busy", "the worker is busy"))
    kind, text = first(why("later"))
    assert kind == "delayed"
    assert text.startswith("waits until ")
    assert ", for try 2 of 3 of task later (" in text
    assert "the licence server is busy" in text
    assert first(why("last")) == (
        "after",
        "comes after runs/bad (failed: retry it, or this run will not start)",
    )


@pytest.mark.slow
def test_a_process_that_holds_the_lock_of_a_run_whose_worker_is_dead_is_named(
    cli: Cli,
    start: Start,
    drop: Drop,
    content: dict[str, object],
    why: Callable[..., list[dict[str, Any]]],
    eventually: Callable[..., object],
    workspace: Path,
) -> None:
    drop("a", content, tasks=["Long"])
    cli("ready")
    worker = start("work")
    eventually(lambda: "Long" in cli("show", "a").stdout and os.listdir(workspace / "Running"))
    eventually((workspace / "Output/runs/a/log.log").exists)
    servers = children_of(worker.pid)
    for pid in servers:
        os.kill(pid, signal.SIGSTOP)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    try:
        eventually(lambda: why("a") and first(why("a"))[0] == "lock")
        text = first(why("a"))[1]
        assert text.startswith("its worker is dead, but ")
        assert any(f"(process {pid})" in text for pid in servers)
    finally:
        for pid in servers:
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 60
    while os.path.exists(f"/proc/{servers[0]}") and time.monotonic() < end:
        time.sleep(0.05)


def children_of(pid: int) -> list[int]:
    """The processes that a process started."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            found += [int(child) for child in file.read().split()]
    return found
