"""How long still: the arithmetic of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.model.run import RunState, TaskState, TaskStatus
from job_orchestration.rules.forecasting import time_left, usual_durations

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def finished(method: str, seconds: float) -> TaskState:
    return TaskState("id", method, TaskStatus.FINISHED, duration_s=seconds)


def running(method: str, since: float) -> TaskState:
    started = (NOW - timedelta(seconds=since)).isoformat()
    return TaskState("id", method, TaskStatus.RUNNING, started_at=started)


def waiting(method: str) -> TaskState:
    return TaskState("id", method)


def run(*tasks: TaskState) -> RunState:
    return RunState(tasks=tasks)


def test_what_is_usual_is_the_mean_over_all_runs_of_the_finished_tasks_of_a_method() -> None:
    runs = [run(finished("A", 1), finished("B", 5)), run(finished("A", 3), running("A", 100))]
    assert usual_durations(runs) == {"A": 2, "B": 5}


def test_tasks_that_wait_take_what_is_usual_and_finished_ones_nothing() -> None:
    state = run(finished("A", 50), waiting("A"), waiting("B"))
    assert time_left(state, {"A": 2, "B": 5}) == 7


def test_a_method_without_a_history_makes_the_time_left_unknown() -> None:
    assert time_left(run(waiting("A"), waiting("new")), {"A": 2}) is None


def test_a_running_task_has_left_what_is_usual_without_what_went_by() -> None:
    assert time_left(run(running("A", 4)), {"A": 10}, NOW) == 6
    assert time_left(run(running("A", 40)), {"A": 10}, NOW) == 0


def test_a_running_task_that_tells_how_far_it_is_needs_no_history() -> None:
    assert time_left(run(running("new", 30)), {}, NOW, 0.75) == 10
    assert time_left(run(running("new", 30)), {}, NOW, 0.0) is None
    assert time_left(run(running("new", 30)), {}, NOW, 1.0) == 0


def test_a_task_that_nobody_works_on_begins_anew() -> None:
    assert time_left(run(running("A", 4)), {"A": 10}) == 10


@given(
    st.lists(st.floats(0, 1e6), max_size=5),
    st.floats(-1e6, 1e6),
    st.one_of(st.none(), st.floats(0, 1)),
)
def test_the_time_left_is_never_negative(usual: list[float], since: float, fraction: float | None) -> None:
    methods = {f"m{i}": seconds for i, seconds in enumerate(usual)}
    state = run(running("m0", since), *(waiting(method) for method in methods))
    left = time_left(state, methods, NOW, fraction)
    assert left is None or left >= 0
