"""What a run asks of the queue, and the order of configs that name each other."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.model.event import (
    Cancelled,
    Claimed,
    Entry,
    Readied,
    Requeued,
    TaskFinished,
    TaskStarted,
)
from job_orchestration.model.run import Outcome, Status, TaskStatus
from job_orchestration.rules import lifecycle, steering
from job_orchestration.rules.settings import parse_resources, settings_of
from job_orchestration.rules.writing import to_yaml

names = st.sampled_from("abcdef")
graphs = st.dictionaries(names, st.lists(names, max_size=3))
wants = st.builds(
    steering.Wants,
    st.integers(-1000, 1000),
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1), max_size=3).map(tuple),
    st.dictionaries(st.sampled_from(["gpus", "memory", "licence"]), st.integers(1, 10**12)).map(
        lambda found: tuple(sorted(found.items()))
    ),
)


@given(wants)
def test_a_token_says_what_its_run_asks_for(asked):
    token = to_yaml({"a": 1}, comment=f"job_orchestration run: x\n{steering.to_comment(asked)}")
    assert bool(steering.is_told(token)) == (asked != steering.PLAIN)
    assert not steering.is_told(token) or steering.from_token(token) == asked
    assert token.endswith(b"\na: 1\n")


@pytest.mark.parametrize(
    "line", [b"asks: ", b"asks: {", b"asks: []", b'asks: {"resources": {"a": "b"}}', b"asks: 1"]
)
def test_a_line_that_nobody_of_us_wrote_asks_for_nothing(line):
    assert steering.from_token(b"# job_orchestration run: x\n# " + line + b"\n") == steering.PLAIN


@given(graphs)
def test_whatever_comes_after_others_is_ordered_behind_them(after):
    found = steering.ordered(after)
    assert sorted(found) == sorted(after)
    for name, others in after.items():
        for other in others:
            circular = steering.circle(after, name) and steering.circle(after, other)
            assert other not in after or circular or found.index(other) < found.index(name)


@given(graphs, names)
def test_a_circle_is_a_way_back(after, name):
    way = steering.circle(after, name)
    if way:
        assert way[0] == way[-1] == name
        assert all(b in after[a] for a, b in itertools.pairwise(way))
    assert way or name not in after.get(name, ())


def test_configs_in_no_circle_keep_their_own_order():
    assert steering.ordered({"c": [], "a": ["b"], "b": [], "d": ["elsewhere"]}) == ["c", "b", "a", "d"]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"gpus": 1, "cpus": 4, "memory": "8G"}, (("cpus", 4), ("gpus", 1), ("memory", 8 * 10**9))),
        ({"gpus": 0}, ()),
        ({}, ()),
        ({"gpus": "1"}, None),
        ({"gpus": -1}, None),
        ({"gpus": True}, None),
        ({"memory": "8"}, None),
        ({"a b": 1}, None),
        (["gpus"], None),
    ],
)
def test_resources_are_names_with_whole_numbers_and_a_size_of_memory(value, read):
    assert parse_resources(value) == read


def test_after_is_one_name_or_several_each_once():
    assert settings_of({"after": "a"}).after == ("a",)
    assert settings_of({"after": ["a", "b", "a"], "priority": -3}).after == ("a", "b")
    assert settings_of({"after": [1]}).after == ()


# -- what the journal says of a cancelled run and of one that begins again ---------------------------------


def fold(*events):
    readied = Readied("a", "00", {"tasks": [{"id": i, "method": "Work"} for i in ("one", "two")]}, 7)
    at = "2030-01-01T12:00:00+00:00"
    claimed = Claimed(1, "w", "h", 1, {0: 1})
    entries = [Entry(n, at, e) for n, e in enumerate([claimed, *events], 1)]
    return lifecycle.fold({0: [Entry(1, at, readied)], 1: entries})


DONE = (TaskStarted("one", 1), TaskFinished("one", 1.0, 1), TaskStarted("two", 1), Cancelled("enough"))


def test_a_cancelled_run_has_failed_without_a_failed_try():
    state = fold(*DONE)
    assert (state.status, state.outcome, state.reason) == (Status.FAILED, Outcome.CANCELLED, "enough")
    assert (state.tasks[1].failures, state.tasks[1].status) == (0, TaskStatus.WAITING)
    assert fold(*DONE, Requeued("again")).current == 1


@pytest.mark.parametrize(
    ("asked", "current"),
    [(Requeued("x", "two"), 1), (Requeued("x", "one"), 0), (Requeued("x", fresh=True), 0)],
)
def test_a_requeued_event_takes_checkpoints_back_from_a_task_on(asked, current):
    state = fold(*DONE, asked)
    assert (state.current, state.requeued, state.tasks[1].tries) == (current, asked, 1)
    later = fold(*DONE, asked, TaskStarted(state.tasks[current].id, 2))
    assert later.requeued is None, "once a task has started nothing is put away any more"


def test_what_was_asked_of_the_old_output_outlasts_another_retry():
    state = fold(*DONE, Requeued("x", fresh=True), Cancelled("again"), Requeued("y", "two"))
    assert state.requeued == Requeued("x", fresh=True)
