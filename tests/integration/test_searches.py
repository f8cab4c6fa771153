"""Searches by Optuna, pruning, and a search that goes on."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from job_orchestration.commands import selection
from job_orchestration.commands.cancel import cancel
from job_orchestration.commands.retry import retry
from job_orchestration.commands.status import status
from job_orchestration.search import searches
from job_orchestration.search.parameter_space import Choice, Uniform, Whole
from job_orchestration.search.search_settings import Search, TrialResult

if TYPE_CHECKING:
    from pathlib import Path

TASKS = """
from job_orchestration import TaskBase

class Train(TaskBase):
    def __init__(self, config):
        self.config = config
    def run(self):
        x = self.config["x"]
        for step in range(4):
            self.context.progress(step, 4, metric=-abs(x - 0.3) * (step + 1))
        return {"score": -abs(x - 0.3)}
"""
SPACE = {"x": Uniform(0.0, 1.0), "k": Whole(1, 8), "act": Choice(("a", "b")), "layers": Choice(([1], [2, 3]))}


def block(**changes):
    space = {"x": {"uniform": [0, 1]}}
    return {"search": {"method": "random", "n": 6, "metric": "train.score", "space": space, **changes}}


def score(parameters):
    return -abs(parameters["x"] - 0.3) - parameters["k"] / 10 - (parameters["act"] == "b")


def test_a_search_ends_with_its_best_shown_beside_its_trials(sandbox):
    sandbox.queue("s", "Train", x=0, sweep=block())
    said = sandbox.work()
    assert "search s: all 6 trials have ended; the best is s/" in said
    order = searches.read(sandbox.workspace, "s")
    known = searches.results(sandbox.workspace, order)
    assert [r.number for r in known] == [1, 2, 3, 4, 5, 6]
    best = max(known, key=lambda r: r.value)
    text = (sandbox.output("s") / "search.yaml").read_text()
    assert f"run: {best.run}" in text
    assert "ended: 6" in text
    assert searches.active(sandbox.workspace) == []
    shutil.rmtree(sandbox.root / "Output" / known[5].run)
    assert searches.results(sandbox.workspace, order) == known, "what was taken away later is not repeated"
    shutil.rmtree(sandbox.output("s"))
    assert searches.results(sandbox.workspace, order) == [], "without any of its trials it begins anew"


def test_a_search_that_is_readied_again_goes_on_to_more_trials_and_a_changed_one_is_another(sandbox):
    sandbox.queue("s", "Train", x=0, sweep=block(n=2))
    first = sorted(os.listdir(sandbox.output("s")))
    sandbox.drop("s", "Train", x=0, sweep=block(n=4, parallel=1))
    assert "s.yaml: the search s goes on, to 4 trials" in sandbox.ready().notes
    sandbox.work()
    assert set(first) < set(os.listdir(sandbox.output("s")))
    assert len(sandbox.names("Completed")) == 4
    sandbox.drop("s", "Train", x=0, sweep=block(seed=3))
    assert "already exists" in sandbox.ready().refused["s.yaml"][0].what
    sandbox.queue("s", "Train", x=0, outputDir="t", sweep=block(seed=3))
    assert searches.active(sandbox.workspace) == ["s-2"]


@pytest.mark.parametrize("taken", ["s", "s/deep"])
def test_a_file_in_the_place_of_a_searchs_folder_is_a_problem_of_that_config_alone(sandbox, taken):
    (sandbox.root / "Output" / "s").write_text("notes\n")
    sandbox.drop("s", "Train", x=0, outputDir=taken, sweep=block())
    sandbox.drop("other", "Train", x=0)
    report = sandbox.ready()
    (problem,) = report.refused["s.yaml"]
    assert (problem.key, problem.todo) == ("outputDir", "Choose another outputDir")
    assert f"the folder {taken} already exists" in problem.what
    assert sandbox.names("ConfigsToRun") == ["other"]
    assert (sandbox.root / "Output" / "s").read_text() == "notes\n"


@pytest.mark.slow
def test_a_trial_that_is_worse_than_the_median_ends_early_and_fails_nothing(sandbox):
    sandbox.queue("s", "Train", x=0, sweep=block(n=12, parallel=1, prune="median"))
    worker = sandbox.start("--until-idle")
    said = sandbox.ended(worker)
    assert worker.returncode == 0, said
    pruned = sandbox.names("Failed")
    assert pruned
    assert len(pruned) + len(sandbox.names("Completed")) == 12
    order = searches.read(sandbox.workspace, "s")
    known = searches.results(sandbox.workspace, order)
    assert sum(r.pruned for r in known) == len(pruned)
    worst = min(known, key=lambda r: score({**r.parameters, "k": 0, "act": "a"}))
    assert worst.pruned or worst.number <= 5
    event = sandbox.events(next(r.run for r in known if r.pruned), "cancelled")
    assert event[0]["reason"].startswith("pruned at step")


def test_a_cancelled_search_opens_no_more_trials_until_it_is_readied_again(sandbox):
    sandbox.queue("s", "Train", x=0, outputDir="t", sweep=block(parallel=2))
    sandbox.queue("other", "Train", x=0)
    ended = cancel(sandbox.workspace, selection.Selection(("s",)))
    assert (ended.searches, len(ended.runs), ended.refused) == (["s"], 2, [])
    sandbox.work()
    assert sandbox.names("Completed") == ["other"]
    assert len(sandbox.names("Failed")) == 2
    again = cancel(sandbox.workspace, selection.Selection(("t",)))
    assert (again.searches, again.runs) == ([], [])
    sandbox.queue("s", "Train", x=0, outputDir="t", sweep=block(parallel=2))
    sandbox.work()
    assert len(sandbox.names("Completed")) == 5, "the two are cancelled, the other four are done"
    sandbox.queue("s", "Train", x=0)
    assert cancel(sandbox.workspace, selection.Selection(("s",))).runs == ["s"], (
        "a run of that name comes first"
    )


def test_a_trial_that_brings_a_value_after_all_is_shown_though_its_search_has_ended(sandbox):
    sandbox.queue("s", "Train", x=0, sweep=block(n=2, parallel=2))
    cancel(sandbox.workspace, selection.Selection(("s/*",)))
    assert "none of them has a value" in sandbox.work()
    retry(sandbox.workspace, selection.Selection(("s/0001*",)))
    sandbox.work()
    assert "run: s/0001" in (sandbox.output("s") / "search.yaml").read_text()
    assert len(sandbox.names("Completed")) == 1


def test_a_metric_that_no_trial_returns_is_reported_when_the_first_has_completed(sandbox):
    sandbox.queue("s", "Train", x=0, sweep=block(n=3, parallel=1, metric="train.scoer"))
    said = sandbox.work()
    assert said.count("search s: s/0001") == said.count("returned no number train.scoer") == 1
    assert said.index("train.scoer") < said.index("s/0002")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"parallel": 2', '"parallel": "x"', "it could not be advanced (TypeError("),
        ('"search": {', '"search": [{', "its order cannot be read (search.json). Drop its config again"),
    ],
)
def test_a_search_that_no_worker_can_advance_is_named_in_status_and_stops_no_other(sandbox, old, new, said):
    sandbox.queue("s", "Train", x=0, sweep=block(n=3, parallel=2))
    sandbox.queue("t", "Train", x=0, sweep=block(n=3, parallel=2))
    order = sandbox.root / "Misc" / "searches" / "s" / "search.json"
    before = order.read_text()
    assert before.count(old) == 1
    order.write_text(before.replace(old, new))
    assert "search t: all 3 trials have ended" in sandbox.work()
    (found,) = status(sandbox.workspace).searches
    assert (found.search, found.problem[: len(said)]) == ("s", said)
    order.write_text(before)
    assert "search s: all 3 trials have ended" in sandbox.work()
    assert not status(sandbox.workspace).searches


# -- Optuna -----------------------------------------------------------------------------------------------


def test_optuna_goes_on_after_any_kill_as_if_there_had_been_none(tmp_path):
    pytest.importorskip("optuna", reason="the extra [optuna] is not installed")
    from job_orchestration.search.optuna_sampler import OptunaSampler

    search = Search("tpe", SPACE, "train", 15, seed=4)

    def searched(folder: Path, *, killed: bool) -> list[TrialResult]:
        folder.mkdir()
        sampler, known = OptunaSampler(search, str(folder)), []
        for number in range(1, 16):
            if killed:  # a new process knows what is on the disk
                sampler = OptunaSampler(search, str(folder))
            sampler.observe(known)
            proposed = sampler.ask(number)
            if killed:  # and asks again for a trial of which no run was made
                assert OptunaSampler(search, str(folder)).ask(number) == proposed
            known.append(
                TrialResult(number, f"r{number}", proposed, score(proposed), ended=True, complete=True)
            )
        return known

    quiet, stormy = searched(tmp_path / "quiet", killed=False), searched(tmp_path / "stormy", killed=True)
    assert [r.parameters for r in quiet] == [r.parameters for r in stormy]
    assert len({str(r.parameters) for r in quiet}) == 15
    assert all(isinstance(r.parameters["layers"], list) for r in quiet)
    (tmp_path / "stormy" / "optuna.log").write_text("{this is no journal}\n{nor this}\n")
    sampler = OptunaSampler(search, str(tmp_path / "stormy"))
    sampler.observe(stormy)
    assert sampler.ask(16) is not None
    assert len(sampler._study.get_trials()) == 16, "it was written anew from the runs"


def test_a_search_by_optuna_runs_its_trials(sandbox):
    pytest.importorskip("optuna", reason="the extra [optuna] is not installed")
    sandbox.queue("s", "Train", x=0, sweep=block(method="tpe", parallel=2, n=4))
    sandbox.work()
    assert len(sandbox.names("Completed")) == 4
    assert "best:" in (sandbox.output("s") / "search.yaml").read_text()


def test_a_search_by_optuna_is_refused_with_a_sentence_where_it_is_not_installed(sandbox, monkeypatch):
    monkeypatch.setattr("job_orchestration.search.driver.has_package_for", lambda search: False)
    sandbox.drop("s", "Train", x=0, sweep=block(method="tpe"))
    (problem,) = sandbox.ready().refused["s.yaml"]
    assert "needs Optuna, which is not installed" in problem.what
    assert "pip install 'job-orchestration[optuna]'" in problem.todo
