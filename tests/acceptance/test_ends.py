"""How runs end, as a person and a program see it: completed, failed, cancelled and pruned are four ends."""

from __future__ import annotations

import csv
import io
import json
import math
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.faults.workspace_files import events

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]

TASKS = """
    from pathlib import Path

    from job_orchestration import PrunedError, TaskBase


    class Quick(TaskBase):
        def run(self):
            return {"x": 1}


    class Fails(TaskBase):
        def run(self):
            raise ValueError("as the test asked")


    class Pruned(TaskBase):
        def run(self):
            raise PrunedError("too far behind the others")


    class Flaky(TaskBase):
        def run(self):
            tries = Path(self.config["outputDir"], "tries")
            with tries.open("a") as file:
                file.write("x")
            if tries.stat().st_size < 2:
                raise ValueError("the first time")


    class Diverges(TaskBase):
        def run(self):
            nan, inf = float("nan"), float("inf")
            found = {"loss": nan, "curve": [1.0, nan, -inf], "deep": [{"a": [inf]}], "m": {"v": nan}}
            self.context.store.save_json("metrics.json", found)
            return found
"""


@pytest.mark.slow
def test_pruned_is_an_end_of_its_own(
    cli: Cli, drop: Callable[..., Path], repository: Callable[..., Path], workspace: Path, tmp_path: Path
) -> None:
    (workspace / "workspace.yaml").write_text(
        f"notify: [{{command: 'tee -a {tmp_path}/message', on: gave_up}}]\n"
    )
    content: dict[str, object] = {"pathToTasks": str(repository(TASKS)), "maxAttempts": 1}
    drop("stopped", content)
    cli("ready")
    cli("cancel", "stopped")
    drop("behind", content, tasks=["Pruned"])
    cli("ready")
    said = cli("up", "--until-idle").stdout
    assert "runs/behind: too far behind the others\n" in said, (
        "a pruned run makes neither worker nor up end with 1"
    )
    drop("broken", content, tasks=["Fails"])
    drop("fine", content)
    cli("ready")
    cli("work", "--until-idle", check=1)

    found = json.loads(cli("status", "--json").stdout)
    assert found["counts"]["failed"] == 3, "they lie in the same folder"
    assert found["ends"] == {"completed": 1, "failed": 1, "pruned": 1, "cancelled": 1}
    ends = {run["config"]: (run["place"], run["outcome"]) for run in found["runs"]}
    assert ends["behind"] == ("failed", "pruned")
    assert ends["stopped"] == ("failed", "cancelled")
    lines = cli("status").stdout.splitlines()
    assert lines[-1].endswith("1 completed, 1 failed, 1 pruned, 1 cancelled")
    places = {line.split()[1]: line.split()[0] for line in lines if "runs/" in line}
    assert places == {
        "runs/broken": "failed",
        "runs/behind": "pruned",
        "runs/stopped": "cancelled",
        "runs/fine": "completed",
    }
    assert "place     pruned\n" in cli("show", "behind").stdout
    rows = cli("results").stdout.splitlines()
    assert rows[0].split()[:3] == ["run", "place", "outcome"]
    assert "pruned" in next(row for row in rows if row.startswith("runs/behind"))

    def chosen(status: str) -> str:
        return cli("results", "--status", status, "--columns", "run", "--csv").stdout.split("\n", 1)[1]

    assert chosen("pruned") == "runs/behind\n"
    assert chosen("error") == "runs/broken\n"
    assert json.loads((tmp_path / "message").read_text())["run"] == "runs/broken", "and no other message"

    done = cli("retry", "--status", "failed")
    assert done.stdout.startswith("runs/broken: waits")
    assert "Cancelled or pruned runs: 2. Retry them with: --status cancelled,pruned" in done.stderr
    assert "runs/behind: waits" in cli("retry", "--status", "pruned").stdout


def seconds(since: str, until: str) -> float:
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()


@pytest.mark.slow
def test_elapsed_is_work_without_waiting_and_tries_have_the_numbers_that_people_count(
    cli: Cli, drop: Callable[..., Path], repository: Callable[..., Path], workspace: Path, tmp_path: Path
) -> None:
    (workspace / "workspace.yaml").write_text(
        f"notify: [{{command: 'tee {tmp_path}/message', on: failed}}]\n"
    )
    drop("a", {"pathToTasks": str(repository(TASKS)), "retryDelay": 1.5}, tasks=["Quick", "Flaky"])
    cli("ready")
    said = cli("work", "--until-idle").stdout
    assert "runs/a: task quick (1 of 2)\n" in said
    assert "runs/a: task flaky (2 of 2), try 2 of 3\n" in said
    journal = events(workspace, "runs/a")
    claims = [event["at"] for event in journal if event["event"] == "claimed"]
    ends = [event["at"] for event in journal if event["event"] in {"handed_back", "completed"}]
    work = sum(map(seconds, claims, ends))
    (run,) = json.loads(cli("status", "--json").stdout)["runs"]
    assert run["elapsed_s"] == pytest.approx(work, abs=0.002)
    assert run["waiting_s"] == pytest.approx(seconds(run["readied_at"], run["ended_at"]) - work, abs=0.002)
    assert run["waiting_s"] > 1.4, "the delay between the tries"
    (row,) = json.loads(cli("results", "--json").stdout)
    assert (row["elapsed_s"], row["waiting_s"]) == (run["elapsed_s"], run["waiting_s"])
    log = cli("logs", "a").stdout
    assert "Running task with id: flaky\n" in log
    assert "Running task with id: flaky (try 2 of 3)\n" in log
    message = json.loads((tmp_path / "message").read_text())
    assert (message["try"], message["max_tries"], message["attempt"]) == (1, 3, 1)
    assert "Task flaky, try 1 of 3" in message["text"]
    assert "Attempt" not in message["text"]
    assert "\nattempt" not in cli("show", "a").stdout


@pytest.mark.slow
def test_nan_and_infinities_inside_results_stay_what_they_are(
    cli: Cli, drop: Callable[..., Path], repository: Callable[..., Path], tmp_path: Path
) -> None:
    drop("a", {"pathToTasks": str(repository(TASKS)), "x": [1.5, math.nan]}, tasks=["Diverges"])
    cli("ready")
    cli("work", "--until-idle")
    ((line,),) = (list(csv.DictReader(io.StringIO(cli("results", "--csv").stdout))),)
    names = [name for name in line if "diverges" in name]
    assert names == [f"diverges.{name}" for name in ("method", "loss", "curve", "deep", "m.v")], "none twice"
    assert [line[name] for name in names[1:]] == [
        "nan",
        "[1.0, NaN, -Infinity]",
        '[{"a": [Infinity]}]',
        "nan",
    ]
    assert line["x"] == "[1.5, NaN]"
    assert "[1.0, NaN, -Infinity]" in cli("results").stdout

    def refused(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    (row,) = json.loads(cli("results", "--json").stdout, parse_constant=refused)
    assert row["diverges.curve"] == [1.0, None, None]
    shown = json.loads(cli("show", "a", "--json").stdout, parse_constant=refused)
    assert shown["results"]["diverges.deep"] == [{"a": [None]}]
    path = str(tmp_path / "runs.parquet")
    parquet = pytest.importorskip("pyarrow.parquet")
    cli("results", "--parquet", path)
    (row,) = parquet.read_table(path).to_pylist()
    assert math.isnan(row["diverges.loss"])
    assert row["diverges.curve"] == "[1.0, NaN, -Infinity]"


LOSSES = """
    from job_orchestration import TaskBase


    class Train(TaskBase):
        def run(self):
            return {"accuraccy": self.config["x"], "loss": float("nan"), "note": "a text"}
"""


@pytest.mark.slow
def test_a_search_whose_metric_no_trial_returns_waits_and_goes_on_when_it_is_mended(
    cli: Cli,
    drop: Callable[..., Path],
    repository: Callable[..., Path],
    workspace: Path,
    tmp_path: Path,
    git: Callable[..., str],
) -> None:
    (workspace / "workspace.yaml").write_text(
        f"notify: [{{command: 'tee {tmp_path}/message', on: stalled}}]\n"
    )
    code = repository(LOSSES)

    def search(metric: str) -> dict[str, object]:
        parts = {"method": "random", "n": 8, "metric": metric, "space": {"x": {"uniform": [0, 1]}}}
        return {"pathToTasks": str(code), "x": 0, "sweep": {"search": parts}}

    for name, metric in (("typo", "train.accuracy"), ("code", "train.acc"), ("nan", "train.loss")):
        drop(name, search(metric), tasks=["Train"])
    cli("ready")
    said = cli("work", "--until-idle").stdout
    reason = (
        "it waits, because its first 3 finished trials have no number train.accuracy (the numbers that they "
        "returned: train.accuraccy, train.loss). Did you mean train.accuraccy?"
    )
    assert said.count(f"search typo: {reason}") == 1
    folder = workspace / "Output" / "runs"
    assert {name: len([*(folder / name).glob("0*")]) for name in ("typo", "code", "nan")} == {
        "typo": 3,
        "code": 3,
        "nan": 8,
    }, "a metric that is NaN is there"
    overview = json.loads(cli("status", "--json").stdout)
    found = overview["searches"]
    assert [one["search"] for one in found] == ["code", "typo"]
    assert overview["forecast"]["runs"] == 0, "what waits takes no time"
    assert found[1]["problem"].startswith(reason)
    assert f"Search typo: {reason}" in cli("status").stdout
    shown = json.loads(cli("show", "typo", "--json").stdout)
    assert shown["problem"].startswith(reason)
    assert (shown["ended"], shown["trials"], shown["best"], shown["eta_s"]) == (3, 8, None, None)
    assert f"problem  {reason}" in cli("show", "typo").stdout
    message = json.loads((tmp_path / "message").read_text())
    assert (message["event"], message["output"]) == ("stalled", str(folder / message["config"]))
    assert message["title"].startswith(f"search {message['config']}: it waits")

    drop("typo", search("train.accuraccy"), tasks=["Train"])  # the metric is mended …
    tasks = code / "Tasks.py"
    tasks.write_text(tasks.read_text().replace('"loss"', '"acc": 1.0, "loss"'))
    git(code, "commit", "--all", "--quiet", "--message=mended")
    drop("code", search("train.acc"), tasks=["Train"])  # … or the task
    cli("ready")
    said = cli("work", "--workers", "2", "--until-idle").stdout
    assert said.count("all 8 trials have ended; the best is runs/") == 2
    assert len([*(folder / "typo").glob("0*")]) == len([*(folder / "code").glob("0*")]) == 8
    assert json.loads(cli("status", "--json").stdout)["searches"] == []
