"""`results`, and the choice of runs that commands share, through the command line on real runs."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from job_orchestration.cli.main import main

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    Cli = Callable[..., subprocess.CompletedProcess[str]]

TASKS = """
    from pathlib import Path

    from job_orchestration import TaskBase


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config


    class Train(Base):
        def run(self):
            lr = self.config["lr"]
            self.context.store.save_json("metrics.json", {"accuracy": 1 - lr, "steps": self.config["epochs"]})
            Path(self.config["outputDir"], "results.yaml").write_text(f"score: {lr * 10}\\nnote: =1+1\\n")
            return {"accuracy": 1 - lr, "curve": [0.5, 1 - lr]}


    class Report(Base):
        def run(self):
            if self.config["model"] == "Broken":
                raise ValueError("no report")
            return self.config["model"]
"""
FACTS = ["run", "config", "place", "status", "outcome", "commit", "seed", "attempt"]
FACTS += ["readied_at", "started_at", "ended_at", "elapsed_s", "waiting_s", "error"]


def test_results_of_real_runs_in_every_form(
    cli: Cli, drop: Callable[..., Path], repository: Callable[..., Path], tmp_path: Path
) -> None:
    code = str(repository(TASKS))
    tasks = [{"id": "train", "method": "Train", "epochs": 3}, {"id": "report", "method": "Report"}]
    for name, model, lr in (("a", "Conv", 0.1), ("b", "MLP", 0.2), ("c", "Conv", 0.3), ("d", "Broken", 0.4)):
        content = {"pathToTasks": code, "tasks": tasks, "model": model, "lr": lr, "maxAttempts": 1}
        drop(name, {**content, "outputDir": f"sweep/lr={lr}"})
    cli("ready")
    assert "There are no results" not in cli("results").stderr  # a run that waits has its parameters
    cli("work", "--until-idle", check=1)

    rows = json.loads(cli("results", "--json").stdout)
    assert [row["config"] for row in rows] == ["a", "b", "c", "d"]
    assert list(rows[0]) == [
        *FACTS,
        *("model", "lr", "train.method", "train.epochs", "report.method"),
        *("train.accuracy", "train.curve", "report", "score", "note", "train.steps"),
    ]
    first = rows[0]
    assert (first["run"], first["lr"], first["train.accuracy"]) == ("sweep/lr=0.1", 0.1, 0.9)
    assert (first["train.steps"], first["report"], first["score"]) == (3, "Conv", 1.0)
    assert (rows[3]["place"], rows[3]["train.accuracy"], rows[3]["report"]) == ("failed", 0.6, None)
    assert "no report" in rows[3]["error"]

    lines = list(csv.reader(io.StringIO(cli("results", "--csv", "sweep/lr=0.[12]").stdout)))
    assert [line[lines[0].index("train.accuracy")] for line in lines] == ["train.accuracy", "0.9", "0.8"]
    assert lines[1][lines[0].index("note")] == "'=1+1"
    best = cli("results", "--best", "accuracy", "--filter", 'model == "Conv" and epochs > 2').stdout
    assert best.splitlines()[0].split()[:2] == ["run", "train.accuracy"]
    assert best.splitlines()[1].split()[:2] == ["sweep/lr=0.1", "0.9"]
    worst = cli("results", "--best", "score", "--lowest", "--top", "2", "--ndjson", "--status", "completed")
    assert [json.loads(line)["config"] for line in worst.stdout.splitlines()] == ["a", "b"]
    groups = json.loads(cli("results", "--group-by", "model", "--json", "--status", "completed").stdout)
    assert [(g["model"], g["count"], g["train.accuracy.mean"]) for g in groups] == [
        ("Conv", 2, 0.8),
        ("MLP", 1, 0.8),
    ]
    table = cli("results", "--md", "--columns", "run,lr", "--sort", "lr", "--descending", "--top", "1").stdout
    assert table == "| run | lr |\n| --- | --- |\n| sweep/lr=0.4 | 0.4 |\n"

    for status in ("completed", "failed"):
        cli("results", "--to", f"sqlite:///{tmp_path}/r.db", "--status", status)
    cli("results", "--parquet", str(tmp_path / "r.parquet"))
    assert (tmp_path / "r.parquet").read_bytes()[:4] == b"PAR1"
    with closing(sqlite3.connect(tmp_path / "r.db")) as connection:
        found = connection.execute('SELECT config, "train.accuracy" FROM results ORDER BY config').fetchall()
        assert found == [("a", 0.9), ("b", 0.8), ("c", 0.7), ("d", 0.6)]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    assert {
        r["config"]
        for r in json.loads(cli("status", "sweep/*", "--filter", "lr > .2", "--json").stdout)["runs"]
    } == {"c", "d"}
    assert "No run fits." in cli("status", "--filter", "lr > 9").stderr
    assert "No run that fits has failed" in cli("retry", "--filter", 'model == "Conv"').stdout
    assert "sweep/lr=0.4: waits" in cli("retry", "sweep/*", "--filter", 'model == "Broken"').stdout


def test_mistakes_are_reported_in_a_sentence(
    drop: Callable[..., Path], workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(*words: str) -> tuple[int, str, str]:
        code = main(["--workspace", str(workspace), *words])
        return (code, *capsys.readouterr())

    assert printed("results") == (0, "", "There are no results of such runs.\n")
    assert printed("results", "--json")[:2] == (0, "[]\n")
    assert printed("results", "--csv")[:2] == (0, "")
    drop("a", {"lr": 1})
    assert printed("ready")[0] == 0
    assert printed("results", "--best", "accuracy") == (0, "", "There are no results of such runs.\n")
    assert "There is lr" in printed("results", "--sort", "accuracy")[2], "there are no figures"
    for words, says in (
        (["--filter", "lr = 1"], "column 4: a single = is not a comparison. Write == for equal"),
        (["--filter", "lrr == 1"], "No run here has lrr. Did you mean lr?"),
        (["--status", "fine"], "'fine' is not one of sources, to_run"),
        (["--columns", "rum"], "Did you mean run?"),
        (["zzz*"], "There is no run that zzz* fits"),
        (["--csv", "--json"], "one format"),
        (["--top", "0"], "'0' is not a number from 1"),
    ):
        code, _, complaint = printed("results", *words)
        assert (code, says in complaint) == (2, True), complaint
