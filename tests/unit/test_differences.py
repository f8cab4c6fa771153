"""Differences between values: what changed, where, and by how much."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.comparison import code_changes, difference, values
from job_orchestration.comparison.difference import Side
from job_orchestration.runs.events import Code
from job_orchestration.runs.state import RunState, TaskState, TaskStatus

SCALARS = (
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_infinity=True) | st.text(max_size=3)
)
JSON = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=2), v, max_size=3)
)
MAPPINGS = st.dictionaries(st.text(max_size=2), JSON, max_size=4)


@given(MAPPINGS)
def test_a_value_does_not_differ_from_itself(value):
    assert not list(values.changes(value, value))


@given(MAPPINGS, MAPPINGS)
def test_there_is_a_change_exactly_if_the_values_are_not_the_same(one, other):
    assert bool(list(values.changes(one, other))) is not values.are_same(one, other)


@given(MAPPINGS, MAPPINGS)
def test_the_other_way_round_the_same_names_have_changed(one, other):
    there, back = list(values.changes(one, other)), list(values.changes(other, one))
    assert sorted(c.name for c in there) == sorted(c.name for c in back)
    assert sorted(c.name for c in there if c.added) == sorted(c.name for c in back if c.removed)


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 3}]}}, ["a.b[1].c"]),
        ({"a": [1, 2]}, {"a": [1, 3]}, ["a"]),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": "1"}, ["a"]),
        ({"a": math.nan}, {"a": math.nan}, []),
        ({"a": None}, {}, ["a"]),
    ],
)
def test_each_change_is_named_by_its_place(before, after, names):
    assert [change.name for change in values.changes(before, after)] == names


@pytest.mark.parametrize(
    ("before", "after", "relative"),
    [
        (2, 3, 0.5),
        (-2, -3, -0.5),
        (0, 1, None),
        (1, math.nan, None),
        (1, math.inf, None),
        ("1", 2, None),
        (True, 2, None),
        (10**400, 1, None),
    ],
)
def test_the_relative_change_is_that_of_finite_numbers(before, after, relative):
    assert values.ValueChange("a", before, after).relative == relative


def side(results, aims=None, **more):
    state = RunState(seed=1, values={"seed": 1})
    return Side("a", {}, results, state, aims=aims or {}, **more)


@pytest.mark.parametrize(
    ("before", "after", "aims", "better"),
    [
        (0.4, 0.7, {"loss": False}, False),
        (0.7, 0.4, {"loss": False}, True),
        (0.4, 0.7, {"loss": True}, True),
        (0.4, 0.7, {}, None),
        (0.4, math.nan, {"loss": True}, None),
        (0.4, "none", {"loss": True}, None),
    ],
)
def test_a_result_is_better_or_worse_if_its_direction_is_known(before, after, aims, better):
    same = code_changes.without("c", "c", "")
    found = difference.between(side({"loss": before}, aims), side({"loss": after}), same)
    assert [found.better(change) for change in found.results] == [better]
    assert [change["better"] for change in found.as_json()["results"]] == [better]


def test_runs_whose_searches_disagree_on_the_direction_have_none():
    same = code_changes.without("c", "c", "")
    found = difference.between(side({"loss": 1}, {"loss": True}), side({"loss": 2}, {"loss": False}), same)
    assert found.better(found.results[0]) is None


def test_an_input_that_changed_is_a_cause_and_what_older_releases_did_not_record_is_none():
    same = code_changes.without("c", "c", "")
    one = side({}, inputs={"/data/a.csv": "1"}, provenance={"host": "x"})
    other = side({}, inputs={"/data/a.csv": "2"}, provenance={"host": "x", "variables": {"TZ": "UTC"}})
    found = difference.between(one, other, same)
    assert found.only is not None
    assert (found.only.kind, found.only.name) == ("input", "/data/a.csv")
    assert found.verdict == "One thing differs: the input /data/a.csv"


def test_a_table_of_several_runs_has_the_commit_of_each_task_that_ran_before_a_retry_in_other_code():
    def retried(run, now, *before):
        tasks = tuple(
            TaskState(f"t{n}", "M", status=TaskStatus.FINISHED, commit=commit)
            for n, commit in enumerate(before)
        )
        last = TaskState("last", "M")
        return Side(run, {}, {}, RunState(code=Code(now, ".", "/w"), tasks=(*tasks, last)))

    rows = difference.of_many([retried("a", "2", "2", "2"), retried("b", "2", "1", "2"), retried("c", "2")])
    assert rows == [
        {"run": "a", "commit:t0": "2"},
        {"run": "b", "commit:t0": "1"},
        {"run": "c", "commit:t0": None},
    ]
    rows = difference.of_many([retried("a", "1", "1"), retried("b", "2", "2"), retried("c", "3", "3")])
    assert [{*row} for row in rows] == [{"run", "commit"}] * 3
    rows = difference.of_many([retried("a", "3", "1"), retried("b", "3", "1")])
    assert rows == [{"run": "a"}, {"run": "b"}]
