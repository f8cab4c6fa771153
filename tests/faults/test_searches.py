"""Searches through kills: every trial once, whichever process dies."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from job_orchestration.runs import opening
from job_orchestration.search import driver, searches
from tests.faults.storm import members
from tests.integration.harness import eventually
from tests.integration.write_faults import Killed, failing, operations_of

pytestmark = pytest.mark.slow

TASKS = """
import os, time
from job_orchestration import TaskBase

class Train(TaskBase):
    def __init__(self, config):
        self.config = config
    def validate(self):
        return [] if self.config["batchSize"] > 0 else ["batchSize must be positive"]
    def run(self):
        end = time.monotonic() + self.config["seconds"]
        while time.monotonic() < end:
            time.sleep(0.01)
        with open(os.path.join(self.config["notes"], "trained"), "ab", buffering=0) as file:
            file.write(f"{self.context.run}\\n".encode())
        return self.config["batchSize"] * 100 + self.config["epochs"] * 10 + self.config["modelType"]
"""


def original(*lengths: int, **more):
    """A config in the shape of the first Job Orchestration's example."""
    names = ("batchSize", "epochs", "totalTrainingSize", "modelType")
    params = [
        {"name": name, "type": "list", "vals": list(range(1, n + 1))}
        for name, n in zip(names, lengths, strict=True)
    ]
    return {
        "outputDir": "start",
        "optimisationMethod": "grid",
        "baseOutputDir": "hyper",
        "resultsFilepath": "results.yaml",
        "testMethod": "Train",
        "params": params,
        "seconds": 0.0,
        **more,
    }


def trials_of(sandbox, base: str = "hyper") -> list[str]:
    return sorted(p.name for p in sandbox.output(base).iterdir() if p.is_dir())


def storm(sandbox, lengths, kills, limit):
    """Two workers, killed so often; the trials must all be there once at the end."""
    total = 1
    for n in lengths:
        total *= n
    sandbox.queue(
        "hyper", "StartHyperparameterOptimization", **original(*lengths, seconds=0.05), maxAttempts=50
    )
    chance = random.Random(7)
    workers = [sandbox.start() for _ in range(2)]
    struck: Counter[str] = Counter()
    deadline = time.monotonic() + limit
    while (done := len(sandbox.names("Completed"))) < total + 1:
        assert time.monotonic() < deadline, f"{done} of {total + 1} runs, {dict(struck)}"
        time.sleep(0.05)
        if sum(struck.values()) < kills and sum(struck.values()) <= kills * done / total + 1:
            i = chance.randrange(len(workers))
            family = {kind: pids for kind, pids in members(workers[i].pid).items() if pids}
            kind = chance.choice(list(family))
            with suppress(ProcessLookupError):
                os.kill(chance.choice(family[kind]), signal.SIGKILL)
                struck[kind] += 1
        workers = [w if w.poll() is None else sandbox.start() for w in workers]
    eventually(lambda: not searches.active(sandbox.workspace), "the search ends")
    for worker in workers:
        worker.terminate()
    print(f"{total} trials, killed: {dict(struck)}")
    assert sum(struck.values()) >= kills
    return total


def assert_each_trial_once(sandbox, total):
    assert sandbox.names("Failed") == []
    assert sandbox.names("Running") == []
    assert len(sandbox.names("Completed")) == total + 1
    runs = [f"hyper/{name}" for name in trials_of(sandbox)]
    assert [int(Path(run).name[:4]) for run in runs] == list(range(1, total + 1))
    chosen = Counter()
    for run in runs:
        (readied,) = sandbox.events(run, "readied")
        chosen[json.dumps(readied["trial"]["parameters"], sort_keys=True)] += 1
        finished = Counter(e["task"] for e in sandbox.events(run, "task_finished"))
        assert finished == {"HyperparameterTrial": 1, "HyperparameterEvaluate": 1}, run
    assert len(chosen) == total
    assert set(chosen.values()) == {1}
    trained = Counter((sandbox.notes / "trained").read_text().split())
    assert set(trained) == set(runs)
    results = yaml.safe_load((sandbox.output("hyper") / "results.yaml").read_text())
    assert len(results) == total
    assert all(set(r) == {"batchSize", "epochs", "totalTrainingSize", "modelType", "result"} for r in results)
    best = max(results, key=lambda r: r["result"])
    said = [run for run in runs if f"The maximum setting of params found is: {best}" in sandbox.log(run)]
    assert said or "HyperparameterEvaluate" in sandbox.log(runs[-1])
    return said


@pytest.mark.timeout(280)
def test_a_search_of_sixty_trials_has_each_of_them_once_through_twenty_kills(sandbox):
    total = storm(sandbox, (5, 3, 2, 2), kills=20, limit=240)
    assert total == 60
    assert_each_trial_once(sandbox, total)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_first_releases_search_of_420_trials_has_each_of_them_once_through_twenty_kills(sandbox):
    total = storm(sandbox, (7, 5, 6, 2), kills=20, limit=1700)
    assert total == 420
    assert_each_trial_once(sandbox, total)


@pytest.mark.seed_fault("B-JO-25")
def test_trials_of_the_same_second_are_trials_of_their_own_and_leave_no_config_behind(sandbox):
    sandbox.queue("hyper", "StartHyperparameterOptimization", **original(2, 2, 1, 1))
    sandbox.work()
    assert len(trials_of(sandbox)) == 4
    assert assert_each_trial_once(sandbox, 4), "the last trial says which was best"
    assert sandbox.names("ConfigSources") == []
    assert not sandbox.ready().refused


BROKEN = [
    ({"optimisationMethod": "magic"}, "optimisationMethod 'magic' is not known; there are grid, random, tpe"),
    ({"numberTrials": 0}, "numberTrials 0 is not a number from 1"),
    ({"testMethod": "Trian"}, "Tasks.py has no class Trian. Did you mean Train?"),
    ({"numberTrials": 10**30}, "numberTrials of so many digits is not a number from 1 to 100000"),
    ({"parallelTrials": "x"}, "parallelTrials 'x' is not a number from 1 to 100000; leave it away"),
    ({"parallelTrials": 0}, "parallelTrials 0 is not"),
    ({"parallelTrials": None}, "parallelTrials None is not"),
    ({"parallelTrials": 1.5}, "parallelTrials 1.5 is not"),
    (
        {"params": [{"name": "x", "type": "float", "min": 1, "max": 2}], "gridLineCount": 10**12},
        "gridLineCount 1000000000000 is not a number from 1 to 100000",
    ),
    (
        {"params": [{"name": n, "type": "list", "vals": list(range(400))} for n in "abcdefgh"]},
        "params make a grid of more than 100000 trials; use fewer values, or write numberTrials",
    ),
    ({"params": [{"name": "x", "type": "float", "min": 1, "max": math.inf}]}, "x has no numbers as min"),
    ({"params": [{"name": "x", "type": "float", "min": 1, "max": 10**400}]}, "x has no numbers as min"),
    ({"resultsFilepath": None}, "resultsFilepath is missing, or is no text"),
    *(
        ({"resultsFilepath": path}, "a path inside the folder of the trials, such as results.yaml")
        for path in (
            *("/etc/motd", "~/results.yaml", "../../../workspace.yaml", "a/../../b.yaml", "../hyper2/r.yaml"),
            *(".", "search.yaml", "0001,batchSize=1/config.yaml", "/dev/null", "a\0b"),
        )
    ),
    ({"params": [{"name": "batchSize", "type": "list", "vals": [-1]}]}, "batchSize must be positive"),
    (
        {"params": [{"name": "x", "type": "float", "min": 2, "max": 1}], "gridLineCount": 2},
        "x has a min above",
    ),
    ({"params": [{"name": "x", "type": "float", "min": 1, "max": 2}]}, "gridLineCount None is not a number"),
    ({"params": [{"name": "x", "type": "int"}]}, "params[0]: x has the type 'int'; there are float and list"),
]


def test_a_misspelt_key_of_a_search_is_doubted(sandbox):
    config = original(1, 1, 1, 1)
    number = config.pop("parallelTrials", 2)
    sandbox.drop("h", "StartHyperparameterOptimization", **config, paralelTrials=number, extra=1)
    method = config.pop("optimisationMethod")
    sandbox.drop(
        "z", "StartHyperparameterOptimization", **{**config, "optimizationMethod": method, "outputDir": "z"}
    )
    report = sandbox.ready()
    (queued,) = report.queued
    (warning,) = queued.warnings
    assert (warning.key, warning.what) == (
        "paralelTrials",
        "starthyperparameteroptimization: the search does not read this. Did you mean parallelTrials?",
    )
    assert [p.what for p in report.refused["z.yaml"] if not p.is_error] == [
        "starthyperparameteroptimization: the search does not read this. Did you mean optimisationMethod?"
    ]


@pytest.mark.seed_fault("B-JO-26")
def test_what_is_wrong_with_a_search_is_found_before_it_is_queued(sandbox):
    for i, (change, _) in enumerate(BROKEN):
        sandbox.drop(
            f"h{i}",
            "StartHyperparameterOptimization",
            **{**original(1, 1, 1, 1), "outputDir": f"s{i}", **change},
        )
    sandbox.drop("missing", "StartHyperparameterOptimization", outputDir="missing")
    refused = sandbox.ready().refused
    for i, (_, what) in enumerate(BROKEN):
        assert any(what in p.what for p in refused[f"h{i}.yaml"]), (what, refused[f"h{i}.yaml"])
    assert any(
        "params missing from StartHyperparameterOptimization" in p.what for p in refused["missing.yaml"]
    )


def test_a_file_of_results_outside_that_an_older_release_queued_is_not_written(sandbox):
    outside = sandbox.folder / "outside.yaml"
    outside.write_text("mine")
    search = {"method": "grid", "metric": "train", "space": {"batchSize": [1, 2]}}
    sandbox.queue("s", "Train", epochs=1, modelType=1, seconds=0, batchSize=1, sweep={"search": search})
    order = sandbox.root / "Misc" / "searches" / "s" / "search.json"
    order.write_text(order.read_text().replace('"results_file": ""', f'"results_file": "{outside}"'))
    assert str(outside) in order.read_text()
    assert "all 2 trials have ended" in sandbox.work()
    assert outside.read_text() == "mine"


@pytest.mark.seed_fault("B-JO-26")
def test_the_number_of_trials_may_be_left_out_and_a_grid_may_have_one_line(sandbox):
    params = [{"name": "batchSize", "type": "float", "min": 3, "max": 9}]
    config = {**original(1, 1, 1, 1), "params": params, "gridLineCount": 1, "epochs": 0, "modelType": 0}
    sandbox.queue("hyper", "StartHyperparameterOptimization", **config)
    sandbox.work()
    assert trials_of(sandbox) == ["0001,batchSize=3.0"]
    results = yaml.safe_load((sandbox.output("hyper") / "results.yaml").read_text())
    assert results == [{"batchSize": 3.0, "result": 300.0}]


@pytest.mark.seed_fault("B-JO-26")
def test_trials_that_end_at_the_same_time_lose_no_result(sandbox):
    sandbox.queue("hyper", "StartHyperparameterOptimization", **original(4, 3, 1, 1), numberTrials=10)
    workers = [sandbox.start("--until-idle") for _ in range(3)]
    for worker in workers:
        sandbox.ended(worker)
    results = yaml.safe_load((sandbox.output("hyper") / "results.yaml").read_text())
    assert len(results) == 10
    assert len(sandbox.names("Completed")) == 11


# -- the steps of opening trials, each cut short ---------------------------------------------------------


SEARCH = {
    "method": "random",
    "n": 3,
    "parallel": 2,
    "metric": "train",
    "space": {"batchSize": {"int": [1, 99]}},
}


@pytest.mark.parametrize("how", ["after", "ENOSPC"])
def test_an_advance_that_is_cut_anywhere_opens_each_trial_once(sandbox, how, monkeypatch):
    monkeypatch.setattr("job_orchestration.workspace.durable._fdatasync", lambda descriptor: None)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    sandbox.queue("s", "Train", epochs=1, modelType=1, seconds=0, batchSize=1, sweep={"search": SEARCH})
    order = searches.read(sandbox.workspace, "s")

    def fresh(n: int):
        from dataclasses import replace

        return replace(order, name=f"s{n}", base=f"base{n}", search=replace(order.search, n=2))

    def advance(made):
        with opening.only_one(sandbox.workspace):
            opening.recover(sandbox.workspace)
            searches.write(sandbox.workspace, made)
            driver.SearchDriver(sandbox.workspace, print).advance_one(made)

    count = len(operations_of(lambda: advance(fresh(0))))
    assert count > 20
    for at in range(1, count + 1):
        made = fresh(at)
        with suppress(Killed, OSError), failing(at, how):
            advance(made)
        advance(made)
        known = searches.results(sandbox.workspace, made)
        assert [r.number for r in known] == [1, 2], f"cut {how} operation {at}"
        tokens = [n for n in os.listdir(sandbox.workspace.to_run) if n.startswith(f"s{at},")]
        assert sorted(tokens) == [f"s{at},0001.yaml", f"s{at},0002.yaml"]
        assert os.listdir(sandbox.workspace.opening) == []
