"""House-keeping by the command line: what goes, what stays, what comes back, and what doctor says."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from job_orchestration.cli.main import main
from job_orchestration.workspace.layout import VARIABLE
from tests.faults.workspace_files import names, tree

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]
    Start = Callable[..., subprocess.Popen[str]]

SCORES = """
    from job_orchestration import TaskBase

    class Train(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            (self.context.resume_dir / "weights").write_bytes(bytes(10_000))
            self.context.store.save_text("x.txt", "kept")
            return {"accuracy": self.config["x"]}
"""


@pytest.fixture
def here(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs the command line in this process, which is quicker, and returns what it printed."""

    def run(*words: str, check: int = 0) -> str:
        monkeypatch.setenv(VARIABLE, str(workspace))
        capsys.readouterr()
        assert main(words) == check
        return "".join(capsys.readouterr())

    return run


def items_of(here: Callable[..., str], *words: str) -> dict[str, list[str]]:
    """What `gc` lists, by kind."""
    found: dict[str, list[str]] = {}
    for item in json.loads(here("gc", *words, "--json"))["items"]:
        assert list(item) == ["kind", "name", "bytes", "to"]
        found.setdefault(item["kind"], []).append(item["name"])
    return found


def test_the_best_and_the_last_stay_and_what_went_comes_back(
    cli: Cli,
    here: Callable[..., str],
    drop: Callable[..., Path],
    repository: Callable[..., Path],
    workspace: Path,
) -> None:
    top = str(repository(SCORES))
    for name, x in (("a", 0.1), ("b", 0.9), ("c", 0.2), ("d", 0.3)):
        drop(name, {"pathToTasks": top, "x": x, "tasks": [{"id": "train", "method": "Train"}]})
    cli("ready")
    cli("work", "--until-idle")
    before = tree(workspace)
    keep = ("--keep", "best:1:accuracy", "--keep", "lowest:1:train.accuracy", "--keep", "last:1")
    looked = items_of(here, *keep)
    assert tree(workspace) == before
    assert looked["run"] == ["runs/c"]
    assert sorted(looked["task checkpoints"]) == ["runs/a", "runs/b", "runs/d"]
    assert len(looked["snapshot"]) == 1
    said = here("gc", *keep)
    assert "Nothing was changed." in said
    assert json.loads(here("gc", *keep, "--older-than", "1h", "--json"))["bytes_to_trash"] == 0

    done = json.loads(cli("gc", *keep, "--yes", "--json").stdout)
    assert done["done"] is True
    assert done["refused"] == []
    assert done["bytes"] > 3 * 10_000
    assert names(workspace, "Completed") == ["a", "b", "d"]
    assert not (workspace / "Output/runs/c").exists()
    assert not (workspace / "Output/runs/a/.resume").exists()
    assert list((workspace / "Misc/snapshots").iterdir()) == []

    (entry,) = json.loads(here("restore", "--json"))
    assert (entry["run"], entry["config"]) == ("runs/c", "c")
    assert "runs/c: is back" in here("restore", "c")
    assert (workspace / "Output/runs/c/train/x.txt").read_text() == "kept"
    assert json.loads(here("show", "runs/c", "--json"))["place"] == "completed"
    assert "The trash is empty." in here("restore")

    drop("e", {"pathToTasks": top, "x": 1, "tasks": [{"id": "train", "method": "Train"}]})
    cli("ready")
    assert len(list((workspace / "Misc/snapshots").iterdir())) == 1  # it is made again
    assert "No completed run returned a number" in here("gc", "--keep", "best:1:acuracy", check=2)


@pytest.mark.slow
def test_gc_beside_a_worker_takes_nothing_that_it_works_in(
    cli: Cli,
    drop: Callable[..., Path],
    start: Start,
    eventually: Callable[..., object],
    here: Callable[..., str],
    workspace: Path,
    tmp_path: Path,
) -> None:
    gate = tmp_path / "gate"
    drop("quick")
    cli("ready")
    worker = start("work")
    eventually(lambda: names(workspace, "Completed") == ["quick"])
    drop("slow", {"gate": str(gate), "outputDir": "slow"}, tasks=["Waits"])
    cli("ready")
    eventually((workspace / "Output/slow/log.log").exists)
    done = json.loads(cli("gc", "--keep", "last:0", "--yes", "--json").stdout)
    assert [i["name"] for i in done["items"] if i["to"] == "trash"] == ["runs/quick"]
    gate.touch()
    eventually(lambda: names(workspace, "Completed") == ["slow"])
    # The run has ended; its worker keeps a host warm, which stands in the folder of the snapshot.
    assert "snapshot" not in items_of(here)
    drop("again")
    cli("ready")
    eventually(lambda: names(workspace, "Completed") == ["again", "slow"])
    worker.send_signal(signal.SIGINT)
    worker.communicate(timeout=60)
    assert len(items_of(here)["snapshot"]) == 1


def test_doctor_says_what_is_wrong_and_what_to_do_and_shows_no_home(
    cli: Cli,
    here: Callable[..., str],
    drop: Callable[..., Path],
    workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drop("a")
    drop("bad", "tasks: 5\n")
    cli("ready", check=3)
    (workspace / "ConfigsToRun/notes.txt").write_text("mine")
    (workspace / "ConfigsToRun/by_hand.yaml").write_text("tasks: []\n")
    (workspace / "workspace.yaml").write_text("seed: [\n")
    os.chmod(workspace / "Output", 0o777)
    secret = {"HOME": str(tmp_path), "MY_TOKEN": "s3cr3t"}
    monkeypatch.setenv("HOME", str(tmp_path))
    report = json.loads(here("doctor", "--json"))
    assert list(report) == ["version", "at", "counts", "findings"]
    assert all(list(f) == ["topic", "level", "what", "todo"] for f in report["findings"])
    assert report["counts"]["problem"] >= 2
    said = cli("doctor", env=secret).stdout
    for expected in (
        "ConfigsToRun/by_hand.yaml: This file was not readied",
        "ConfigsToRun/notes.txt",
        "These were refused: bad.yaml",
        "workspace.yaml:2:1: a value is missing here.",
        "Everybody may write to ~/workspace/Output, and so run code as you. chmod go-w it.",
        "A lock keeps a second holder out.",
        "A sync takes ",
        "Misc/code.git is sound; 1 snapshots.",
        "git ",
    ):
        assert expected in said, said
    assert str(tmp_path) not in said + json.dumps(report)
    assert "s3cr3t" not in said + json.dumps(report)
    assert not list((workspace / "Misc").glob(".doctor-*"))


def test_doctor_has_something_to_say_without_a_workspace(
    cli: Cli, here: Callable[..., str], tmp_path: Path
) -> None:
    assert "is not a workspace" in here("doctor", "--workspace", str(tmp_path))
    said = cli("doctor", env={VARIABLE: ""}).stdout
    assert "No workspace is given, and this folder lies in none." in said
    assert "Python 3." in said
