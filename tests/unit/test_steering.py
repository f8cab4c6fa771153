"""What a run asks of the queue, and the order of configs that name each other."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.config import scheduling
from job_orchestration.config.settings import parse_resources, settings_of
from job_orchestration.config.yaml_writer import to_yaml
from job_orchestration.runs import lifecycle, token_header
from job_orchestration.runs.event_codec import decode, encode
from job_orchestration.runs.events import (
    Cancelled,
    Claimed,
    Code,
    GaveUp,
    JournalEntry,
    Outcome,
    Readied,
    Requeued,
    TaskFinished,
    TaskStarted,
)
from job_orchestration.runs.state import Status, TaskStatus

names = st.sampled_from("abcdef")
graphs = st.dictionaries(names, st.lists(names, max_size=3))
requirements = st.builds(
    scheduling.Requirements,
    st.integers(-1000, 1000),
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1), max_size=3).map(tuple),
    st.dictionaries(st.sampled_from(["gpus", "memory", "licence"]), st.integers(1, 10**12)).map(
        lambda found: tuple(sorted(found.items()))
    ),
)


@given(requirements)
def test_a_token_says_what_its_run_asks_for(asked):
    token = to_yaml({"a": 1}, comment=f"job_orchestration run: x\n{token_header.to_comment(asked)}")
    assert bool(token_header.has_requirements(token)) == (asked != scheduling.NO_REQUIREMENTS)
    assert not token_header.has_requirements(token) or token_header.from_token(token) == asked
    assert token.endswith(b"\na: 1\n")


@pytest.mark.parametrize(
    "line", [b"asks: ", b"asks: {", b"asks: []", b'asks: {"resources": {"a": "b"}}', b"asks: 1"]
)
def test_a_line_that_another_program_wrote_requires_nothing(line):
    assert (
        token_header.from_token(b"# job_orchestration run: x\n# " + line + b"\n")
        == scheduling.NO_REQUIREMENTS
    )


@given(graphs)
def test_whatever_comes_after_others_is_ordered_behind_them(after):
    found = scheduling.ordered(after)
    assert sorted(found) == sorted(after)
    for name, others in after.items():
        for other in others:
            circular = scheduling.circle(after, name) and scheduling.circle(after, other)
            assert other not in after or circular or found.index(other) < found.index(name)


@given(graphs, names)
def test_a_circle_is_a_way_back(after, name):
    way = scheduling.circle(after, name)
    if way:
        assert way[0] == way[-1] == name
        assert all(b in after[a] for a, b in itertools.pairwise(way))
    assert way or name not in after.get(name, ())


def test_configs_in_no_circle_keep_their_own_order():
    assert scheduling.ordered({"c": [], "a": ["b"], "b": [], "d": ["elsewhere"]}) == ["c", "b", "a", "d"]


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
    entries = [JournalEntry(n, at, e) for n, e in enumerate([claimed, *events], 1)]
    return lifecycle.fold({0: [JournalEntry(1, at, readied)], 1: entries})


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


# -- a run that continues in other code ---------------------------------------------------------------------

FIRST, SECOND = Code("1" * 40, "."), Code("2" * 40, "sub", "/tree")


def continued(*asked):
    values = {"x": 1, "tasks": [{"id": "one", "method": "Work"}, {"id": "two", "method": "Work", "y": 1}]}
    at = "2030-01-01T12:00:00+00:00"
    journal = {
        0: [Readied("a", "00", values, 7, FIRST)],
        1: [
            Claimed(1, "w", "h", 1, {0: 1}),
            TaskStarted("one", 1),
            TaskFinished("one", 1.0, 1, commit=FIRST.commit, imported=("Tasks.py",)),
            TaskStarted("two", 1),
            GaveUp("enough"),
        ],
        2: [Claimed(2, "w", "h", 1, {0: 1, 1: 5}), *asked],
    }
    lines = {n: [encode(JournalEntry(i, at, e)) for i, e in enumerate(es, 1)] for n, es in journal.items()}
    return lifecycle.fold({n: [decode(line[:-1]) for line in found] for n, found in lines.items()})


def test_a_requeued_event_with_code_counts_for_the_tasks_without_a_checkpoint():
    before = continued()
    assert (before.code, before.commits) == (FIRST, {"one": FIRST.commit, "two": FIRST.commit})
    after = continued(Requeued("x", code=SECOND, dirty=("b.py",)))
    assert (after.code, after.commits) == (SECOND, {"one": FIRST.commit, "two": SECOND.commit})
    (change,) = after.changes
    assert (change.attempt, change.commit, change.dirty, change.tasks) == (
        2,
        SECOND.commit,
        ("b.py",),
        ("two",),
    )
    assert after.tasks[0].imported == ("Tasks.py",)
    again = continued(Requeued("x", "one", code=SECOND))
    assert again.commits == {"one": SECOND.commit, "two": SECOND.commit}
    assert continued(Requeued("x")).changes == ()


def test_a_requeued_event_with_values_changes_them_at_their_place():
    asked = Requeued("x", parameters={"x": 2, "two.y": [3], "seed": 9})
    state = continued(asked)
    assert (state.values["x"], state.values["tasks"][1]["y"], state.seed) == (2, [3], 9)
    assert state.code == FIRST
    assert continued(asked, Cancelled("no"), Requeued("y", parameters={"x": 5})).values["x"] == 5
    assert continued().values["tasks"][1]["y"] == 1, "and those of the other journal stay"


@pytest.mark.parametrize("wrong", ['"set": [1]', '"code": {"commit": 1}', '"dirty": [2]', '"code": null'])
def test_a_requeued_event_with_a_field_of_another_type_is_no_event(wrong):
    line = f'{{"seq": 1, "at": "2030-01-01T12:00:00+00:00", "event": "requeued", "reason": "x", {wrong}}}'
    assert decode(line.encode()) is None
