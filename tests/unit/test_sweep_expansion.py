"""A sweep's block: which trials it has, what they are called, and everything that is wrong with one."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.config.yaml_reader import plain, read
from job_orchestration.search import parameter_space, sweep_expansion, trials
from job_orchestration.workspace.naming import fault_of_name

BASE = """
outputDir: out
lr: 1
tasks:
- {id: load, method: Load}
- {id: train, method: Train}
"""


def root_of(sweep: str):
    root, problems = read((BASE + textwrap.dedent(sweep)).encode(), "a.yaml")
    assert not problems, problems
    return root


def parse(root):
    return sweep_expansion.parse(root, sweep_expansion.block_of(root), "a.yaml")


def trials_of(sweep: str):
    found, problems = parse(root_of(sweep))
    assert not problems, [str(p) for p in problems]
    return [{key: plain(node) for key, node in trial.items()} for trial in found.combinations()]


def problems_of(sweep: str):
    found, problems = parse(root_of(sweep))
    assert found is None
    return {p.key: (p.what, p.line - BASE.count("\n"), p.column) for p in problems}


def test_a_grid_has_every_combination_and_what_stands_first_changes_most_slowly():
    assert trials_of("sweep: {grid: {a: [1, 2], train.b: [x, y]}}") == [
        {"a": 1, "train.b": "x"},
        {"a": 1, "train.b": "y"},
        {"a": 2, "train.b": "x"},
        {"a": 2, "train.b": "y"},
    ]


def test_zip_goes_through_its_lists_side_by_side_and_the_parts_are_multiplied():
    found = trials_of("sweep: {grid: {a: [1, 2]}, zip: {c: [3, 4], d: [5, 6]}}")
    assert [(t["a"], t["c"], t["d"]) for t in found] == [(1, 3, 5), (1, 4, 6), (2, 3, 5), (2, 4, 6)]


@pytest.mark.parametrize(
    ("form", "values"),
    [
        ("{log: [1e-4, 1e-1], n: 4}", [1e-4, 1e-3, 1e-2, 1e-1]),
        ("{linear: [0, 1], n: 5}", [0, 0.25, 0.5, 0.75, 1]),
        ("{linear: [3, 9], n: 1}", [3]),
        ("{range: [0, 10, 5]}", [0, 5, 10]),
        ("{range: [0, 0.3, 0.1]}", [0, 0.1, 0.2, 0.3]),
        ("{range: [1, 8, 5]}", [1, 6]),
    ],
)
def test_a_form_makes_the_numbers_that_a_reader_expects(form, values):
    assert [t["a"] for t in trials_of(f"sweep: {{grid: {{a: {form}}}}}")] == values


def test_draws_are_the_same_every_time_and_more_of_them_begin_with_the_same():
    block = "sweep: {{random: {{n: {}, seed: 3, x: {{uniform: [0, 1]}}, k: {{int: [1, 6]}}}}}}"
    few, many = trials_of(block.format(5)), trials_of(block.format(50))
    assert many[:5] == few
    assert len({t["x"] for t in many}) == 50
    assert {t["k"] for t in many} == {1, 2, 3, 4, 5, 6}
    assert trials_of(block.format(5).replace("seed: 3", "seed: 4")) != few


@given(st.floats(0, 1, exclude_max=True), st.floats(1e-9, 1e9), st.floats(1, 1e6))
def test_a_draw_never_leaves_its_domain(fraction, low, factor):
    for domain in (
        parameter_space.Uniform(low, low * factor),
        parameter_space.Uniform(low, low * factor, log=True),
    ):
        assert low <= parameter_space.at(domain, fraction) <= low * factor
    assert 3 <= parameter_space.at(parameter_space.Whole(3, 9), fraction) <= 9
    assert parameter_space.at(parameter_space.Choice(("a", "b")), fraction) in {"a", "b"}


def test_exclude_takes_out_the_trials_of_which_it_is_true():
    found = trials_of('sweep: {grid: {a: [1, 2], lr: [0.1, 0.001]}, exclude: "a == 2 and lr > 0.01"}')
    assert [(t["a"], t["lr"]) for t in found] == [(1, 0.1), (1, 0.001), (2, 0.001)]


def test_everything_that_is_wrong_is_found_in_one_go_each_at_its_place():
    found = problems_of("""\
        sweep:
          grid: {a: [1, 1], tran.b: [1], load.id: [x], b: 3, e: {log: [0, 1], n: 2}, f: ["2", 2]}
          zip: {c: [1], d: [1, 2], a: [5]}
          random: {x: {uniform: [2, 1]}}
          exclude: "a == 1 and unknown > 3"
          gird: {}
        """)
    assert found == {
        "sweep.grid.a": ("the value 1 is there twice", 2, 17),
        "sweep.grid.tran.b": ("there is no task 'tran'", 2, 21),
        "sweep.grid.load.id": ("'load.id' cannot be a parameter", 2, 34),
        "sweep.grid.b": ("3 is not a form of values", 2, 51),
        "sweep.grid.e": ("0 has no logarithm", 2, 63),
        "sweep.grid.f": ('2 makes the same folder as "2"', 2, 87),
        "sweep.zip": ("its lists differ in length: c 1, d 2", 3, 13),
        "sweep.zip.a": ("'a' is in sweep.grid already", 3, 28),
        "sweep.random": ("the number of draws is missing", 4, 11),
        "sweep.random.x": ("2 is more than 1", 4, 25),
        "sweep.exclude": ("'unknown' is not a parameter of this sweep", 5, 12),
        "sweep.gird": ("'gird' is not a key of sweep", 6, 3),
    }


@pytest.mark.parametrize(
    ("sweep", "what"),
    [
        ("sweep: {}", "it has no parameters"),
        ("sweep: {grid: {}}", "it has no parameters"),
        ("sweep: [1]", "a list is not a mapping"),
        ("sweep: {grid: {a: {linear: [0, 1]}}}", "it does not say how many numbers"),
        ("sweep: {grid: {a: {linear: [0, 1], n: 1000}, b: {linear: [0, 1], n: 1000}}}", "1000000 trials"),
        ("sweep: {grid: {a: {range: [0, 1, 1e-9]}}}", "more than 100000 values"),
        ('sweep: {grid: {a: [1]}, exclude: "a == 1"}', "it excludes every trial"),
        ('sweep: {grid: {a: [1]}, exclude: "a =="}', "column"),
    ],
)
def test_a_block_that_cannot_be_meant_is_refused_with_a_sentence(sweep, what):
    _, problems = parse(root_of(sweep))
    assert any(what in p.what for p in problems), problems
    assert all(p.line and p.todo for p in problems)


def test_a_misspelt_part_is_one_problem():
    _, (problem,) = parse(root_of("sweep: {gird: {a: [1]}}"))
    assert "grid" in problem.todo


def test_a_parameter_that_every_task_overlays_would_change_nothing_and_is_refused():
    text = "tasks: [{id: train, method: Train, lr: 1}]\nsweep: {grid: {lr: [1, 2], timeout: [1, 2]}}"
    root, _ = read(text.encode(), "a.yaml")
    (problem,) = parse(root)[1]
    assert "every task has a 'lr' of its own" in problem.what
    assert problem.todo == "Write train.lr"


def test_a_trials_config_has_its_values_and_no_sweep():
    root = root_of("sweep: {grid: {lr: [5], train.epochs: [3], new: [[1, 2]]}}")
    found, _ = parse(root)
    values = plain(trials.config_with(root, next(found.combinations())))
    assert values == {
        "outputDir": "out",
        "lr": 5,
        "tasks": [{"id": "load", "method": "Load"}, {"id": "train", "method": "Train", "epochs": 3}],
        "new": [1, 2],
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1), json_values, min_size=1, max_size=5))
def test_whatever_the_parameters_are_their_folder_is_a_safe_name(parameters):
    name = trials.name_of(parameters)
    assert fault_of_name(name, 150) is None
    assert name.isascii()


@given(st.lists(json_values, min_size=2, max_size=2, unique_by=trials.text_of))
def test_values_that_are_written_differently_make_different_folders_however_long(values):
    one, other = ({"key": "x" * 200, "value": value} for value in values)
    assert trials.name_of(one) != trials.name_of(other)


def test_a_name_says_the_parameters():
    assert trials.name_of({"a": 1, "train.lr": 0.001, "layers": [64, 32], "act": "a/b c"}) == (
        "a=1,train.lr=0.001,layers=64+32,act=a%2Fb%20c"
    )


def test_the_digest_asks_what_is_computed_and_not_how_the_run_is_treated():
    values = {"a": 1, "b": 2, "outputDir": "x", "maxAttempts": 3}
    same = {"b": 2, "a": 1, "outputDir": "y", "maxAttempts": 9, "timeout": "4h"}
    one = trials.digest_of(values, {"a": 1}, "{date}/x")
    assert trials.digest_of(same, {"a": 1}, "{date}/x") == one
    assert trials.digest_of({**values, "b": 3}, {"a": 1}, "{date}/x") != one
    assert trials.digest_of({**values, "seed": 3}, {"a": 1}, "{date}/x") != one
    assert trials.digest_of(values, {"a": 1}, "{date}/y") != one


def test_the_problems_of_many_trials_are_said_once_each():
    from job_orchestration.diagnostics.problems import Problem

    one, other = Problem("a.yaml", "one"), Problem("a.yaml", "other")
    found = sweep_expansion.merged({"a=1": [one, other], "a=2": [one], "a=3": [one, other]})
    assert [p.what for p in found] == ["one", "with a=1 and 1 more trial: other"]
