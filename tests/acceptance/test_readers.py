"""Looking: what `status`, `show`, `logs` and `progressReport` tell, and that they change nothing."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from job_orchestration.runs import catalog
from job_orchestration.workspace.layout import locate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]
    Start = Callable[..., subprocess.Popen[str]]

RUN_KEYS = [
    "run",
    "config",
    "place",
    "status",
    "task",
    "task_index",
    "task_count",
    "attempt",
    "worker",
    "commit",
    "readied_at",
    "started_at",
    "ended_at",
    "elapsed_s",
    "progress",
    "eta_s",
    "outcome",
    "held_by",
    "waits_for",
    "error",
    "eta_p90_s",
    "eta_at",
    "eta_p90_at",
    "note",
    "commits",
    "waiting_s",
    "try",
    "max_tries",
    "why",
    "verdict",
    "usage",
]
TASK_KEYS = [
    "id",
    "method",
    "status",
    "tries",
    "started_at",
    "ended_at",
    "duration_s",
    "result",
    "usage",
    "preload_s",
    "preload_mb",
    "outputs",
    "error",
    "reused_from",
    "not_reused",
    "commit",
]
SAVES = """
    from job_orchestration import TaskBase

    class Saves(TaskBase):
        def __init__(self, config):
            pass

        def run(self):
            print("\\x1b[31mred\\x1b[0m")
            self.context.store.save_json("metrics.json", {"a": 1})
            return {"accuracy": 0.5}
"""


def runs_of(cli: Cli) -> dict[str, dict[str, object]]:
    return {r["config"]: r for r in json.loads(cli("status", "--json").stdout)["runs"]}


def picture(root: Path) -> dict[str, tuple[int, int, str]]:
    """Every file and folder with its times and content."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = (status.st_mtime_ns, status.st_ctime_ns, content)
    return found


def make_one_of_each(cli: Cli, drop: Callable[..., Path], workspace: Path, tmp_path: Path) -> None:
    """A workspace with a run or a config in every place without a worker."""
    drop("done")
    drop("gone", {"mended": str(tmp_path / "mended"), "maxAttempts": 1}, tasks=["Fails"])
    drop("bad", "tasks: 5\n")
    cli("ready", check=3)
    cli("work", "--until-idle", check=1)
    drop("waits")
    cli("ready", check=3)
    (workspace / "ConfigsToRun" / "by_hand.yaml").write_text("tasks: []\n")


@pytest.mark.slow
def test_looking_changes_nothing(
    cli: Cli, drop: Callable[..., Path], workspace: Path, tmp_path: Path
) -> None:
    make_one_of_each(cli, drop, workspace, tmp_path)
    before = picture(workspace)
    for words in (
        ["status"],
        ["status", "--json"],
        ["-action", "progressReport"],
        ["show", "done"],
        ["show", "runs/gone", "--json"],
        ["show", "waits.yaml"],
        ["show", "bad"],
        ["logs", "done"],
        ["logs", "-f", "gone"],
        ["logs", "waits", "--json"],
        ["results"],
        ["results", "*", "--csv", "--filter", "x is null"],
    ):
        cli(*words)
    assert picture(workspace) == before


@pytest.mark.slow
def test_a_read_only_workspace_can_be_looked_at(
    cli: Cli, drop: Callable[..., Path], workspace: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    make_one_of_each(cli, drop, workspace, tmp_path)
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && ! touch "$0/x" 2>/dev/null'
    inside = ["unshare", "--mount", "--map-root-user", "sh", "-c", f'{mount} && exec "$@"', str(workspace)]
    if subprocess.run([*inside, "true"], check=False, capture_output=True, timeout=30).returncode != 0:
        pytest.skip("nothing can be mounted on this machine")
    for words in (
        ["status"],
        ["-action", "progressReport"],
        ["show", "done"],
        ["logs", "-f", "done"],
        ["results"],
    ):
        done = subprocess.run(
            [*inside, sys.executable, "-m", "job_orchestration", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout


def test_status_says_in_json_what_is_promised_and_nothing_else(
    cli: Cli, drop: Callable[..., Path], workspace: Path, tmp_path: Path
) -> None:
    make_one_of_each(cli, drop, workspace, tmp_path)
    found = json.loads(cli("status", "--json").stdout)
    assert list(found) == [
        "counts",
        "ends",
        "searches",
        "undelivered",
        "refused",
        "forecast",
        "families",
        "runs",
    ]
    assert found["ends"] == {"completed": 1, "failed": 1, "pruned": 0, "cancelled": 0}
    assert found["counts"] == {
        "sources": 1,
        "to_run": 2,
        "held": 0,
        "running": 0,
        "interrupted": 0,
        "completed": 1,
        "failed": 1,
    }
    assert all(list(run) == RUN_KEYS for run in found["runs"])
    runs = {run["config"]: run for run in found["runs"]}
    done, gone, waits, bad = runs["done"], runs["gone"], runs["waits"], runs["bad"]
    assert (done["run"], done["place"], done["status"]) == ("runs/done", "completed", "COMPLETE")
    assert (done["task"], done["task_count"], done["attempt"], done["outcome"]) == (None, 1, 1, "ok")
    assert done["readied_at"] < done["started_at"] < done["ended_at"]
    assert done["ended_at"].endswith("+00:00")
    assert done["held_by"] is None
    assert (gone["status"], gone["error"]) == ("FAILED", "ValueError: as the test asked")
    assert (waits["place"], waits["task"], waits["attempt"], waits["started_at"]) == (
        "to_run",
        "quick",
        None,
        None,
    )
    assert 0 <= waits["eta_s"] < 60  # as long as the run of the same method that has finished
    assert (bad["run"], bad["place"], bad["status"]) == (None, "sources", None)
    assert bad["error"].startswith("bad.yaml:1:")


def test_show_says_what_status_says_and_the_tasks_and_the_provenance(
    cli: Cli, drop: Callable[..., Path], repository: Callable[..., Path]
) -> None:
    drop("a", {"pathToTasks": str(repository(SAVES)), "tasks": [{"id": "s", "method": "Saves"}]})
    cli("ready")
    cli("work", "--until-idle")
    found = json.loads(cli("show", "a", "--json").stdout)
    assert list(found) == [
        *(*RUN_KEYS, "tasks", "changes", "provenance", "environment", "rerun_of", "verifications", "asked"),
        *("commit_details", "parameters", "results"),
    ]
    assert found["provenance"]["commit"] == found["commit"]
    assert list(found["commit_details"]) == ["author", "date", "subject"]
    assert ["subject", *found["commit_details"]["subject"].split()] in [
        line.split() for line in cli("show", "a").stdout.splitlines()
    ]
    (task,) = found["tasks"]
    assert list(task) == TASK_KEYS
    assert (task["status"], task["tries"], task["result"]) == ("finished", 1, {"accuracy": 0.5})
    (output,) = task["outputs"]
    assert sorted(output) == ["bytes", "path", "sha256"]
    said = cli("show", "a").stdout
    assert re.search(r"^log\.log +\d+ B$", said, re.MULTILINE)
    assert re.search(rf"^{re.escape(output['path'])} +{output['bytes']} B$", said, re.MULTILINE)
    assert said.count(found["commit"]) == 1
    assert "digest" not in said
    assert found["commit"] in said
    assert "\x1b[31mred" in cli("logs", "a").stdout  # not a terminal: as it is


@pytest.mark.slow
def test_a_run_is_named_by_its_folder_or_its_config_and_a_doubtful_name_is_refused(
    cli: Cli, drop: Callable[..., Path]
) -> None:
    drop("twin", {"outputDir": "runs/first"})
    cli("ready")
    drop("twin", {"outputDir": "runs/second"})
    cli("ready")
    for name in ("runs/first", "Output/runs/first/", "twin-2", "twin-2.yaml"):
        assert json.loads(cli("show", name, "--json").stdout)["run"].startswith("runs/")
    said = cli("show", "twin.yaml", check=2).stderr
    assert "runs/first, runs/second" in said
    assert "Did you mean runs/first" in cli("show", "runs/frst", check=2).stderr


def test_names_cannot_write_to_the_terminal(cli: Cli, workspace: Path) -> None:
    (workspace / "ConfigSources" / "a\x1b[31m\nb.yaml").write_text("tasks: 5\n")
    for words in (["status"], ["check"], ["ready"]):
        done = cli(*words, check=None)
        assert "\x1b" not in done.stdout + done.stderr
        assert "a\\x1b[31m\\nb" in done.stdout
    assert json.loads(cli("status", "--json").stdout)["runs"][0]["config"] == "a\x1b[31m\nb"


# -- while somebody works ---------------------------------------------------------------------------------


@pytest.mark.seed_fault("B-JO-07")
@pytest.mark.slow
def test_a_killed_worker_is_seen_and_its_run_goes_on(
    cli: Cli,
    start: Start,
    drop: Callable[..., Path],
    eventually: Callable[..., object],
    tmp_path: Path,
    workspace: Path,
) -> None:
    drop("a", {"gate": str(tmp_path / "gate")}, tasks=["Quick", "Waits"])
    cli("ready")
    worker = start("work")
    eventually(lambda: runs_of(cli)["a"]["progress"] == 0.25)
    running = runs_of(cli)["a"]
    assert (running["place"], running["status"], running["task"]) == ("running", "RUNNING_TASK", "waits")
    assert (running["task_index"], running["task_count"], running["attempt"]) == (1, 2, 1)
    assert running["held_by"] == running["worker"]
    assert str(worker.pid) in str(running["held_by"])
    assert running["eta_s"] is not None  # by its own progress: no such task has ever finished
    assert "Number of running workers: 1" in cli("-action", "progressReport").stdout

    family = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
    worker.kill()
    worker.wait()
    eventually(lambda: not any(p.is_running() and p.status() != "zombie" for p in family))
    stopped = runs_of(cli)["a"]
    assert (stopped["place"], stopped["held_by"], stopped["elapsed_s"]) == ("interrupted", None, None)
    assert len(catalog.living_workers(locate(str(workspace)))) == 0
    said = cli("-action", "progressReport").stdout
    assert "Number in progress 1\nwaits 1\nNumber of running workers: 0\n" in said

    (tmp_path / "gate").touch()
    cli("work", "--until-idle")
    ended = json.loads(cli("show", "a", "--json").stdout)
    assert (ended["place"], ended["attempt"]) == ("completed", 2)
    assert [t["tries"] for t in ended["tasks"]] == [1, 2]


def test_a_followed_log_ends_when_its_run_does(
    cli: Cli, start: Start, drop: Callable[..., Path], eventually: Callable[..., object], tmp_path: Path
) -> None:
    drop("a", {"gate": str(tmp_path / "gate")}, tasks=["Waits"])
    cli("ready")
    follower = start("logs", "-f", "a")
    worker = start("work", "--until-idle")
    eventually(lambda: "waiting" in cli("logs", "a").stdout)
    assert follower.poll() is None
    (tmp_path / "gate").touch()
    assert worker.wait(timeout=60) == 0
    said, _ = follower.communicate(timeout=60)
    assert follower.returncode == 0
    assert "waiting\n" in said
    assert "Finished task with id: waits" in said


def test_ctrl_c_hands_the_run_back(
    cli: Cli, start: Start, drop: Callable[..., Path], eventually: Callable[..., object], tmp_path: Path
) -> None:
    drop("a", {"gate": str(tmp_path / "gate"), "graceTime": 0.2}, tasks=["Waits"])
    cli("ready")
    worker = start("work")
    eventually(lambda: runs_of(cli)["a"]["status"] == "RUNNING_TASK")
    worker.send_signal(signal.SIGINT)
    worker.communicate(timeout=60)
    assert worker.returncode == 130
    assert runs_of(cli)["a"]["place"] == "to_run"


@pytest.mark.seed_fault("B-JO-28")
def test_a_report_without_workers_returns_at_once(cli: Cli, drop: Callable[..., Path]) -> None:
    drop("a")
    cli("ready")
    said = cli("-action", "progressReport", limit=30).stdout
    assert said.startswith(
        "Number in progress 1\nNone 1\nNumber of running workers: 0\nExpected time remaining: unknown\n"
    )


def test_the_text_that_was_dropped_is_kept_with_its_comments(
    cli: Callable[..., subprocess.CompletedProcess[str]], workspace: Path, repository: Callable[..., Path]
) -> None:
    text = (
        f'# why I try this: «café»\npathToTasks: {repository()}\noutputDir: "{{name}}_x"  # named after it\n'
    )
    text += "tasks:\n- {id: quick, method: Quick}\n"
    (workspace / "ConfigSources" / "a.yaml").write_text(text)
    cli("ready")
    shown = json.loads(cli("show", "a", "--json").stdout)
    assert shown["run"] == "a_x"
    assert shown["provenance"]["source"] == text
    assert "why I try this" not in cli("show", "a").stdout, "people look into the file"
