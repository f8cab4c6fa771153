"""Searches by Optuna, pruning, and a search that goes on."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from job_orchestration.actions import selection
from job_orchestration.actions.cancel import cancel
from job_orchestration.actions.retry import retry
from job_orchestration.files import searches
from job_orchestration.model.sweep import Choice, Result, Search, Uniform, Whole

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


def test_a_search_ends_with_its_best_shown_beside_its_trials(arena):
    arena.queue("s", "Train", x=0, sweep=block())
    said = arena.work()
    assert "search s: all 6 trials have ended; the best is s/" in said
    order = searches.read(arena.workspace, "s")
    known = searches.results(arena.workspace, order)
    assert [r.number for r in known] == [1, 2, 3, 4, 5, 6]
    best = max(known, key=lambda r: r.value)
    text = (arena.output("s") / "search.yaml").read_text()
    assert f"run: {best.run}" in text
    assert "ended: 6" in text
    assert searches.active(arena.workspace) == []
    shutil.rmtree(arena.root / "Output" / known[5].run)
    assert searches.results(arena.workspace, order) == known, "what was taken away later is not repeated"
    shutil.rmtree(arena.output("s"))
    assert searches.results(arena.workspace, order) == [], "without any of its trials it begins anew"


def test_a_search_that_is_readied_again_goes_on_to_more_trials_and_a_changed_one_is_another(arena):
    arena.queue("s", "Train", x=0, sweep=block(n=2))
    first = sorted(os.listdir(arena.output("s")))
    arena.drop("s", "Train", x=0, sweep=block(n=4, parallel=1))
    assert "s.yaml: the search s goes on, to 4 trials" in arena.ready().notes
    arena.work()
    assert set(first) < set(os.listdir(arena.output("s")))
    assert len(arena.names("Completed")) == 4
    arena.drop("s", "Train", x=0, sweep=block(seed=3))
    assert "already exists" in arena.ready().refused["s.yaml"][0].what
    arena.queue("s", "Train", x=0, outputDir="t", sweep=block(seed=3))
    assert searches.active(arena.workspace) == ["s-2"]


def test_a_trial_that_is_worse_than_the_median_ends_early_and_fails_nothing(arena):
    arena.queue("s", "Train", x=0, sweep=block(n=12, parallel=1, prune="median"))
    worker = arena.start("--until-idle")
    said = arena.ended(worker)
    assert worker.returncode == 0, said
    pruned = arena.names("Failed")
    assert pruned
    assert len(pruned) + len(arena.names("Completed")) == 12
    order = searches.read(arena.workspace, "s")
    known = searches.results(arena.workspace, order)
    assert sum(r.pruned for r in known) == len(pruned)
    worst = min(known, key=lambda r: score({**r.parameters, "k": 0, "act": "a"}))
    assert worst.pruned or worst.number <= 5
    event = arena.events(next(r.run for r in known if r.pruned), "cancelled")
    assert event[0]["reason"].startswith("pruned at step")


def test_a_cancelled_search_opens_no_more_trials_until_it_is_readied_again(arena):
    arena.queue("s", "Train", x=0, outputDir="t", sweep=block(parallel=2))
    arena.queue("other", "Train", x=0)
    ended = cancel(arena.workspace, selection.Choice(("s",)))
    assert (ended.searches, len(ended.runs), ended.refused) == (["s"], 2, [])
    arena.work()
    assert arena.names("Completed") == ["other"]
    assert len(arena.names("Failed")) == 2
    again = cancel(arena.workspace, selection.Choice(("t",)))
    assert (again.searches, again.runs) == ([], [])
    arena.queue("s", "Train", x=0, outputDir="t", sweep=block(parallel=2))
    arena.work()
    assert len(arena.names("Completed")) == 5, "the two are cancelled, the other four are done"
    arena.queue("s", "Train", x=0)
    assert cancel(arena.workspace, selection.Choice(("s",))).runs == ["s"], "a run of that name comes first"


def test_a_trial_that_brings_a_value_after_all_is_shown_though_its_search_has_ended(arena):
    arena.queue("s", "Train", x=0, sweep=block(n=2, parallel=2))
    cancel(arena.workspace, selection.Choice(("s/*",)))
    assert "none of them has a value" in arena.work()
    retry(arena.workspace, selection.Choice(("s/0001*",)))
    arena.work()
    assert "run: s/0001" in (arena.output("s") / "search.yaml").read_text()
    assert len(arena.names("Completed")) == 1


def test_a_metric_that_no_trial_returns_is_told_of_when_the_first_has_completed(arena):
    arena.queue("s", "Train", x=0, sweep=block(n=3, parallel=1, metric="train.scoer"))
    said = arena.work()
    assert said.count("search s: s/0001") == said.count("returned no number train.scoer") == 1
    assert said.index("train.scoer") < said.index("s/0002")


# -- Optuna -----------------------------------------------------------------------------------------------


def test_optuna_goes_on_after_any_kill_as_if_there_had_been_none(tmp_path):
    pytest.importorskip("optuna", reason="the extra [optuna] is not installed")
    from job_orchestration.engine.optuna_sampler import OptunaSampler

    search = Search("tpe", SPACE, "train", 15, seed=4)

    def searched(folder: Path, *, killed: bool) -> list[Result]:
        folder.mkdir()
        sampler, known = OptunaSampler(search, str(folder)), []
        for number in range(1, 16):
            if killed:  # a new process knows what is on the disk
                sampler = OptunaSampler(search, str(folder))
            sampler.tell(known)
            proposed = sampler.ask(number)
            if killed:  # and asks again for a trial of which no run was made
                assert OptunaSampler(search, str(folder)).ask(number) == proposed
            known.append(Result(number, f"r{number}", proposed, score(proposed), ended=True, complete=True))
        return known

    quiet, stormy = searched(tmp_path / "quiet", killed=False), searched(tmp_path / "stormy", killed=True)
    assert [r.parameters for r in quiet] == [r.parameters for r in stormy]
    assert len({str(r.parameters) for r in quiet}) == 15
    assert all(isinstance(r.parameters["layers"], list) for r in quiet)
    (tmp_path / "stormy" / "optuna.log").write_text("{this is no journal}\n{nor this}\n")
    sampler = OptunaSampler(search, str(tmp_path / "stormy"))
    sampler.tell(stormy)
    assert sampler.ask(16) is not None
    assert len(sampler._study.get_trials()) == 16, "it was written anew from the runs"


def test_a_search_by_optuna_runs_its_trials(arena):
    pytest.importorskip("optuna", reason="the extra [optuna] is not installed")
    arena.queue("s", "Train", x=0, sweep=block(method="tpe", parallel=2, n=4))
    arena.work()
    assert len(arena.names("Completed")) == 4
    assert "best:" in (arena.output("s") / "search.yaml").read_text()


def test_a_search_by_optuna_is_refused_with_a_sentence_where_it_is_not_installed(arena, monkeypatch):
    monkeypatch.setattr("job_orchestration.actions.sweeps.has_package_for", lambda search: False)
    arena.drop("s", "Train", x=0, sweep=block(method="tpe"))
    (problem,) = arena.ready().refused["s.yaml"]
    assert "needs Optuna, which is not installed" in problem.what
    assert "pip install 'job-orchestration[optuna]'" in problem.todo
