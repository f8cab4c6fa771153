"""A failed run goes on in mended code, or with other parameters: `retry --commit` and `retry --set`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]

TASKS = """
from helper import double
from job_orchestration import TaskBase


class Load(TaskBase):
    def __init__(self, config):
        self.config = config

    def run(self):
        print("LONG WORK of", self.config["id"])
        return double(1)


class Train(Load):
    def run(self):
        import late
        print("LONG WORK of", self.config["id"])
        return late.VALUE


class Report(Load):
    def validate(self):
        return [] if self.config.get("epochs", 3) > 0 else ["epochs must be positive"]

    def run(self):
        return [self.context.result_of("train"), self.config.get("epochs"), 1 / 0]
"""
FILES = {"helper.py": "def double(x):\n    return 2 * x\n", "late.py": "VALUE = 7\n", "notes.txt": "one\n"}


class Project:
    """A repository of three tasks, of which the third one has a bug, and a config for them."""

    def __init__(self, folder: Path, git: Callable[..., str]) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        self._git = git
        git(self.folder, "init", "--quiet", "--initial-branch=main")
        self.first = self.commit(**{"Tasks.py": TASKS, **FILES})

    def git(self, *words: str) -> str:
        return self._git(self.folder, *words)

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def commit(self, **files: str) -> str:
        self.write(**files)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=work")
        return self.git("rev-parse", "HEAD")

    def mend(self) -> str:
        return self.commit(**{"Tasks.py": TASKS.replace("1 / 0", '"mended"')})


@pytest.fixture
def project(tmp_path: Path, git: Callable[..., str]) -> Project:
    return Project(tmp_path, git)


@pytest.fixture
def fail(project: Project, cli: Cli, drop: Callable[..., Path]) -> Callable[..., None]:
    """Queues a run of the three tasks, which fails in the third."""

    def make(name: str = "bug", **values: object) -> None:
        tasks = [{"id": m.lower(), "method": m} for m in ("Load", "Train", "Report")]
        content = {"pathToTasks": str(project.folder), "maxAttempts": 1, "tasks": tasks, **values}
        drop(name, content)
        cli("ready")
        cli("work", "--until-idle", check=1)

    return make


def shown(cli: Cli, run: str = "bug") -> dict[str, Any]:
    return json.loads(cli("show", run, "--json").stdout)


def state_of(workspace: Path) -> dict[str, tuple[int, bytes]]:
    """Every file of the workspace's config folders and outputs, with inode and content."""
    folders = ("ConfigSources", "ConfigsToRun", "Running", "Completed", "Failed", "Output")
    paths = [p for folder in folders for p in (workspace / folder).rglob("*") if p.is_file()]
    return {str(p): (p.stat().st_ino, p.read_bytes()) for p in paths}


def test_a_failed_run_goes_on_in_mended_code_and_its_finished_tasks_run_once(
    cli: Cli, project: Project, fail: Callable[..., None], workspace: Path
) -> None:
    fail()
    second = project.mend()
    said = cli("retry", "bug", "--commit", "HEAD")
    assert said.stdout == f"runs/bug: waits to go on from its checkpoint, in commit {second[:12]}\n"
    cli("work", "--until-idle")
    log = (workspace / "Output/runs/bug/log.log").read_text()
    assert [log.count(f"LONG WORK of {task}") for task in ("load", "train")] == [1, 1]
    run = shown(cli)
    assert [t["commit"] for t in run["tasks"]] == [project.first, project.first, second]
    assert [t["tries"] for t in run["tasks"]] == [1, 1, 2]
    assert run["tasks"][2]["result"] == [7, None, "mended"]
    assert (run["place"], run["commit"]) == ("completed", second)
    commits = {"load": project.first, "train": project.first, "report": second}
    assert run["provenance"]["task_commits"] == commits
    assert run["provenance"]["commit"] == project.first, "what the run was queued with"
    (change,) = run["changes"]
    assert (change["commit"], change["tasks"]) == (second, ["report"])
    assert run["provenance"]["changes"] == run["changes"]
    (listed,) = json.loads(cli("status", "--json").stdout)["runs"]
    assert (listed["commit"], listed["commits"]) == (second, commits)
    journal = sorted((workspace / "Output/runs/bug/journal").iterdir())
    lines = [json.loads(line) for path in journal for line in path.read_text().splitlines()]
    assert [e["code"]["commit"] for e in lines if e["event"] == "requeued"] == [second]
    finished = {e["task"]: e for e in lines if e["event"] == "task_finished"}
    assert {task: e["commit"] for task, e in finished.items()} == commits
    assert finished["load"]["imported"] == ["Tasks.py", "helper.py"]
    assert finished["train"]["imported"] == ["late.py"], "what the task before it imported is said there"
    text = cli("show", "bug").stdout
    assert text.count(second[:12]) >= 2
    assert project.first[:12] in text


@pytest.mark.slow
def test_files_that_changed_since_a_finished_task_imported_them_are_named_with_the_remedy(
    cli: Cli, project: Project, fail: Callable[..., None], workspace: Path
) -> None:
    fail()
    changed = {"notes.txt": "two\n", "late.py": "VALUE = 8\n"}
    project.commit(**changed)
    said = cli("retry", "bug", "--commit", "HEAD", "--json")
    found = json.loads(said.stdout)
    (warning,) = found["warnings"]
    assert warning["what"] == "late.py changed since train ran, whose result stays as before"
    assert warning["todo"] == "To run it again in the new code, add --from train"
    assert "--from train" in said.stderr
    cli("work", "--until-idle", check=1)
    project.mend()
    project.commit(**{"helper.py": "def double(x):\n    return 3 * x\n"})
    said = cli("retry", "bug", "--commit", "HEAD").stderr
    assert "Tasks.py, helper.py, late.py changed since load, train ran" in said, "load knew nothing of late"
    cli("work", "--until-idle")
    assert [t["result"] for t in shown(cli)["tasks"]] == [2, 7, [7, None, "mended"]]


@pytest.mark.slow
def test_the_remedy_runs_the_tasks_again_in_the_new_code(
    cli: Cli, project: Project, fail: Callable[..., None], workspace: Path
) -> None:
    fail()
    project.mend()
    last = project.commit(**{"late.py": "VALUE = 8\n"})
    said = cli("retry", "bug", "--commit", "HEAD", "--from", "train")
    assert said.stdout == f"runs/bug: waits to go on from task train, in commit {last[:12]}\n"
    assert "Tasks.py changed since load ran" in said.stderr
    cli("work", "--until-idle")
    tasks = shown(cli)["tasks"]
    assert [t["commit"] for t in tasks] == [project.first, last, last]
    assert tasks[2]["result"] == [8, None, "mended"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"Tasks.py": "import nothing_of_this_name\n"}, "ModuleNotFoundError"),
        (
            {"Tasks.py": TASKS.replace("class Report", "class Repost")},
            "has no class Report. Did you mean Repost?",
        ),
        ({"Tasks.py": TASKS.replace("return [] if", 'return ["never"] if')}, "report: never"),
    ],
    ids=["an import that fails", "a class that is gone", "a task that objects"],
)
@pytest.mark.slow
def test_code_that_the_remaining_tasks_refuse_leaves_the_run_as_it_was(
    cli: Cli,
    project: Project,
    fail: Callable[..., None],
    workspace: Path,
    files: dict[str, str],
    said: str,
) -> None:
    fail()
    project.commit(**files)
    before = state_of(workspace)
    refused = cli("retry", "bug", "--commit", "HEAD", check=3)
    assert said in refused.stdout
    assert state_of(workspace) == before


@pytest.mark.slow
def test_finished_tasks_are_not_asked_again(cli: Cli, project: Project, fail: Callable[..., None]) -> None:
    fail()
    broken = TASKS.replace("1 / 0", "0").replace("class Train(Load):\n", "class Gone(Load):\n")
    project.commit(**{"Tasks.py": broken})
    cli("retry", "bug", "--commit", "HEAD")
    cli("work", "--until-idle")
    assert shown(cli)["tasks"][2]["result"] == [7, None, 0]


@pytest.mark.slow
def test_any_revision_may_be_named_and_what_is_no_newer_code_is_refused(
    cli: Cli, project: Project, fail: Callable[..., None], workspace: Path
) -> None:
    fail()
    second = project.mend()
    project.git("tag", "mended")
    project.commit(**{"Tasks.py": "raise SystemExit\n"})
    before = state_of(workspace)
    for revision, words in {
        "nowhere": "has no commit nowhere",
        "--all": "has no commit --all",
        "HEAD": "SystemExit",
    }.items():
        assert words in cli("retry", "bug", f"--commit={revision}", check=3).stdout
    assert state_of(workspace) == before
    assert "names no commit" in cli("retry", "bug", "--commit", "", check=2).stderr
    said = json.loads(cli("retry", "bug", "--commit", "mended", "--json").stdout)
    assert said["commits"] == {"runs/bug": second}
    cli("work", "--until-idle")


@pytest.mark.slow
def test_uncommitted_changes_are_never_taken_for_the_commit(
    cli: Cli, project: Project, fail: Callable[..., None], workspace: Path
) -> None:
    fail()
    mended = TASKS.replace("1 / 0", '"mended"')
    project.write(**{"Tasks.py": mended})
    before = state_of(workspace)
    said = cli("retry", "bug", "--commit", "HEAD", check=3).stdout
    assert "HEAD is the commit that it failed in; these changes are not committed: Tasks.py" in said
    said = cli("retry", "bug", "--commit", "worktree", check=3).stdout
    assert "has uncommitted changes: Tasks.py. Commit them and say --commit HEAD, or add --set UNSAFE" in said
    assert state_of(workspace) == before
    cli("retry", "bug", "--commit", "worktree", "--set", "UNSAFE_ignoreDirtyCheck=true")
    project.write(**{"Tasks.py": "what is edited later does not count\n"})
    cli("work", "--until-idle")
    run = shown(cli)
    assert run["tasks"][2]["result"][2] == "mended"
    assert run["changes"][0]["dirty"] == ["Tasks.py"]
    assert run["tasks"][2]["commit"] not in {project.first, project.git("rev-parse", "HEAD")}


@pytest.mark.slow
def test_a_dirty_tree_with_newer_commits_is_warned_of(
    cli: Cli, project: Project, fail: Callable[..., None]
) -> None:
    fail()
    project.mend()
    project.write(**{"late.py": "VALUE = 9\n"})
    said = cli("retry", "bug", "--commit", "HEAD").stderr
    assert "uncommitted changes are not part of the commit: late.py" in said


@pytest.mark.slow
def test_reready_failed_continues_in_the_code_of_today_if_it_is_committed(
    cli: Cli, project: Project, fail: Callable[..., None]
) -> None:
    fail()
    project.write(**{"Tasks.py": TASKS.replace("1 / 0", '"mended"')})
    said = cli("-action", "rereadyFailed")
    assert said.stdout == "runs/bug: waits to go on from its checkpoint\n"
    assert (
        "has uncommitted changes (Tasks.py): its runs keep the code that they were queued with" in said.stderr
    )
    cli("work", "--until-idle", check=1)
    project.commit(**{"Tasks.py": "import nothing_of_this_name\n"})
    said = cli("-action", "rereadyFailed")
    assert said.stdout == "runs/bug: waits to go on from its checkpoint\n"
    assert "ModuleNotFoundError" in said.stderr
    assert "It keeps the code that it was queued with" in said.stderr
    cli("work", "--until-idle", check=1)
    second = project.mend()
    said = cli("-action", "REREADYFAILED")
    assert said.stdout == f"runs/bug: waits to go on from its checkpoint, in commit {second[:12]}\n"
    cli("work", "--until-idle")
    assert shown(cli)["commit"] == second


@pytest.mark.slow
def test_newer_code_is_hinted_at_in_one_line_by_retry_status_and_the_log(
    cli: Cli, project: Project, fail: Callable[..., None], workspace: Path
) -> None:
    fail()
    log = (workspace / "Output/runs/bug/log.log").read_text().splitlines()
    assert log[-1].endswith("commit it and run: job-orchestration retry runs/bug --commit HEAD")
    assert log[-1].startswith("[job_orchestration] To go on from task report in mended code")
    assert "--commit" not in cli("status").stdout, "there is no newer code"
    assert cli("retry", "bug").stderr == ""
    cli("work", "--until-idle", check=1)
    second = project.mend()
    project.git("pack-refs", "--all")
    (hint,) = [line for line in cli("status").stdout.splitlines() if "--commit HEAD" in line]
    assert hint == (
        f"1 failed run has newer code in {project.folder}; to go on in it: "
        "job-orchestration retry RUN --commit HEAD."
    )
    said = cli("retry", "bug")
    assert said.stdout == "runs/bug: waits to go on from its checkpoint\n"
    assert said.stderr == (
        f"{project.folder} has newer code ({second[:12]}); to go on in it, use: retry --commit HEAD\n"
    )
    cli("cancel", "bug")
    assert "--commit" not in cli("status").stdout, "it was cancelled, and did not fail"
    assert "--commit" not in cli("retry", "bug").stderr


@pytest.mark.slow
def test_a_captured_commit_is_not_older_than_the_commit_below_it(
    cli: Cli, project: Project, fail: Callable[..., None]
) -> None:
    project.write(**{"notes.txt": "not committed\n"})
    fail(UNSAFE_ignoreDirtyCheck=True)
    assert "--commit" not in cli("status").stdout
    project.mend()
    assert "--commit HEAD" in cli("status").stdout


@pytest.mark.slow
def test_parameters_are_mended_checked_and_recorded(
    cli: Cli, project: Project, fail: Callable[..., None], workspace: Path
) -> None:
    fail(epochs=3)
    project.mend()
    before = state_of(workspace)
    said = cli("retry", "bug", "--set", "epochs=-1", check=3).stdout
    assert "report: epochs must be positive" in said
    assert state_of(workspace) == before
    said = cli("retry", "bug", "--commit", "HEAD", "--set", "epochs=5", "--set", "report.colours=[red, 2]")
    assert "epochs: load, train ran with the old value. To run them again with the new one, add --from" in (
        said.stderr
    )
    cli("work", "--until-idle")
    run = shown(cli)
    assert run["tasks"][2]["result"] == [7, 5, "mended"]
    assert run["changes"][0]["set"] == {"epochs": 5, "report.colours": ["red", 2]}
    (row,) = json.loads(cli("results", "--json").stdout)
    assert (row["epochs"], row["report.colours"]) == (5, ["red", 2])
    assert "epochs = 5" in cli("show", "bug").stdout
    config = (workspace / "Output/runs/bug/config.yaml").read_text()
    assert "epochs: 3" in config, "the config stays as it was queued"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--set", "epochs"], 2, "is not a key=value such as epochs=20"),
        (["--set", "epochs=[1"], 2, "is not a key=value"),
        (["--set", "epochs=1", "--set", "epochs=2"], 2, "names a key twice"),
        (["--set", "outputDir=x"], 3, "outputDir: outputDir cannot change once a run is queued"),
        (["--set", "report.method=Load"], 3, "method cannot change"),
        (
            ["--set", "pathToTasks=/elsewhere"],
            3,
            "was copied when it was queued. Say from where, with --commit",
        ),
        (["--set", "load.x=1"], 3, "task load has finished and does not run again"),
        (["--set", "reprot.x=1"], 3, "has no task reprot. Did you mean report.x?"),
        (["--set", "maxAttempts=many"], 3, "maxAttempts: 'many' is not"),
        (["--set", "own=2"], 3, "each task that will run has its own own, which counts. Set report.own"),
    ],
    ids=lambda value: " ".join(value[1::2]) if isinstance(value, list) else "",
)
@pytest.mark.slow
def test_a_parameter_that_cannot_be_mended_is_refused_with_what_to_do(
    cli: Cli, fail: Callable[..., None], workspace: Path, words: list[str], code: int, said: str
) -> None:
    tasks = [{"id": m.lower(), "method": m} for m in ("Load", "Train", "Report")]
    tasks[2]["own"] = "1"
    fail(tasks=tasks, epochs=3)
    before = state_of(workspace)
    done = cli("retry", "bug", *words, check=code)
    assert said in done.stdout + done.stderr
    assert state_of(workspace) == before


@pytest.mark.slow
def test_a_value_near_a_known_name_is_taken_with_a_question(cli: Cli, fail: Callable[..., None]) -> None:
    fail(epochs=3)
    assert "the config had no epohcs. Did you mean epochs?" in cli("retry", "bug", "--set", "epohcs=5").stderr


@pytest.mark.slow
def test_a_setting_is_mended_for_the_next_attempts(cli: Cli, fail: Callable[..., None]) -> None:
    fail()
    cli("retry", "bug", "--set", "maxAttempts=3")
    cli("work", "--until-idle", check=1)
    assert shown(cli)["tasks"][2]["tries"] == 1 + 3


@pytest.mark.slow
def test_a_trial_keeps_the_parameters_that_its_sweep_chose(
    cli: Cli, project: Project, drop: Callable[..., Path]
) -> None:
    tasks = [{"id": m.lower(), "method": m} for m in ("Load", "Train", "Report")]
    content = {"pathToTasks": str(project.folder), "maxAttempts": 1, "tasks": tasks}
    drop("family", {**content, "sweep": {"grid": {"epochs": [3, 4]}}})
    cli("ready")
    cli("work", "--until-idle", check=1)
    said = cli("retry", "--set", "epochs=5", check=3).stdout
    assert said.count("the sweep family chose it for this trial") == 2
    project.mend()
    cli("retry", "--commit", "HEAD")
    cli("work", "--until-idle")
    assert {r["epochs"] for r in json.loads(cli("results", "--json").stdout)} == {3, 4}


@pytest.mark.slow
def test_what_can_go_on_goes_on_and_the_rest_is_refused(
    cli: Cli, project: Project, fail: Callable[..., None], workspace: Path
) -> None:
    fail("a")
    fail("picky", epochs=3)
    project.commit(
        **{"Tasks.py": TASKS.replace("1 / 0", "0").replace('get("epochs", 3) > 0', 'get("epochs", 0) == 0')}
    )
    said = cli("retry", "--commit", "HEAD", check=3).stdout
    assert "runs/a: waits to go on" in said
    assert "picky.yaml: epochs: report: epochs must be positive" in said
    assert sorted(os.listdir(workspace / "Failed")) == ["picky.yaml"]


@pytest.mark.slow
def test_a_repository_that_moved_is_named_anew(
    cli: Cli, project: Project, fail: Callable[..., None], tmp_path: Path
) -> None:
    fail()
    project.mend()
    moved = tmp_path / "moved"
    project.folder.rename(moved)
    assert "does not exist" in cli("retry", "bug", "--commit", "HEAD", check=3).stdout
    said = cli("-action", "rereadyFailed").stderr
    assert "does not exist: its runs keep the code that they were queued with" in said
    cli("work", "--until-idle", check=1)
    cli("retry", "bug", "--commit", "HEAD", "--set", f"pathToTasks={moved}")
    cli("work", "--until-idle")
    assert shown(cli)["tasks"][2]["result"][2] == "mended"


@pytest.mark.slow
def test_the_code_of_a_task_before_a_retry_explains_another_result_of_a_rerun(
    cli: Cli, project: Project, fail: Callable[..., None]
) -> None:
    fail(seed=1)
    mended = TASKS.replace("1 / 0", '"mended"')
    last = project.commit(**{"Tasks.py": mended, "helper.py": "def double(x):\n    return 3 * x\n"})
    cli("retry", "bug", "--commit", "HEAD")
    cli("work", "--until-idle")
    said = cli("rerun", "bug").stderr
    assert f"the original ran load in {project.first[:12]}, train in {project.first[:12]}" in said
    assert f"the rerun runs every task in {last[:12]}" in said
    assert cli("rerun", "bug", "--from", "report", "--dry-run").stderr == "", "all that ran before is taken"
    cli("work", "--until-idle")
    found = json.loads(cli("diff", "bug", "bug-rerun", "--json").stdout)
    assert [change["name"] for change in found["results"]] == ["load"]
    assert found["verdict"] == "2 things differ: 2 parts of the code"
    files = {task["task"]: task["files"] for task in found["code"]["tasks"]}
    assert files == {"load": ["Tasks.py", "helper.py"], "train": ["Tasks.py", "helper.py"]}
    assert {cause["kind"] for cause in found["causes"]} == {"code"}
    text = cli("diff", "bug", "bug-rerun").stdout
    assert f"  load  {project.first[:12]} → {last[:12]}: Tasks.py, helper.py\n" in text
    assert "Code of the task load: " in cli("diff", "bug", "bug-rerun", "--html").stdout
    cli("export", "bug", "--to", "out")
    own = [sys.executable, str(project.folder.parent / "out/run.py")]
    there = subprocess.run(own, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert f"load ran in commit {project.first[:12]} then; " in there.stdout
