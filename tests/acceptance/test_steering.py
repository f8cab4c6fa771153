"""Steering runs by the command line, as a person or a script does it."""

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

TASKS = """
    import os, signal, subprocess, sys, time
    from pathlib import Path

    from job_orchestration import TaskBase


    class Quick(TaskBase):
        def __init__(self, config):
            pass

        def run(self):
            return "done"


    class Stubborn(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            if Path(self.config["tame"]).exists():
                return "tame"
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
            subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
            Path(self.config["tame"]).with_name("started").touch()
            time.sleep(600)
"""


def marked(workspace: Path, run: str) -> list[int]:
    """The processes that carry a run's name."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                variables = file.read().split(b"\0")
        except OSError:
            continue
        here = f"JOB_ORCHESTRATION_WORKSPACE={workspace}".encode() in variables
        if here and any(v.startswith(f"JOB_ORCHESTRATION_RUN={run}#".encode()) for v in variables):
            found.append(int(name))
    return found


@pytest.mark.seed_fault("B-JO-29")
def test_a_run_is_cancelled_and_nothing_of_it_is_left_and_retry_brings_it_back(
    cli: Callable[..., subprocess.CompletedProcess[str]],
    start: Callable[..., subprocess.Popen[str]],
    drop: Callable[..., Path],
    repository: Callable[..., Path],
    eventually: Callable[..., object],
    workspace: Path,
    tmp_path: Path,
) -> None:
    content: dict[str, object] = {"pathToTasks": str(repository(TASKS)), "tame": str(tmp_path / "tame")}
    drop("a", content, tasks=["Quick", "Stubborn"])
    cli("ready")
    worker = start("work")
    eventually((tmp_path / "started").exists)
    assert marked(workspace, "runs/a")
    began = time.monotonic()
    reported = json.loads(cli("cancel", "a", "--json").stdout)
    assert time.monotonic() - began < 5 + 2, "five seconds, and what it takes to start a command here"
    assert reported == {"runs": ["runs/a"], "asked": [], "searches": [], "refused": []}
    assert not marked(workspace, "runs/a")
    (run,) = json.loads(cli("status", "--json").stdout)["runs"]
    assert (run["place"], run["outcome"], run["task"]) == ("failed", "cancelled", "stubborn")
    assert run["error"] == "cancelled on request"
    tasks = json.loads(cli("show", "a", "--json").stdout)["tasks"]
    assert [t["status"] for t in tasks] == ["finished", "waiting"], "it is no failed try"
    assert not list((workspace / "Misc" / "cancel").iterdir())
    assert "has ended already: it is failed" in cli("cancel", "a", check=3).stdout
    (tmp_path / "tame").touch()
    assert "waits to go on from its checkpoint" in cli("retry", "a").stdout
    eventually(lambda: os.listdir(workspace / "Completed") == ["a.yaml"])
    worker.send_signal(signal.SIGTERM)
    said, _ = worker.communicate(timeout=60)
    assert "runs/a: cancelled" in said
    assert said.count("task quick") == 1, "its checkpoint counted"


def test_what_waits_is_held_released_and_cancelled(
    cli: Callable[..., subprocess.CompletedProcess[str]], drop: Callable[..., Path], workspace: Path
) -> None:
    drop("a")
    drop("b", {"after": "a", "outputDir": "runs/b"})
    cli("ready")
    assert json.loads(cli("hold", "a", "--json").stdout) == {"runs": ["runs/a"], "refused": []}
    found: dict[str, Any] = json.loads(cli("status", "--json").stdout)
    assert (found["counts"]["held"], found["counts"]["to_run"]) == (1, 1)
    assert {r["config"]: r["waits_for"] for r in found["runs"]} == {"a": [], "b": ["runs/a (held)"]}
    assert cli("release", "a").stdout == "runs/a: released; it waits\n"
    said = cli("cancel", "a", "runs/b").stdout
    assert sorted(said.splitlines()) == ["runs/a: cancelled", "runs/b: cancelled"]
    assert cli("retry").stdout == (
        "No run has failed.\nCancelled or pruned runs: 2. Retry them with: --status cancelled\n"
    )
    assert "runs/b: " in cli("retry", "b").stdout
    said = cli("cancel", "a", "b", check=3).stdout
    assert sorted(said.splitlines()) == [
        "a: has ended already: it is failed. There is nothing to cancel.",
        "runs/b: cancelled",
    ], "what can be done is done"
    assert sorted(os.listdir(workspace / "Failed")) == ["a.yaml", "b.yaml"]
    done = json.loads(cli("retry", "--fresh", "a", "--json").stdout)
    assert done == {"runs": ["runs/a"], "refused": []}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cancel"], "No run is named. Name some"),
        (["hold", "nothing"], "There is no run nothing"),
        (["retry", "--fresh", "--from", "quick"], "contradict each other"),
        (["work", "--resources", "gpus"], "is not a list such as gpus=2"),
        (["work", "--resources", "gpus=two"], "is not a list such as gpus=2"),
        (["work", "--pool", "../x"], "is not a name"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_what_makes_no_sense_is_a_usage_error_in_one_line(
    cli: Callable[..., subprocess.CompletedProcess[str]], words: list[str], said: str
) -> None:
    done = cli(*words, check=2)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
