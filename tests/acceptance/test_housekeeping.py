"""House-keeping by the command line: what goes, what stays, what comes back, and what doctor says."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

from tests.faults.looking import names, tree

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


def items_of(cli: Cli, *words: str) -> dict[str, list[str]]:
    """What `gc` lists, by kind."""
    found: dict[str, list[str]] = {}
    for item in json.loads(cli("gc", *words, "--json").stdout)["items"]:
        assert list(item) == ["kind", "name", "bytes", "to"]
        found.setdefault(item["kind"], []).append(item["name"])
    return found


def test_the_best_and_the_last_stay_and_what_went_comes_back(
    cli: Cli, drop: Callable[..., Path], repository: Callable[..., Path], workspace: Path
) -> None:
    top = str(repository(SCORES))
    for name, x in (("a", 0.1), ("b", 0.9), ("c", 0.2), ("d", 0.3)):
        drop(name, {"pathToTasks": top, "x": x, "tasks": [{"id": "train", "method": "Train"}]})
    cli("ready")
    cli("work", "--until-idle")
    before = tree(workspace)
    keep = ("--keep", "best:1:accuracy", "--keep", "lowest:1:train.accuracy", "--keep", "last:1")
    looked = items_of(cli, *keep)
    assert tree(workspace) == before
    assert looked["run"] == ["runs/c"]
    assert sorted(looked["task checkpoints"]) == ["runs/a", "runs/b", "runs/d"]
    assert len(looked["snapshot"]) == 1
    said = cli("gc", *keep).stdout
    assert "Nothing was changed." in said
    assert json.loads(cli("gc", *keep, "--older-than", "1h", "--json").stdout)["bytes_to_trash"] == 0

    done = json.loads(cli("gc", *keep, "--yes", "--json").stdout)
    assert done["done"] is True
    assert done["refused"] == []
    assert done["bytes"] > 3 * 10_000
    assert names(workspace, "Completed") == ["a", "b", "d"]
    assert not (workspace / "Output/runs/c").exists()
    assert not (workspace / "Output/runs/a/.resume").exists()
    assert list((workspace / "Misc/snapshots").iterdir()) == []

    (entry,) = json.loads(cli("restore", "--json").stdout)
    assert (entry["run"], entry["config"]) == ("runs/c", "c")
    assert "runs/c: is back" in cli("restore", "c").stdout
    assert (workspace / "Output/runs/c/train/x.txt").read_text() == "kept"
    assert json.loads(cli("show", "runs/c", "--json").stdout)["place"] == "completed"
    assert "The trash is empty." in cli("restore").stdout

    drop("e", {"pathToTasks": top, "x": 1, "tasks": [{"id": "train", "method": "Train"}]})
    cli("ready")  # the snapshot that went is made again
    cli("work", "--until-idle")
    assert (
        "No completed run returned a number called acuracy"
        in cli("gc", "--keep", "best:1:acuracy", check=2).stderr
    )


def test_gc_beside_a_worker_takes_nothing_that_it_works_in(
    cli: Cli,
    drop: Callable[..., Path],
    start: Start,
    eventually: Callable[..., object],
    workspace: Path,
    tmp_path: Path,
) -> None:
    gate = tmp_path / "gate"
    drop("quick")
    drop("slow", {"gate": str(gate), "outputDir": "slow"}, tasks=["Waits"])
    cli("ready")
    worker = start("work")
    eventually(lambda: names(workspace, "Completed") == ["quick"])
    eventually((workspace / "Output/slow/log.log").exists)
    done = json.loads(cli("gc", "--keep", "last:0", "--yes", "--json").stdout)
    assert [i["name"] for i in done["items"] if i["to"] == "trash"] == ["runs/quick"]
    gate.touch()
    eventually(lambda: names(workspace, "Completed") == ["slow"])
    # The run has ended; its worker keeps a host warm, which stands in the folder of the snapshot.
    assert "snapshot" not in items_of(cli)
    drop("again")
    cli("ready")
    eventually(lambda: names(workspace, "Completed") == ["again", "slow"])
    worker.send_signal(signal.SIGINT)
    worker.communicate(timeout=60)
    assert len(items_of(cli)["snapshot"]) == 1


def test_doctor_says_what_is_wrong_and_what_to_do_and_shows_no_home(
    cli: Cli, drop: Callable[..., Path], workspace: Path, tmp_path: Path
) -> None:
    drop("a")
    drop("bad", "tasks: 5\n")
    cli("ready", check=3)
    (workspace / "ConfigsToRun/notes.txt").write_text("mine")
    (workspace / "ConfigsToRun/by_hand.yaml").write_text("tasks: []\n")
    (workspace / "workspace.yaml").write_text("seed: [\n")
    os.chmod(workspace / "Output", 0o777)
    secret = {"HOME": str(tmp_path), "MY_TOKEN": "s3cr3t"}
    report = json.loads(cli("doctor", "--json", env=secret).stdout)
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


def test_doctor_has_something_to_say_without_a_workspace(cli: Cli, tmp_path: Path) -> None:
    assert "is not a workspace" in cli("doctor", "--workspace", str(tmp_path)).stdout
    said = cli("doctor", env={"JOB_ORCHESTRATION_WORKSPACE": ""}).stdout
    assert "No workspace is named." in said
    assert "Python 3." in said
