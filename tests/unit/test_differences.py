"""Differences between values: what changed, where, and by how much."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.comparison import values

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
