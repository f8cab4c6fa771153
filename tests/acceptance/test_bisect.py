"""`bisect`: the commit that moved a metric is found by reruns, through the command line on real histories."""

from __future__ import annotations

import json
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]
    Git = Callable[..., str]

TASKS = """
import random
from pathlib import Path

from job_orchestration import TaskBase


class Train(TaskBase):
    def validate(self):
        return ["this version cannot run"] if MODE == "refuses" else []

    def run(self):
        with open(self.config["started"], "a") as file:
            file.write(f"{NUMBER}\\n")
        if MODE == "fails":
            raise ValueError("as the test asked")
        glitch = 0.3 if Path(self.config["started"] + ".glitch").exists() else 0
        return {"loss": LOSS * self.config["scale"] + glitch + random.random() / 1000}
"""


class Project:
    """A repository with a commit for each number, and runs of some of them."""

    def __init__(self, folder: Path, git: Git, cli: Cli, drop: Callable[..., Path]) -> None:
        self.top = folder / "project"
        self.top.mkdir()
        self.started = folder / "started"
        self.git: Git = lambda *words: git(self.top, *words)
        self._cli, self._drop = cli, drop
        self.git("init", "--quiet", "--initial-branch=main")
        self.commits: list[str] = []

    def commit(self, loss: float, mode: str = "runs") -> str:
        number = len(self.commits)
        head = f"NUMBER, LOSS, MODE = {number}, {loss}, {mode!r}\n"
        (self.top / "Tasks.py").write_text(head + TASKS)
        self.git("add", "--all")
        self.git("commit", "--quiet", f"--message=number {number}")
        self.commits.append(self.git("rev-parse", "HEAD"))
        return self.commits[-1]

    def queue(self, name: str, **values: object) -> None:
        tasks = [{"id": "train", "method": "Train"}]
        content = {"pathToTasks": str(self.top), "outputDir": name, "scale": 1, "seed": 1, "tasks": tasks}
        self._drop(name, {**content, "maxAttempts": 1, "started": str(self.started), **values})
        self._cli("ready")

    def complete(self) -> None:
        """Completes what is queued, and forgets which commits ran."""
        self._cli("work", "--until-idle")
        self.started.unlink(missing_ok=True)

    def numbers_run(self) -> list[int]:
        """The numbers of the commits whose task was started since the last run."""
        return [int(line) for line in self.started.read_text().split()] if self.started.exists() else []


@pytest.fixture
def project(tmp_path: Path, git: Git, cli: Cli, drop: Callable[..., Path]) -> Project:
    return Project(tmp_path, git, cli, drop)


def bisected(cli: Cli, *words: str, check: int | None = 0) -> dict[str, Any]:
    return json.loads(
        cli("bisect", "old", "new", "--metric", "loss", "--here", "--json", *words, check=check).stdout
    )


@pytest.mark.slow
def test_of_sixteen_commits_the_right_one_is_found_with_four_reruns_and_is_not_searched_again(
    cli: Cli, project: Project, git: Git
) -> None:
    project.commit(0.4)
    project.queue("old")
    for number in range(1, 17):
        project.commit(0.4 if number < 11 else 0.7)
    project.queue("new")
    project.complete()
    shutil.rmtree(project.top)  # the workspace has the history
    said = cli("bisect", "old", "new", "--metric", "loss", "--here").stdout
    culprit = project.commits[11]
    assert f"\n{culprit[:12]} moved train.loss (0.400134 → 0.700134).\n  Test, " in said
    assert ": number 11\n" in said
    assert "-NUMBER, LOSS, MODE = 10, 0.4, 'runs'\n  +NUMBER, LOSS, MODE = 11, 0.7, 'runs'" in said
    numbers = project.numbers_run()
    assert len(numbers) == len(set(numbers)) <= 4
    found = bisected(cli)
    assert (found["commit"], found["commits"]) == (culprit, 16)
    assert found["code"]["before"] == project.commits[10]
    assert {project.commits.index(one["commit"]): one["is_bad"] for one in found["tested"]} == {
        number: number >= 11 for number in numbers
    }
    assert [one["commit"] for one in found["ends"]] == [project.commits[0], project.commits[16]]
    assert project.numbers_run() == numbers, "a second call runs nothing"


@pytest.mark.slow
def test_commits_that_cannot_run_are_skipped_and_named(cli: Cli, project: Project) -> None:
    project.commit(0.4)
    project.queue("old")
    for loss, mode in [
        (0.4, "runs"),
        (0.4, "refuses"),
        (0.4, "fails"),
        (0.4, "runs"),
        (0.7, "runs"),
        (0.7, "runs"),
    ]:
        project.commit(loss, mode)
    project.queue("new")
    project.complete()
    found = bisected(cli)
    assert found["commit"] == project.commits[5]
    skipped = {
        project.commits.index(one["commit"]): one["reason"] for one in found["tested"] if one["reason"]
    }
    assert skipped == {3: "ValueError: as the test asked"}
    said = cli("bisect", "old", "new", "--metric", "train.loss", "--here").stdout
    assert f"{project.commits[3][:12]}  skipped: ValueError: as the test asked  (new-rerun" in said


@pytest.mark.slow
def test_if_only_commits_that_cannot_run_are_left_all_suspects_are_named(cli: Cli, project: Project) -> None:
    project.commit(0.4)
    project.queue("old")
    for loss, mode in [(0.4, "refuses"), (0.7, "refuses"), (0.7, "runs")]:
        project.commit(loss, mode)
    project.queue("new")
    project.complete()
    found = bisected(cli, check=1)
    assert found["commit"] is None
    assert sorted(map(project.commits.index, found["suspects"])) == [1, 2, 3]
    assert {one["reason"] for one in found["tested"]} == {"train: this version cannot run"}
    assert project.numbers_run() == []


@pytest.mark.slow
def test_a_merged_branch_is_looked_into(cli: Cli, project: Project) -> None:
    project.commit(0.4)
    project.queue("old")
    project.git("switch", "--quiet", "--create", "side")
    side = [project.commit(0.4), project.commit(0.7), project.commit(0.7)]
    project.git("switch", "--quiet", "main")
    (project.top / "other.txt").write_text("main goes on\n")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message=other")
    project.git("merge", "--quiet", "--no-edit", "--no-ff", "side")
    project.queue("new")
    project.complete()
    assert bisected(cli)["commit"] == side[1]


@pytest.mark.slow
def test_the_parameters_that_moved_the_metric_are_not_taken_for_a_commit(cli: Cli, project: Project) -> None:
    project.commit(0.4)
    project.queue("old")
    project.commit(0.4)
    project.commit(0.4)
    project.queue("new", scale=2)
    project.complete()
    found = bisected(cli, check=1)
    assert found["commit"] is None
    place = "in the code of old, with the config and seed of new"
    assert found["verdict"] == f"No commit moved train.loss: {place}, it is 0.800134 as well"
    assert project.numbers_run() == [0]


@pytest.mark.slow
def test_a_metric_that_does_not_come_again_is_not_laid_at_a_commit(
    cli: Cli, project: Project, tmp_path: Path
) -> None:
    project.commit(0.4)
    project.queue("old")
    project.complete()
    project.commit(0.4)
    project.commit(0.4)
    (tmp_path / "started.glitch").touch()
    project.queue("new", seed=2)
    project.complete()
    (tmp_path / "started.glitch").unlink()
    found = bisected(cli, check=1)
    assert found["commit"] is None
    assert found["verdict"].startswith("No commit moved train.loss: a rerun of new in its own code has 0.4")
    assert sorted(project.numbers_run()) == [0, 1, 2]


@pytest.mark.slow
def test_a_metric_that_was_mended_is_found_from_the_older_bad_run(cli: Cli, project: Project) -> None:
    project.commit(0.7)
    project.queue("new")
    for loss in (0.7, 0.4, 0.4):
        project.commit(loss)
    project.queue("old")
    project.complete()
    found = bisected(cli)
    assert found["commit"] == project.commits[2]
    assert "moved train.loss (0.700134 → 0.400134)" in found["verdict"]


@pytest.mark.slow
def test_after_a_kill_it_goes_on_and_no_commit_runs_twice(
    cli: Cli, project: Project, start: Callable[..., Any], eventually: Callable[..., object], workspace: Path
) -> None:
    project.commit(0.4)
    project.queue("old")
    for number in range(1, 33):
        project.commit(0.4 if number < 21 else 0.7)
    project.queue("new")
    project.complete()
    words = ("bisect", "old", "new", "--metric", "loss", "--here")
    for least in (1, 2, 3, 4):
        process = start(*words)
        eventually(lambda least=least: len(project.numbers_run()) >= least)
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = bisected(cli)
    assert found["commit"] == project.commits[21]
    numbers = project.numbers_run()
    reruns = list((workspace / "Output").glob("new-rerun*"))
    assert len(reruns) == len(found["tested"]) <= 6
    assert set(numbers) == {project.commits.index(one["commit"]) for one in found["tested"]}


@pytest.mark.slow
def test_without_a_worker_it_says_so_and_waits(
    cli: Cli, project: Project, start: Callable[..., Any], eventually: Callable[..., object], workspace: Path
) -> None:
    project.commit(0.4)
    project.queue("old")
    project.commit(0.4)
    project.commit(0.7)
    project.queue("new")
    project.complete()
    process = start("bisect", "old", "new", "--metric", "loss")
    eventually(lambda: list((workspace / "ConfigsToRun").glob("*.yaml")))
    cli("work", "--until-idle")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert (
        "No worker is running: start one with `job-orchestration work`, or call this again with --here"
        in said
    )
    assert f"{project.commits[2][:12]} moved train.loss" in said


def test_what_cannot_be_asked_is_refused_with_a_sentence(cli: Cli, project: Project) -> None:
    project.commit(0.4)
    project.queue("old")
    project.queue("again")
    project.queue("twice", scale=2)
    project.complete()
    for words, reason in {
        ("old", "nope", "--metric", "loss"): "There is no run nope",
        ("old", "twice", "--metric", "gain"): "No run here has gain",
        ("old", "twice", "--metric", "loss"): "Both runs executed the commit",
        ("old", "again", "--metric", "loss"): "are on the same side",
        ("old", "twice", "--metric", "loss", "--lower"): "are on the same side",
        ("old", "twice", "--metric", "loss", "--at", "9", "--lower"): "contradict each other",
        ("old", "twice", "--metric", "loss", "--at", "nan"): "is not a number",
    }.items():
        assert reason in cli("bisect", *words, check=2).stderr
