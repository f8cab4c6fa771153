"""A search's block, its samplers, and when a trial is pruned."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.config.yaml_reader import read
from job_orchestration.hyperparameter_optimisation.base import HyperParameterOptimisationBase
from job_orchestration.hyperparameter_optimisation.grid import (
    GridOptimizationConfig,
    hyperParameterOptimisationFactory,
)
from job_orchestration.runs.state import RunState, TaskState
from job_orchestration.search import pruning, samplers, search_settings, sweep_expansion
from job_orchestration.search.parameter_space import Choice, Uniform, Whole
from job_orchestration.search.search_settings import TrialResult, value_of

BASE = "outputDir: out\ntasks:\n- {id: train, method: Train}\nsweep:\n  search:\n"
SPACE = {"x": Uniform(0, 1), "k": Whole(1, 3), "act": Choice(("relu", ["a", 1], None))}


def parsed(*lines: str):
    root, problems = read((BASE + "".join(f"    {line}\n" for line in lines)).encode(), "a.yaml")
    assert not problems
    return search_settings.parse(root, sweep_expansion.block_of(root), "a.yaml")


def test_a_search_is_understood_and_what_is_left_out_has_a_meaning():
    found, problems = parsed(
        "method: tpe", "n: 50", "metric: train.accuracy", "space: {x: {uniform: [0, 1]}}"
    )
    assert not problems
    assert (found.n, found.parallel, found.maximize, found.seed, found.prune) == (50, 4, True, 0, False)
    found, problems = parsed(
        "method: grid",
        "metric: train",
        "direction: minimize",
        "space: {x: {linear: [0, 1], n: 5}, y: [1, 2]}",
    )
    assert not problems
    assert (found.n, found.maximize) == (10, False)


def test_everything_wrong_with_a_search_is_found_in_one_go():
    found, problems = parsed(
        "method: magic", "metric: tarin.accuracy", "n: 0", "direction: up", "prune: all", "paralel: 4",
        "space: {x: {uniform: [2, 1]}, tran.y: [1]}",
    )  # fmt: skip
    assert found is None
    assert {p.key.removeprefix("sweep.search.") for p in problems} == {
        "method", "metric", "n", "direction", "prune", "paralel", "space.x", "space.tran.y",
    }  # fmt: skip
    assert all(p.line and p.todo for p in problems)


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (("method: random", "metric: train", "space: {x: [1]}"), "the number of trials is missing"),
        (("method: grid", "metric: train", "space: {x: {uniform: [0, 1]}}"), "a grid needs single values"),
        (("method: random", "metric: train", "n: 3"), "it has no space"),
    ],
)
def test_a_search_that_lacks_something_names_it(lines, what):
    assert what in [p.what for p in parsed(*lines)[1]]


def test_a_space_that_is_written_down_is_the_same_when_it_is_read():
    space = {**SPACE, "lr": Uniform(1e-4, 1.0, log=True)}
    assert search_settings.space_of(search_settings.as_json(space)) == space


def test_a_grid_has_every_combination_once_and_then_none():
    sampler = samplers.GridSampler({"a": Choice((1, 2)), "b": Choice(("x", "y", "z"))})
    found = samplers.first(sampler, 100)
    assert [(p["a"], p["b"]) for p in found] == [(a, b) for a in (1, 2) for b in "xyz"]
    assert sampler.ask(7) is None


@given(st.integers(), st.integers(1, 10**6))
def test_a_draw_depends_on_its_seed_and_number_alone(seed, number):
    sampler = samplers.RandomSampler(SPACE, seed)
    found = sampler.ask(number)
    assert samplers.RandomSampler(SPACE, seed).ask(number) == found
    assert 0 <= found["x"] <= 1
    assert found["k"] in {1, 2, 3}


def test_a_space_is_tried_out_at_its_ends():
    assert samplers.corners(SPACE) == [
        {"x": 0, "k": 1, "act": "relu"},
        {"x": 1, "k": 3, "act": ["a", 1]},
        {"x": 0, "k": 1, "act": None},
    ]


def test_the_best_has_the_best_value_and_of_equals_is_the_first():
    found = [TrialResult(n, f"r{n}", {}, value) for n, value in enumerate([None, 2, 5, 1, 5, 1], 1)]
    assert samplers.best(found, maximize=True).number == 3
    assert samplers.best(found, maximize=False).number == 4
    assert samplers.best(found[:1], maximize=True) is None


@pytest.mark.parametrize(
    ("metric", "result", "value"),
    [
        ("train", 0.5, 0.5),
        ("train.accuracy", {"accuracy": 3}, 3),
        ("train.val.loss", {"val": {"loss": 1.5}}, 1.5),
        ("train.val.loss", {"val.loss": 2.5}, 2.5),
        ("train.accuracy", {"loss": 3}, None),
        ("train.accuracy", "good", None),
        ("train", True, None),
        ("train", math.inf, None),
        ("other.accuracy", {"accuracy": 3}, None),
    ],
)
def test_a_metric_is_a_number_in_what_a_task_returned(metric, result, value):
    assert value_of(RunState(tasks=(TaskState("train", "Train", result=result),)), metric) == value


def test_a_trial_is_pruned_when_its_best_is_worse_than_the_median_of_those_that_got_as_far():
    others = [{1: value, 2: value} for value in (1, 2, 3, 4, 5)]
    assert pruning.is_hopeless({1: 2.5}, others, 1, maximize=True)
    assert not pruning.is_hopeless({1: 3.5}, others, 1, maximize=True)
    assert not pruning.is_hopeless({1: 9, 2: 0}, others, 2, maximize=True)
    assert not pruning.is_hopeless({1: 2.5}, others, 1, maximize=False)
    assert not pruning.is_hopeless({1: 0}, others[:4], 1, maximize=True)
    assert not pruning.is_hopeless({3: 0}, others, 3, maximize=True)


# -- the interface of the first Job Orchestration -----------------------------------------------------------


def test_the_old_interface_proposes_the_first_combination_without_a_result():
    way, kind = hyperParameterOptimisationFactory("grid")
    assert isinstance(way, HyperParameterOptimisationBase)
    config = kind(
        {
            "gridLineCount": 3,
            "params": [
                {"name": "x", "type": "float", "min": 1, "max": 3},
                {"name": "y", "type": "list", "vals": ["a", "b"]},
            ],
        }
    )
    results = []
    while (proposed := way.getNextTrial(config, results)) is not None:
        results.append({**proposed, "result": len(results)})
    assert [(r["x"], r["y"]) for r in results] == [(x, y) for x in (1, 2, 3) for y in "ab"]


def test_the_old_interface_has_random_too_and_says_what_it_does_not_know():
    way, _ = hyperParameterOptimisationFactory("random")
    config = GridOptimizationConfig({"params": [{"name": "x", "type": "float", "min": 1, "max": 3}]})
    found = [way.getNextTrial(config, [{}] * n)["x"] for n in range(20)]
    assert len(set(found)) == 20
    assert all(1 <= x <= 3 for x in found)
    with pytest.raises(ValueError, match="Unknown optimisationMethod 'magic'"):
        hyperParameterOptimisationFactory("magic")
