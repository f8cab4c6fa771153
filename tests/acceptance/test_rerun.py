"""A run is repeated as a new run: in its recorded code, config and seed, or with changes. `rerun`."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ROOT

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_rerun_runs_in_another_commit_and_with_other_values(
    cli: Cli, project: Project, complete: Callable[..., None]
) -> None:
    complete(scale=3, seed=5, model={"layers": 2, "head": {"width": 8, "depth": 1}})
    before = project.digest()
    one, two, _ = project.commits
    cli("rerun", "a", "--commit", one)
    cli(
        "rerun",
        "a",
        "--commit",
        "HEAD~1",
        "--set",
        "draw.scale=4",
        "--set",
        "note=new",
        "--set=model.head.width=9",
    )
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
    assert {k: v for k, v in found["parameters"].items() if k.startswith("model.")} == {
        "model.layers": 2,
        "model.head.width": 9,
        "model.head.depth": 1,
    }
    assert (found["commit"], found["parameters"]["note"]) == (two, "new")
    assert shown(cli, "runs/a-rerun-3")["provenance"]["seed"] == 6


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_rerun_from_a_task_takes_the_checkpoints_before_it(
    cli: Cli, project: Project, complete: Callable[..., None], workspace: Path
) -> None:
    complete(scale=3)
    original = {p: p.read_bytes() for p in (workspace / "Output/runs/a").rglob("*") if p.is_file()}
    assert "a has no task nothing" in cli("rerun", "a", "--from", "nothing", check=2).stderr
    assert "does not run again" in cli("rerun", "a", "--from=report", "--set=draw.scale=2", check=3).stdout
    cli("rerun", "a", "--from", "report", "--set", "report.note=new")
    cli("work", "--until-idle")
    log = (workspace / "Output/runs/a-rerun/log.log").read_text()
    assert [log.count(f"LONG WORK of {task}") for task in ("draw", "report")] == [0, 1]
    tasks = shown(cli, "runs/a-rerun")["tasks"]
    assert [t["result"] for t in tasks] == results(cli, "runs/a")
    assert [o["path"] for o in tasks[0]["outputs"]] == ["draw/drawn.json"]
    copied = workspace / "Output/runs/a-rerun/draw/drawn.json"
    assert copied.read_bytes() == (workspace / "Output/runs/a/draw/drawn.json").read_bytes()
    copied.write_text("changed")
    assert {p: p.read_bytes() for p in original} == original, "the original does not change with its copy"
    (workspace / "Output/runs/a/draw/drawn.json").write_text("{}")
    refused = cli("rerun", "a", "--from", "report", check=3)
    assert "draw/drawn.json has another size" in refused.stdout
    assert not (workspace / "Output/runs/a-rerun-2").exists()


@pytest.mark.slow
def test_others_can_queue_runs_while_checkpoints_are_copied_and_a_kill_leaves_no_half_of_one(
    cli: Cli, complete: Callable[..., None], workspace: Path, tmp_path: Path
) -> None:
    complete()
    killer = tmp_path / "sitecustomize.py"
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    killer.write_text(
        "import os, signal, sys\n"
        "from job_orchestration.runs import checkpoint_copies, opening\n"
        "from job_orchestration.workspace import layout\n"
        "copy = checkpoint_copies._copy\n"
        "def die(*arguments, **options):\n"
        "    copy(*arguments, **options)\n"
        f"    with opening.only_one(layout.locate({str(workspace)!r}), wait=False):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "if 'rerun' in sys.argv:\n"
        "    checkpoint_copies._copy = die\n"
    )
    cli("rerun", "a", "--from", "report", check=-9, env={"PYTHONPATH": path})
    (left,) = (workspace / "Misc/submitted").iterdir()
    assert [p.name for p in left.rglob("*") if p.is_file()] == ["drawn.json"]
    os.utime(left, (1, 1))
    for operation in ("link", "rename", "write_new"):
        killer.write_text(
            "import os, signal, sys\n"
            "if 'rerun' in sys.argv:\n"
            "    from job_orchestration.workspace import durable\n"
            f"    real = durable.{operation}\n"
            "    def die(*arguments, **options):\n"
            "        if any('a-rerun' in str(a) for a in arguments):\n"
            "            os.kill(os.getpid(), signal.SIGKILL)\n"
            "        return real(*arguments, **options)\n"
            f"    durable.{operation} = die\n"
        )
        cli("rerun", "a", "--from", "report", check=-9, env={"PYTHONPATH": path})
        cli("ready")
        assert not (workspace / "Output/runs/a-rerun").exists(), operation
        assert not list((workspace / "ConfigsToRun").iterdir()), operation
    assert left.exists() is False
    for path_left in (workspace / "Misc/submitted").iterdir():
        os.utime(path_left, (1, 1))
    cli("rerun", "a", "--from", "report")
    cli("work", "--until-idle")
    assert results(cli, "runs/a-rerun") == results(cli, "runs/a")
    assert not list((workspace / "Misc/submitted").iterdir())


@pytest.mark.slow
def test_verify_says_whether_a_rerun_is_identical_equal_or_different(
    cli: Cli, complete: Callable[..., None], workspace: Path
) -> None:
    complete()
    said = cli("rerun", "a", "--verify", "--here")
    assert "LONG WORK of draw" in said.stdout
    assert "runs/a-rerun: identical to runs/a, 3 results and files compared" in said.stdout
    saved = workspace / "Output/runs/a-rerun/draw/drawn.json"
    value = json.loads(saved.read_text())["value"]
    saved.write_text(json.dumps({"value": value * (1 + 1e-12)}))
    found = json.loads(cli("verify", "a-rerun", "--json").stdout)["verified"][0]
    assert (found["verdict"], found["equal"], found["identical"]) == ("equal", 1, 2)
    assert found["compared"][-1]["first"][0]["where"] == "value"
    assert cli("verify", "a-rerun", "--rtol", "1e-15", check=1).stdout.count("draw/drawn.json") == 1
    said = cli(
        "rerun", "a", "--verify", "--here", "--set", "report.scale=2", "--set", "draw.scale=2", check=1
    )
    assert "runs/a-rerun-2: different from runs/a" in said.stdout
    assert "draw: result (structure), 1 place" in said.stdout
    assert "is no rerun" in cli("verify", "runs/a", check=3).stdout
    cli("verify", "runs/a", "--against", "runs/a-rerun", "--rtol", "1e-9")
    for run, other in (("a", "a-rerun-2"), ("a-rerun-2", "a")):
        record = workspace / "Output/runs" / run / ".verifications" / f"runs%2F{other}.json"
        assert json.loads(record.read_text())["verdict"] == "different"


@pytest.mark.slow
def test_a_difference_that_nothing_recorded_explains_names_generators_without_a_seed(
    cli: Cli, project: Project, complete: Callable[..., None]
) -> None:
    path = project.folder / "Tasks.py"
    path.write_text(path.read_text().replace("random.random()", "random.Random().random()"))
    project.git("commit", "--quiet", "--all", "--message=unseeded")
    line = 1 + next(n for n, line in enumerate(path.read_text().splitlines()) if "Random()" in line)
    complete()
    said = cli("rerun", "a", "--verify", "--here", check=1).stdout
    reason = f"    Tasks.py:{line}: random.Random()\n  Give it a seed: self.context.seed is the run's.\n"
    assert f"Likely, this draws other numbers each time:\n{reason}" in said
    (record,) = shown(cli, "runs/a-rerun")["verifications"]
    assert record["unseeded"] == [{"path": "Tasks.py", "line": line, "call": "random.Random()"}]
    assert f"Tasks.py:{line}: random.Random()" in cli("show", "runs/a").stdout
    said = cli("rerun", "a", "--verify", "--here", "--set", "scale=2", check=1).stdout
    assert "Random()" not in said, "the other scale explains it"


@pytest.mark.slow
def test_a_worker_verifies_a_rerun_for_which_no_command_waits(
    cli: Cli,
    start: Callable[..., subprocess.Popen[str]],
    complete: Callable[..., None],
    workspace: Path,
    eventually: Callable[..., object],
) -> None:
    complete()
    waiting = start("rerun", "a", "--verify")
    eventually(lambda: list((workspace / "ConfigsToRun").iterdir()))
    waiting.kill()
    waiting.wait()
    said = cli("work", "--until-idle").stdout
    assert "runs/a-rerun: verified: the results are those of its original" in said
    waiting = start("rerun", "a", "--verify")
    eventually(lambda: list((workspace / "ConfigsToRun").iterdir()))
    cli("work", "--until-idle")
    assert waiting.wait() == 0
    assert "runs/a-rerun-2: identical to runs/a" in str(waiting.communicate()[0])


def test_what_is_not_as_it_was_is_listed_and_refused_with_strict(
    cli: Cli, complete: Callable[..., None], workspace: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.txt"
    data.write_text("one")
    complete(inputs=[str(data)])
    same = json.loads(cli("rerun", "a", "--dry-run", "--strict", "--json").stdout)
    assert same["runs"][0]["differences"] == []
    data.write_text("two")
    assert f"    input {data} " in cli("rerun", "a", "--dry-run").stdout
    data.write_text("one")
    changed = {"OMP_NUM_THREADS": "3"}
    said = cli("rerun", "a", "--dry-run", env=changed).stdout
    assert "  not as it was:\n    variable OMP_NUM_THREADS (absent) → 3" in said
    refused = cli("rerun", "a", "--strict", env=changed, check=3).stdout
    assert "not everything is as it was: variable OMP_NUM_THREADS" in refused
    (packages,) = (workspace / "Misc/packages").iterdir()
    recorded = json.loads(packages.read_text())
    recorded["pyyaml"], recorded["gone"] = "5.0", "1.0"
    packages.write_text(json.dumps(recorded))
    found = json.loads(cli("rerun", "a", "--dry-run", "--json").stdout)["runs"][0]["differences"]
    assert sorted((d["kind"], d["name"], d["before"]) for d in found) == [
        ("package", "gone", "1.0"),
        ("package", "pyyaml", "5.0"),
    ]


@pytest.mark.slow
def test_verdicts_stand_in_show_and_in_a_column_of_status(cli: Cli, complete: Callable[..., None]) -> None:
    complete()
    assert "verified" not in cli("status").stdout
    cli("rerun", "a", "--verify", "--here")
    cli("rerun", "a", "--verify", "--here", "--set", "scale=2", check=1)
    rows = [line.split() for line in cli("status").stdout.splitlines() if "runs/a" in line]
    assert {row[1]: row[-1] for row in rows} == {
        "runs/a": "different",
        "runs/a-rerun": "identical",
        "runs/a-rerun-2": "different",
    }
    for run, lines in {"runs/a": 2, "runs/a-rerun": 1, "runs/a-rerun-2": 1}.items():
        found = shown(cli, run)
        assert (len(found["verifications"]), found["verdict"]) == (lines, {r[1]: r[-1] for r in rows}[run])
    assert shown(cli, "runs/a-rerun")["rerun_of"] == "runs/a"
    assert "rerun of  runs/a" in cli("show", "runs/a-rerun").stdout
    assert "runs/a-rerun-2: different from runs/a" in cli("show", "runs/a").stdout
