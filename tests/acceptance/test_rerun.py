"""A run is repeated as a new run: in its recorded code, config and seed, or with changes. `rerun`."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]

TASKS = """
import random

from job_orchestration import TaskBase


class Draw(TaskBase):
    def __init__(self, config):
        self.config = config

    def validate(self):
        return [] if self.config.get("scale", 1) > 0 else ["scale must be positive"]

    def run(self):
        print("LONG WORK of", self.config["id"])
        value = VERSION * self.config.get("scale", 1) * random.random()
        self.context.store.save_json("drawn.json", {"value": value})
        return {"value": value, "version": VERSION}


class Report(Draw):
    def run(self):
        print("LONG WORK of", self.config["id"])
        return {"twice": 2 * self.context.result_of("draw")["value"], "version": VERSION}
"""


class Project:
    """A repository whose tasks draw a number, in three versions."""

    def __init__(self, folder: Path, git: Callable[..., str]) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        self._git = git
        self.git("init", "--quiet", "--initial-branch=main")
        self.commits = [self.commit(version) for version in (1, 2, 3)]

    def git(self, *words: str) -> str:
        return self._git(self.folder, *words)

    def commit(self, version: int) -> str:
        (self.folder / "Tasks.py").write_text(f"VERSION = {version}\n{TASKS}")
        self.git("add", "--all")
        self.git("commit", "--quiet", f"--message=version {version}")
        return self.git("rev-parse", "HEAD")

    def digest(self) -> str:
        """A hash of every file of the repository and its work tree, with rights and times."""
        found = hashlib.sha256()
        for path in sorted(self.folder.rglob("*")):
            status = path.lstat()
            found.update(f"{path} {status.st_mode} {status.st_mtime_ns}".encode())
            found.update(path.read_bytes() if path.is_file() else b"")
        return found.hexdigest()


@pytest.fixture
def project(tmp_path: Path, git: Callable[..., str]) -> Project:
    return Project(tmp_path, git)


@pytest.fixture
def complete(project: Project, cli: Cli, drop: Callable[..., Path]) -> Callable[..., None]:
    """Queues a run of the two tasks and completes it."""

    def make(name: str = "a", **values: object) -> None:
        tasks = [{"id": method.lower(), "method": method} for method in ("Draw", "Report")]
        drop(name, {"pathToTasks": str(project.folder), "tasks": tasks, **values})
        cli("ready")
        cli("work", "--until-idle")

    return make


def shown(cli: Cli, run: str) -> dict[str, Any]:
    return json.loads(cli("show", run, "--json").stdout)


def results(cli: Cli, run: str) -> list[Any]:
    return [task["result"] for task in shown(cli, run)["tasks"]]


def test_a_rerun_is_a_new_run_in_the_recorded_code_config_and_seed(
    cli: Cli, project: Project, complete: Callable[..., None], workspace: Path
) -> None:
    complete(scale=3)
    before = project.digest()
    original = {p: p.read_bytes() for p in (workspace / "Output/runs/a").rglob("*") if p.is_file()}
    project.commit(4)
    shutil.rmtree(project.folder)
    said = cli("rerun", "runs/a")
    commit, seed = project.commits[2], shown(cli, "runs/a")["provenance"]["seed"]
    assert said.stdout == (
        f"runs/a-rerun: is queued, a rerun of runs/a in commit {commit[:12]}, seed {seed}\n"
    )
    cli("work", "--until-idle")
    assert results(cli, "runs/a-rerun") == results(cli, "runs/a")
    new = shown(cli, "runs/a-rerun")
    assert (new["place"], new["commit"]) == ("completed", commit)
    assert new["provenance"]["rerun_of"] == "runs/a"
    assert (new["provenance"]["seed"], new["provenance"]["commit"]) == (seed, commit)
    first = (workspace / "Output/runs/a-rerun/journal/000000.jsonl").read_text()
    assert json.loads(first)["rerun_of"] == "runs/a"
    assert {p: p.read_bytes() for p in original} == original, "the original is as it was"
    again = json.loads(cli("rerun", "a", "--json").stdout)
    assert [new["run"] for new in again["runs"]] == ["runs/a-rerun-2"]
    assert before
    assert not list((workspace / "ConfigSources").iterdir())


def test_a_rerun_runs_in_another_commit_and_with_other_values(
    cli: Cli, project: Project, complete: Callable[..., None]
) -> None:
    complete(scale=3, seed=5)
    before = project.digest()
    one, two, _ = project.commits
    cli("rerun", "a", "--commit", one)
    cli("rerun", "a", "--commit", "HEAD~1", "--set", "draw.scale=4", "--set", "note=new")
    cli("rerun", "a", "--set", "seed=6")
    cli("work", "--until-idle")
    assert project.digest() == before, "neither the repository nor its work tree was changed"
    value = results(cli, "runs/a")[0]["value"]
    first, second, third = (results(cli, f"runs/a-rerun{n}") for n in ("", "-2", "-3"))
    assert [r[0]["version"] for r in (first, second, third)] == [1, 2, 3]
    assert first[0]["value"] == pytest.approx(value / 3)
    assert second[0]["value"] == pytest.approx(value / 3 / 3 * 2 * 4)
    assert third[0]["value"] != value
    found = shown(cli, "runs/a-rerun-2")
    assert (found["commit"], found["parameters"]["note"]) == (two, "new")
    assert shown(cli, "runs/a-rerun-3")["provenance"]["seed"] == 6


def test_a_commit_in_the_history_of_a_recorded_one_runs_though_its_repository_is_gone(
    cli: Cli, project: Project, complete: Callable[..., None]
) -> None:
    complete()
    one, two, _ = project.commits
    shutil.rmtree(project.folder)
    cli("rerun", "a", "--commit", one)
    cli("rerun", "a", "--commit", two[:10])
    cli("work", "--until-idle")
    assert [results(cli, run)[0]["version"] for run in ("a-rerun", "a-rerun-2")] == [1, 2]
    for revision in ("HEAD", "main", "0" * 40, "--output=x"):
        said = cli("rerun", "a", f"--commit={revision}", check=3)
        assert "a.yaml: " in said.stdout, revision


def test_what_cannot_be_rerun_is_refused_with_the_reason(
    cli: Cli, project: Project, complete: Callable[..., None], drop: Callable[..., Path], workspace: Path
) -> None:
    complete()
    drop("b", {"pathToTasks": str(project.folder), "tasks": [{"id": "draw", "method": "Draw"}]})
    cli("ready")
    refusals = {
        ("b",): "has not ended: it is waiting",
        ("a", "--set", "scale=-1"): "scale must be positive",
        ("a", "--set", "outputDir=x"): "outputDir cannot change",
        ("a", "--set", "maxAttempts=many"): "maxAttempts",
        ("a", "--set", "nothing.scale=2"): "no task nothing",
    }
    for words, sentence in refusals.items():
        said = cli("rerun", *words, check=3)
        assert sentence in said.stdout, words
    assert "No run is named" in cli("rerun", check=2).stderr
    assert not list((workspace / "Output/runs").glob("*-rerun*"))
    assert "would be queued" in cli("rerun", "a", "--dry-run").stdout
    assert not list((workspace / "Output/runs").glob("*-rerun*"))


def test_globs_and_filters_choose_several_runs(
    cli: Cli, complete: Callable[..., None], workspace: Path
) -> None:
    for name in ("a", "b", "c"):
        complete(name, scale=ord(name))
    said = json.loads(cli("rerun", "runs/*", "--filter", "scale > 97", "--json").stdout)
    assert [new["run"] for new in said["runs"]] == ["runs/b-rerun", "runs/c-rerun"]
    assert sorted(p.name for p in (workspace / "ConfigsToRun").iterdir()) == [
        "b-rerun.yaml",
        "c-rerun.yaml",
    ]
