"""Workspaces of other releases: a newer format is refused untouched, this one's stays readable for ever.

``fixtures/workspace_format_1`` was made by the release that brought format 1 (by
``fixtures/make_workspace.py``). It is never made anew: whatever a later release changes has to open it.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from job_orchestration import clientUtils
from job_orchestration.cli import command_table
from job_orchestration.cli.main import main
from job_orchestration.runs.state import Status
from job_orchestration.workspace.layout import VARIABLE
from tests.faults.workspace_files import events, names, tree

if TYPE_CHECKING:
    from job_orchestration.StatusTracker import StatusTracker

FIXTURE = Path(__file__).parent.parent / "fixtures" / "workspace_format_1"
WORDS = {
    **dict.fromkeys(("logs", "show", "diff", "debug", "cancel", "hold", "release", "code"), ("a",)),
    **dict.fromkeys(("work", "up"), ("--until-idle",)),
    "bisect": ("a", "b", "--metric", "a.score"),
    "submit": ("a.yaml",),
    "run": ("json.dumps", "1"),
    "selftest": ("1",),
    "export": ("a", "--to", "never"),
    "import": ("never",),
    "geneplexus": ("summary", "a"),
}
"""What the commands need besides their names."""


# -- a newer one ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [b"2\n", b"99", b"1.5\n", b"one\n", b"", b"\xff\xfe", "²".encode()])
def test_a_workspace_of_an_unknown_format_is_refused_in_one_line(workspace, monkeypatch, capsys, version):
    (workspace / "Misc" / "VERSION").write_bytes(version)
    monkeypatch.setenv(VARIABLE, str(workspace))
    assert main(["status"]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert str(workspace) in line


@pytest.mark.parametrize(
    "command", [a.name for a in command_table.COMMANDS if a.name not in {"doctor", "schema", "completion"}]
)
def test_a_newer_workspace_is_left_untouched_by_every_command(workspace, monkeypatch, capsys, command):
    shutil.rmtree(workspace / "Running")  # a command that repairs the folder would restore it
    (workspace / "Misc" / "VERSION").write_text("2\n")
    (workspace / "ConfigSources" / "a.yaml").write_text("outputDir: a\n")
    before = tree(workspace)
    monkeypatch.setenv(VARIABLE, str(workspace))
    assert main([command, *WORDS.get(command, [])]) == 4
    captured = capsys.readouterr()
    assert captured.err == (
        f"{workspace} has workspace format '2'; this release knows formats up to 1. "
        "Install the newer job_orchestration that made it.\n"
    )
    assert tree(workspace) == before


def test_doctor_tells_of_a_newer_workspace_and_leaves_it_untouched(workspace, monkeypatch, capsys):
    (workspace / "Misc" / "VERSION").write_text("2\n")
    before = tree(workspace)
    monkeypatch.setenv(VARIABLE, str(workspace))
    assert main(["doctor"]) == 0
    assert "has workspace format '2'; this release knows formats up to 1." in capsys.readouterr().out
    assert tree(workspace) == before


# -- this one ------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A copy of the workspace as it was committed; git keeps no empty folders."""
    root = tmp_path / "kept"
    shutil.copytree(FIXTURE / "workspace", root)
    monkeypatch.setenv(VARIABLE, str(root))
    return root


@pytest.fixture
def old(kept, environment):
    """The environment of processes that work on the copy: its tasks can be imported."""
    path = os.pathsep.join([str(FIXTURE / "tasks"), environment["PYTHONPATH"]])
    return {VARIABLE: str(kept), "PYTHONPATH": path}


def test_format_1_is_shown_as_it_was_and_looking_changes_nothing(kept, capsys):
    before = tree(kept)
    assert main(["status", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    runs = {r["run"] or r["config"]: r for r in status["runs"]}
    assert {name: r["place"] for name, r in runs.items()} == {
        "nested/done": "completed",
        "requeued": "completed",
        "failed": "failed",
        "delayed": "to_run",
        "waiting": "to_run",
        "interrupted": runs["interrupted"]["place"],
        "refused": "sources",
    }
    assert runs["interrupted"]["place"] in {"interrupted", "running"}  # of another host one cannot know
    assert runs["failed"]["error"] == "ValueError: the gate is closed"
    assert (runs["requeued"]["attempt"], runs["failed"]["attempt"]) == (3, 1)
    assert runs["delayed"]["task"] == runs["interrupted"]["task"] == "report"
    assert "the folder '..' begins with a '.'" in runs["refused"]["error"]
    assert tree(kept) == before


@pytest.mark.parametrize("run", ["done", "requeued", "failed", "delayed", "interrupted", "waiting"])
def test_every_run_of_format_1_can_be_shown(kept, capsys, run):
    before = tree(kept)
    assert main(["show", run, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [t["id"] for t in shown["tasks"]] == ["measure", "report"]
    assert shown["provenance"]["packages"]
    measured = shown["tasks"][0]
    if run == "waiting":
        assert measured["status"] == "waiting"
    else:
        assert measured["status"] == "finished"
        assert measured["result"] == {"mean": 2.5, "genes": ["BBS1", "BBS2"]}
        assert [o["path"] for o in measured["outputs"]] == ["measure/measured.json", "measure/raw/counts.bin"]
        assert main(["logs", run]) == 0
        assert "measuring ['BBS1', 'BBS2']" in capsys.readouterr().out
    assert tree(kept) == before


def test_the_first_releases_readers_read_format_1_too(kept):
    def is_complete(tracker: StatusTracker) -> bool:
        return tracker.status is Status.COMPLETE and tracker.current_task == "report"

    before = tree(kept)
    assert clientUtils.getResults("measured.json") == [{"genes": ["BBS1", "BBS2"]}] * 5
    assert len(clientUtils.getResults("measured.json", statusFilter=is_complete)) == 2
    assert tree(kept) == before


def test_a_worker_goes_on_with_the_runs_of_format_1(cli, old, kept):
    def untouched() -> dict[str, object]:
        runs = {run: tree(kept / "Output" / run) for run in ("nested/done", "requeued", "failed")}
        return {**runs, "Failed": tree(kept / "Failed"), "Sources": tree(kept / "ConfigSources")}

    before = untouched()
    (kept / "gate").touch()
    cli("work", "--until-idle", env=old)
    assert names(kept, "Completed") == ["delayed", "done", "interrupted", "requeued", "waiting"]
    assert names(kept, "Running") == names(kept, "ConfigsToRun") == []
    assert untouched() == before
    for run, attempts in (("delayed", 1), ("interrupted", 1), ("waiting", 0)):
        measured = events(kept, run, "task_finished")
        assert [e["task"] for e in measured] == ["measure", "report"], "a finished task never runs again"
        assert measured[1]["result"]["measured"] == measured[0]["result"]
        assert events(kept, run, "claimed")[-1]["attempt"] > attempts
        assert (kept / "Output" / run / "report.txt").read_text() == "2.5\n"


def test_a_failed_run_of_format_1_can_be_retried_and_a_new_config_queued(cli, old, kept):
    (kept / "gate").touch()
    for waiting in (*(kept / "ConfigsToRun").iterdir(), *(kept / "Running").iterdir()):
        waiting.unlink()
    mended = 'outputDir: "{name}"\ngenes: [X]\ntasks: [{id: measure, method: "fixture_tasks:Measure"}]\n'
    (kept / "ConfigSources" / "refused.yaml").write_text(mended)
    cli("ready", env=old)
    cli("retry", "failed", env=old)
    cli("work", "--until-idle", env=old)
    assert names(kept, "Completed") == ["done", "failed", "refused", "requeued"]
    assert [e["task"] for e in events(kept, "failed", "task_finished")] == ["measure", "report"]
    assert not list((kept / "ConfigSources").iterdir())


def test_the_fixture_tells_nothing_of_the_machine_that_made_it():
    for path in FIXTURE.rglob("*"):
        if path.is_file() and path.parent.name != "__pycache__":
            text = path.read_bytes().decode("utf-8", "replace")
            assert str(Path(__file__).parents[2]) not in text, path
