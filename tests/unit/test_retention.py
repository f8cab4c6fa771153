"""Which completed runs are worth keeping."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.housekeeping.retention import Best, Last, Policy, may_go, metric_of, parse_keep
from job_orchestration.runs.state import RunState, Status, TaskState, TaskStatus

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def completed(days=0.0, **results):
    """A run that ended so many days ago, with what its tasks returned."""
    tasks = tuple(TaskState(i, "m:C", TaskStatus.FINISHED, result=r) for i, r in results.items())
    return RunState(Status.COMPLETE, tasks=tasks, ended_at=(NOW - timedelta(days=days)).isoformat())


def test_a_policy_is_written_in_few_words():
    assert parse_keep("last:10") == Last(10)
    assert parse_keep("best:5:accuracy") == Best(5, "accuracy")
    assert parse_keep("lowest:2:train.loss") == Best(2, "train.loss", lowest=True)
    for wrong in ("last", "last:", "last:-1", "best:5", "best:5:", "first:3", "best:x:loss", "LAST:1"):
        assert parse_keep(wrong) is None


def test_the_best_are_kept_and_of_two_as_good_the_later_one():
    runs = {
        name: completed(days, train={"accuracy": value})
        for name, days, value in (("a", 4, 0.5), ("b", 3, 0.9), ("c", 2, 0.9), ("d", 1, 0.1))
    }
    assert may_go(runs, Policy((Best(1, "accuracy"),)), NOW) == ["a", "b", "d"]
    assert may_go(runs, Policy((Best(2, "accuracy"),)), NOW) == ["a", "d"]
    assert may_go(runs, Policy((Best(1, "accuracy", lowest=True),)), NOW) == ["a", "b", "c"]
    assert may_go(runs, Policy((Best(1, "accuracy"), Last(1))), NOW) == ["a", "b"]
    assert may_go(runs, Policy((Last(0),)), NOW) == ["a", "b", "c", "d"]


def test_what_is_young_stays_and_what_tells_no_end_too():
    runs = {"old": completed(31), "young": completed(29), "untold": RunState(Status.COMPLETE)}
    assert may_go(runs, Policy(older_than=30 * 86_400), NOW) == ["old"]
    assert may_go(runs, Policy((Last(3),), 1.0), NOW) == []


def test_a_run_without_the_metric_is_not_the_best():
    runs = {"a": completed(1, t={"x": 1}), "b": completed(0, t={"y": 2}), "c": completed(0, t=None)}
    assert may_go(runs, Policy((Best(3, "x"),)), NOW) == ["b", "c"]


def test_a_misspelt_metric_deletes_no_run():
    with pytest.raises(UsageError, match="No completed run returned a number called accurcy"):
        may_go({"a": completed(1, t={"accuracy": 1})}, Policy((Best(1, "accurcy"),)), NOW)


def test_a_metric_is_found_by_its_task_or_where_only_one_task_has_it():
    state = completed(
        train={"loss": 1, "deep": {"er": 2.5}, "flag": True}, test={"loss": 3, "best": 4}, score=0.5
    )
    assert metric_of(state, "train.loss") == 1
    assert metric_of(state, "test.loss") == 3
    assert metric_of(state, "train.deep.er") == metric_of(state, "deep.er") == 2.5
    assert metric_of(state, "best") == 4
    assert metric_of(state, "score") == 0.5
    for missing in ("train", "flag", "train.flag", "deep", "nothing", "train.loss.x"):
        assert metric_of(state, missing) is None
    with pytest.raises(UsageError, match=r"Write train\.loss or test\.loss"):
        metric_of(state, "loss")


def test_an_id_and_a_key_may_hold_dots():
    assert metric_of(completed(**{"a.b": {"c.d": 1}}), "a.b.c.d") == 1


states = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.builds(lambda days, value: completed(days, t={"x": value}), st.integers(0, 9), st.integers(-3, 3)),
    min_size=1,
)
keeps = st.builds(Last, st.integers(0, 9)) | st.builds(Best, st.integers(0, 9), st.just("x"), st.booleans())


@given(states, st.lists(keeps, max_size=3), keeps)
def test_who_keeps_more_loses_less(runs, some, another):
    fewer = set(may_go(runs, Policy((*some, another)), NOW))
    assert fewer <= set(may_go(runs, Policy(tuple(some)), NOW))
    assert len(runs) - len(fewer) >= min(another.number, len(runs))
