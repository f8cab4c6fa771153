"""Sweeps through `ready`: each trial becomes one run, once, whatever comes in between."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from job_orchestration.commands.check import examine
from job_orchestration.config.yaml_writer import to_yaml
from job_orchestration.runs import catalog
from job_orchestration.submission import sweep_candidates, task_check
from job_orchestration.submission.checker import Checker
from job_orchestration.submission.pipeline import ready_drops
from job_orchestration.workspace import durable, layout
from tests.integration.write_faults import Killed, failing, operations_of

TASKS = """
from job_orchestration import NotApplicable, TaskBase

class Train(TaskBase):
    def __init__(self, config):
        self.config = config
    def validate(self):
        if self.config["a"] == 9:
            return [NotApplicable("there is no 9")]
        return ["a may not be 7"] if self.config["a"] == 7 else []
    def run(self):
        return {"a": self.config["a"], "lr": self.config.get("lr"), "seed": self.context.seed}
"""


def runs(sandbox_or_root, pattern="*/journal"):
    output = Path(getattr(sandbox_or_root, "root", sandbox_or_root)) / "Output"
    return sorted(str(p.parent.relative_to(output)) for p in output.rglob(pattern))


def test_a_sweep_becomes_a_run_for_each_trial_and_every_reader_sees_its_parameters(sandbox):
    sandbox.queue("grid", "Train", a=0, sweep={"grid": {"a": [1, 2], "train.lr": [0.1, 0.2]}})
    wanted = [f"grid/a={a},train.lr={lr}" for a in (1, 2) for lr in (0.1, 0.2)]
    assert runs(sandbox) == wanted
    assert sandbox.names("ConfigSources") == []
    assert sandbox.names("ConfigsToRun") == [f"grid,a={a},train.lr={lr}" for a in (1, 2) for lr in (0.1, 0.2)]
    sandbox.work()
    assert len(sandbox.names("Completed")) == 4
    (readied,) = sandbox.events(wanted[3], "readied")
    assert readied["trial"]["sweep"] == "grid"
    assert readied["trial"]["parameters"] == {"a": 2, "train.lr": 0.2}
    provenance = json.loads((sandbox.output(wanted[3]) / "provenance.json").read_text())
    assert (provenance["sweep"], provenance["parameters"]) == ("grid", {"a": 2, "train.lr": 0.2})
    assert "sweep:" in provenance["source"], "the text that was dropped"
    assert sandbox.results(wanted[3])["train"]["a"] == 2
    assert sandbox.results(wanted[3])["train"]["lr"] == 0.2
    seeds = {sandbox.results(run)["train"]["seed"] for run in wanted}
    assert len(seeds) == 4, "each trial has a seed of its own"
    found = {r.run: r.state.trial.parameters for r in catalog.entries(sandbox.workspace) if r.state}
    assert found[wanted[0]] == {"a": 1, "train.lr": 0.1}


def test_the_same_parameters_are_not_queued_twice_and_more_values_join_the_others(sandbox):
    sandbox.queue("grid", "Train", a=0, outputDir="{date}/g_{time}", sweep={"grid": {"a": [1, 2]}})
    first = runs(sandbox)
    time.sleep(1.1)  # {time} has another second by now
    sandbox.drop("grid", "Train", a=0, outputDir="{date}/g_{time}", sweep={"grid": {"a": [1, 2, 3]}})
    report = sandbox.ready()
    assert report.notes == ["grid.yaml: 2 of its 3 trials have runs already; 1 was queued"]
    assert [os.path.dirname(run) for run in runs(sandbox)] == [os.path.dirname(first[0])] * 3
    sandbox.drop(
        "grid", "Train", a=0, outputDir="{date}/g_{time}", sweep={"grid": {"a": [3, 1]}}, maxAttempts=9
    )
    report = sandbox.ready()
    assert report.notes == ["grid.yaml: 2 of its 2 trials have runs already; none were queued"]
    assert not report.queued
    assert sandbox.names("ConfigSources") == []
    assert len(sandbox.names("ConfigsToRun")) == 3


def test_a_sweep_that_computes_something_else_is_another_one(sandbox):
    sandbox.queue("grid", "Train", a=0, sweep={"grid": {"a": [1, 2]}})
    sandbox.drop("grid", "Train", a=0, epochs=5, sweep={"grid": {"a": [1, 2]}})
    report = sandbox.ready()
    assert "already exists" in report.refused["grid.yaml"][0].what
    sandbox.queue("grid", "Train", a=0, epochs=5, outputDir="other", sweep={"grid": {"a": [1, 2]}})
    assert len(runs(sandbox)) == 4


def test_overwriting_is_for_runs_with_another_config_and_equal_ones_stay(sandbox):
    sandbox.queue("grid", "Train", a=0, sweep={"grid": {"a": [1, 2]}})
    sandbox.work()
    more = {"overwriteOutputFine": True, "sweep": {"grid": {"a": [1, 2, 3]}}}
    sandbox.queue("grid", "Train", a=0, **more)
    assert sandbox.names("ConfigsToRun") == ["grid,a=3"]
    sandbox.work()
    sandbox.queue("grid", "Train", a=0, epochs=5, **more)
    assert len(sandbox.names("ConfigsToRun")) == 3
    assert len(runs(sandbox)) == 3
    assert sandbox.names("Completed") == [], "their tokens went to the trash with them"


def test_a_sweep_in_the_workspaces_defaults_is_refused(sandbox):
    (sandbox.root / "workspace.yaml").write_text("sweep: {grid: {a: [1, 2]}}\n")
    sandbox.drop("a", "Train", a=1)
    assert [p.what for p in sandbox.ready().refused["a.yaml"]] == ["a sweep is no default"]


def test_one_bad_trial_keeps_the_sweep_and_nothing_else(sandbox):
    sandbox.drop("bad", "Train", a=0, sweep={"grid": {"a": [1, 7], "lr": [1, 2]}})
    sandbox.drop("good", "Train", a=0, sweep={"grid": {"a": [1, 2]}})
    report = sandbox.ready()
    (problem,) = report.refused["bad.yaml"]
    assert "with a=7,lr=1 and 1 more trial: train: a may not be 7" in problem.what
    assert sandbox.names("ConfigSources") == ["bad"]
    assert (sandbox.root / "ConfigSources" / "bad.yaml.problems.txt").exists()
    assert runs(sandbox) == ["good/a=1", "good/a=2"]


def test_a_trial_that_does_not_exist_is_left_out_and_by_itself_refused(sandbox):
    sandbox.drop("some", "Train", a=0, sweep={"grid": {"a": [1, 9], "lr": [1, 2]}})
    sandbox.drop("alone", "Train", a=9)
    sandbox.drop("none", "Train", a=0, sweep={"grid": {"a": [9], "lr": [1, 2]}})
    report = sandbox.ready()
    assert set(report.refused) == {"alone.yaml", "none.yaml"}
    assert all("there is no 9" in problems[0].what for problems in report.refused.values())
    assert runs(sandbox) == ["some/a=1,lr=1", "some/a=1,lr=2"]
    said = [problem.what for queued in report.queued for problem in queued.warnings]
    assert said == [
        "left out, a=9,lr=1 and 1 more trial: there is no 9",
        "2 of 4 trials are left out, and the others are queued",
    ]
    lines = (sandbox.root / "Output/some/summary/left_out.tsv").read_text().splitlines()
    assert lines == ["trial\treason", *(f"a=9,lr={lr}\tthere is no 9" for lr in (1, 2))]
    sandbox.drop("some", "Train", a=0, sweep={"grid": {"a": [9, 1], "lr": [2, 3]}})
    sandbox.ready()
    lines = (sandbox.root / "Output/some/summary/left_out.tsv").read_text().splitlines()
    assert [line.partition("\t")[0] for line in lines[1:]] == [f"a=9,lr={lr}" for lr in (1, 2, 3)]


def test_a_bad_value_is_found_at_its_place_in_the_sweep(sandbox):
    sandbox.drop("bad", "Train", a=0, sweep={"grid": {"timeout": ["4h", "soon"]}})
    (problem,) = sandbox.ready().refused["bad.yaml"]
    text = (sandbox.root / "ConfigSources" / "bad.yaml").read_text().splitlines()
    assert text[problem.line - 1].strip() == "- soon"


def test_check_shows_what_a_sweep_expands_to(sandbox):
    sandbox.queue("grid", "Train", a=0, sweep={"grid": {"a": [1, 2]}})
    sandbox.drop("grid", "Train", a=0, sweep={"grid": {"a": [1, 2, 3]}})
    (found,) = examine(sandbox.workspace)
    assert found.is_fine
    assert found.run == "grid"
    assert [(t.parameters, t.run, t.is_new) for t in found.trials] == [
        ({"a": 1}, "grid/a=1", False),
        ({"a": 2}, "grid/a=2", False),
        ({"a": 3}, "grid/a=3", True),
    ]


# -- cut short ------------------------------------------------------------------------------------------


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """Makes workspaces with a sweep of importable tasks, so that neither git nor a host is needed."""
    monkeypatch.setattr(durable, "_fdatasync", lambda descriptor: None)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(task_check, "check", lambda *_, **__: None)
    monkeypatch.setattr("job_orchestration.submission.pipeline._BATCH", 2)
    made = iter(range(10_000))

    def make():
        workspace = layout.prepare(str(tmp_path / f"workspace{next(made)}"))
        tasks = [{"id": "t", "method": "a:B"}]
        config = {"outputDir": "s/{date}", "tasks": tasks, "sweep": {"grid": {"a": [1, 2, 3]}}}
        Path(workspace.sources, "s.yaml").write_bytes(to_yaml(config))
        return workspace

    return make


def ready(workspace):
    check = Checker(workspace)
    try:
        return ready_drops(workspace, check, lambda *_: True)
    finally:
        check.close()


@pytest.mark.parametrize("how", ["before", "after", "torn", "ENOSPC"])
def test_a_sweep_that_is_cut_anywhere_goes_on_and_each_trial_is_one_run(alone, how):
    whole = alone()
    count = len(operations_of(lambda: ready(whole)))
    assert count > 40
    for at in range(1, count + 1):
        workspace = alone()
        with suppress(Killed, OSError), failing(at, how):
            ready(workspace)
        queued = len(os.listdir(workspace.to_run))
        assert queued == 3 or os.listdir(workspace.sources) == ["s.yaml"], "the rest of it is not lost"
        report = ready(workspace)
        assert not report.refused, f"cut {how} operation {at}: {report.refused}"
        assert sorted(os.listdir(workspace.to_run)) == ["s,a=1.yaml", "s,a=2.yaml", "s,a=3.yaml"]
        assert len(runs(workspace.root)) == 3, f"cut {how} operation {at}"
        assert os.listdir(workspace.sources) == []
        assert os.listdir(workspace.opening) == []


@pytest.mark.slow
def test_what_a_sweep_leaves_out_is_recorded_wherever_ready_is_cut(alone, monkeypatch):
    def leave_out(*rest, **_):
        for candidate in rest[-1]:
            candidate.left_out = "there is none" if candidate.trial.parameters["a"] == 2 else ""

    monkeypatch.setattr(task_check, "check", leave_out)
    whole = alone()
    count = len(operations_of(lambda: ready(whole)))
    for at in range(1, count + 1):
        workspace = alone()
        with suppress(Killed, OSError), failing(at, "torn"):
            ready(workspace)
        ready(workspace)
        assert sorted(os.listdir(workspace.to_run)) == ["s,a=1.yaml", "s,a=3.yaml"]
        (lists,) = Path(workspace.output).glob("s/*/summary")
        assert [path.name for path in lists.iterdir() if path.suffix == ".tsv"] == ["left_out.tsv"]
        assert (lists / "left_out.tsv").read_text() == "trial\treason\na=2\tthere is none\n"
        assert os.listdir(workspace.sources) == []


def test_the_folders_of_a_pattern_are_found_and_no_others(tmp_path):
    workspace = layout.prepare(str(tmp_path / "workspace"))
    for folder in ("2026_11_20/x_10_00_00", "2026_11_20/x_10_00_00-2", "2026_11_20/y_10_00_00", "x/x_1", "a"):
        Path(workspace.output, folder).mkdir(parents=True)
    found = list(sweep_candidates._folders_of(workspace, "{date}/x_{time}", "a"))
    assert found == ["2026_11_20/x_10_00_00", "2026_11_20/x_10_00_00-2"]
    assert list(sweep_candidates._folders_of(workspace, "{name}", "a")) == ["a"]


def test_a_thousand_trials_are_readied_without_a_step_that_grows_with_their_number(alone, monkeypatch):
    monkeypatch.setattr("job_orchestration.submission.pipeline._BATCH", 200)
    workspace = alone()
    tasks = [{"id": "t", "method": "a:B"}]
    config = {"outputDir": "s", "tasks": tasks, "sweep": {"grid": {"a": {"range": [1, 1000, 1]}}}}
    Path(workspace.sources, "s.yaml").write_bytes(to_yaml(config))
    began = time.process_time()
    assert len(ready(workspace).queued) == 1000
    spent = time.process_time() - began
    print(f"{spent:.2f} ms of this process for each trial")
    assert spent < 10, "several times what it takes, on a slow machine"
