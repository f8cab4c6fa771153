"""Time left: the estimates for a task, a run and a queue, and how often they are right."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.forecast import queue_simulation
from job_orchestration.forecast.queue_simulation import MAX_SIMULATED, Waiting, simulate
from job_orchestration.forecast.task_durations import DRAWS, DurationHistory, Progress, Span, Work, span_of
from job_orchestration.runs.summaries import RunSummary, TaskSummary, sizes_of, text_of_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def run(*tasks: TaskSummary, sizes: Mapping[str, float] | None = None) -> RunSummary:
    current = next((i for i, t in enumerate(tasks) if t.status != "finished"), None)
    return RunSummary(
        config="a",
        status="READY",
        attempt=1,
        worker=None,
        commit=None,
        readied_at=None,
        started_at=None,
        ended_at=None,
        elapsed_s=None,
        outcome=None,
        error=None,
        sizes=sizes or {},
        own_sizes=None,
        task=None if current is None else tasks[current].id,
        task_index=current,
        task_count=len(tasks),
        since=None,
        text=text_of_tasks(tasks) or "",
    )


def finished(method: str, seconds: float) -> TaskSummary:
    return TaskSummary("id", method, "finished", seconds)


def running(method: str) -> TaskSummary:
    return TaskSummary("id", method, "running", None)


def waiting(method: str) -> TaskSummary:
    return TaskSummary("id", method, "waiting", None)


def span(past: DurationHistory, of: RunSummary, present: Progress | None = None) -> Span:
    work = past.work_left(of, present)
    assert work is not None
    return work.span


def seconds(value: float) -> Work:
    return Work((value,) * DRAWS, (1.0,) * DRAWS)


# -- one run ----------------------------------------------------------------------------------------------


@pytest.mark.seed_fault("B-JO-27")
def test_each_past_duration_of_a_method_counts_once_and_none_of_another() -> None:
    runs = [run(finished("A", 10 + i / 10), finished("B", 5)) for i in range(20)]
    assert span(DurationHistory(runs), run(waiting("A"))).p50 == pytest.approx(11, rel=0.02)
    doubled = [*runs[:10], *runs[:10], *runs[10:], *runs[10:]]  # the same durations, in the same parts
    assert span(DurationHistory(doubled), run(waiting("A"))).p50 == pytest.approx(11, rel=0.02)
    assert span(DurationHistory(runs), run(waiting("B"))).p50 == pytest.approx(5, rel=0.02)


@pytest.mark.seed_fault("B-JO-27")
def test_a_method_without_a_history_is_unknown_and_not_nothing() -> None:
    past = DurationHistory([run(finished("A", 2))])
    assert past.work_left(run(waiting("A"), waiting("new"))) is None
    assert past.work_left(run(finished("new", 1), waiting("A"))) is not None
    assert past.median("new") is None


@pytest.mark.seed_fault("B-JO-27")
def test_an_early_duration_is_used_at_once_with_its_doubt() -> None:
    one, many = DurationHistory([run(finished("A", 100))]), DurationHistory([run(finished("A", 100))] * 20)
    first, later = span(one, run(waiting("A"))), span(many, run(waiting("A")))
    assert first.p50 == pytest.approx(100, rel=0.02)
    assert first.p10 < 70
    assert first.p90 > 140
    assert later.p90 < 110


def test_finished_tasks_take_nothing_and_the_others_their_sum() -> None:
    past = DurationHistory([run(finished("A", 2), finished("B", 5))] * 20)
    assert span(past, run(finished("A", 50), waiting("A"), waiting("B"))).p50 == pytest.approx(7, rel=0.05)
    assert span(past, run(finished("A", 50))) == Span(0, 0, 0)


def test_the_latest_durations_count() -> None:
    past = DurationHistory([run(finished("A", 10))] * 60 + [run(finished("A", 1000))] * 600)
    assert span(past, run(waiting("A"))).p90 < 12


def test_a_running_task_has_left_what_is_usual_without_what_went_by() -> None:
    past = DurationHistory([run(finished("A", 10))] * 20)
    assert span(past, run(running("A")), Progress(4, None)).p50 == pytest.approx(6, rel=0.05)
    late = span(past, run(running("A")), Progress(40, None))
    assert 0 < late.p10 < late.p50 < 20 < late.p90


def test_of_two_kinds_of_tasks_one_that_runs_for_long_is_of_the_longer_kind() -> None:
    past = DurationHistory([run(finished("A", (10, 100)[i % 2] + i / 100)) for i in range(40)])
    left = span(past, run(running("A")), Progress(20, None))
    assert 79 < left.p10 < left.p90 < 82


def test_a_running_task_that_tells_how_far_it_is_needs_no_history() -> None:
    new = run(running("new"))
    assert span(DurationHistory([]), new, Progress(30, 0.75)).p50 == pytest.approx(10, rel=0.05)
    assert DurationHistory([]).work_left(new, Progress(30, 0.0)) is None
    assert span(DurationHistory([]), new, Progress(30, 1.0)) == Span(0, 0, 0)


def test_its_own_word_makes_the_span_narrower_the_further_it_is() -> None:
    past = DurationHistory([run(finished("A", 50))] * 20)
    early, late = (span(past, run(running("A")), Progress(100 * f, f)) for f in (0.1, 0.9))
    assert early.p50 == pytest.approx(90, rel=0.05)
    assert early.p90 / early.p10 > late.p90 / late.p10


def test_a_task_that_no_worker_runs_starts_from_the_beginning() -> None:
    past = DurationHistory([run(finished("A", 10))] * 20)
    assert span(past, run(running("A"))).p50 == pytest.approx(10, rel=0.05)


def test_a_number_of_the_config_that_explains_much_is_used_and_noise_is_not() -> None:
    dice = random.Random(1)
    runs = [
        run(
            finished("A", n * 0.5 * dice.lognormvariate(0, 0.1)),
            sizes={"epochs": n, "seedling": dice.random()},
        )
        for n in dice.choices(range(1, 100), k=40)
    ]
    past = DurationHistory(runs)
    assert span(past, run(waiting("A"), sizes={"epochs": 10, "seedling": 0.5})).p50 == pytest.approx(
        5, rel=0.2
    )
    assert span(past, run(waiting("A"), sizes={"epochs": 80, "seedling": 0.5})).p50 == pytest.approx(
        40, rel=0.2
    )
    spread = span(past, run(waiting("A"), sizes={}))  # unknown: somewhere among all
    assert spread.p90 < 500


def test_how_a_run_is_treated_is_no_size() -> None:
    values: dict[str, Any] = {"epochs": 3, "priority": 5, "after": ["a", "b"], "timeout": 60, "seed": 1}
    assert sizes_of(values) == {"epochs": 3}


def test_sizes_of_a_task_overlay_those_of_the_run() -> None:
    runs = [
        run(finished("A", float(n)))._replace(sizes={"n": 7.0}, own_sizes={"id": {"n": float(n)}})
        for n in range(1, 21)
    ]
    wanted = run(waiting("A"))._replace(sizes={"n": 1.0}, own_sizes={"id": {"n": 16.0}})
    assert span(DurationHistory(runs), wanted).p50 == pytest.approx(16, rel=0.05)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(-1e9, 1e300), st.floats(-1e300, 1e300)), max_size=20),
    st.floats(-1e6, 1e300),
    st.one_of(st.none(), st.floats(0, 1)),
    st.floats(-1e300, 1e300),
)
def test_the_time_left_is_never_negative_and_never_out_of_order(
    past: list[tuple[str, float, float]], elapsed: float, fraction: float | None, size: float
) -> None:
    known = DurationHistory([run(finished(method, took), sizes={"x": x}) for method, took, x in past])
    of = run(running("a"), waiting("b"), sizes={"x": size})
    for present in (None, Progress(elapsed, fraction)):
        work = known.work_left(of, present)
        if work is not None:
            assert 0 <= work.span.p10 <= work.span.p50 <= work.span.p90


# -- a queue ----------------------------------------------------------------------------------------------


def test_a_queue_is_played_by_the_workers_that_there_are() -> None:
    queue = [Waiting(seconds(10))] * 6
    assert simulate([], queue, 1).whole.p50 == 60
    assert simulate([], queue, 2).whole.p50 == 30
    assert [end.p50 for end in simulate([], queue, 2).waiting] == [10, 10, 20, 20, 30, 30]
    assert simulate([seconds(5)], queue[:1], 1).waiting[0].p50 == 15
    assert simulate([seconds(5)], queue[:1], 2).waiting[0].p50 == 10
    assert simulate([seconds(100)], queue[:1], 2).whole.p50 == 100
    assert simulate([seconds(5)], [Waiting(seconds(10), 50)], 1).whole.p50 == 60
    late = [Waiting(seconds(10), 50), Waiting(seconds(10))]  # no worker is idle while there is work
    assert [end.p50 for end in simulate([seconds(5)], late, 1).waiting] == [60, 15]
    chain = [Waiting(seconds(10), after=(0, 2)), Waiting(seconds(1), after=(0,)), Waiting(seconds(2))]
    assert [end.p50 for end in simulate([seconds(5)], chain, 3).waiting] == [16, 6, 2]
    assert [end.p50 for end in simulate([seconds(5)], chain, 1).waiting] == [16, 6, 18]


def test_a_long_queue_takes_as_long_as_one_that_is_played_step_by_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    past = DurationHistory([run(finished("A", t)) for t in (1, 2, 3, 4, 5, 6, 7, 8, 9, 30)] * 4)
    work = past.work_left(run(waiting("A")))
    assert work is not None
    queue = [Waiting(work)] * (2 * MAX_SIMULATED)
    quick = simulate([work, work], queue, 4)
    monkeypatch.setattr(queue_simulation, "MAX_SIMULATED", 10**6)
    exact = simulate([work, work], queue, 4)
    for a, b in zip(
        (quick.whole, quick.waiting[100], quick.waiting[-1]),
        (exact.whole, exact.waiting[100], exact.waiting[-1]),
        strict=True,
    ):
        assert a == pytest.approx(b, rel=0.12)


# -- how often it is right --------------------------------------------------------------------------------


def lognormal(dice: random.Random) -> Iterator[tuple[float, dict[str, float]]]:
    while True:
        yield dice.lognormvariate(5, 0.8), {}


def bimodal(dice: random.Random) -> Iterator[tuple[float, dict[str, float]]]:
    while True:
        yield dice.choice([60, 900]) * dice.lognormvariate(0, 0.1), {}


def by_size(dice: random.Random) -> Iterator[tuple[float, dict[str, float]]]:
    while True:
        genes = dice.randint(5, 500)
        yield 2 + genes**1.3 * dice.lognormvariate(0, 0.25), {"genes": genes, "noise": dice.random()}


def drifting(dice: random.Random) -> Iterator[tuple[float, dict[str, float]]]:
    level = 100.0
    while True:
        level *= 1.005
        yield level * dice.lognormvariate(0, 0.3), {}


def uniform(dice: random.Random) -> Iterator[tuple[float, dict[str, float]]]:
    while True:
        yield dice.uniform(10, 20), {}


HISTORIES: list[Callable[[random.Random], Iterator[tuple[float, dict[str, float]]]]] = [
    lognormal,
    bimodal,
    by_size,
    drifting,
    uniform,
]


@pytest.mark.parametrize("workload", HISTORIES, ids=lambda h: h.__name__)
@pytest.mark.parametrize("elapsed", [0.0, 0.3], ids=["waiting", "running"])
def test_the_true_time_lies_between_p10_and_p90_for_seven_to_nine_of_ten_runs(
    workload: Callable[[random.Random], Iterator[tuple[float, dict[str, float]]]], elapsed: float
) -> None:
    hits, looks, below = 0, 0, 0
    for seed in range(12):
        past: list[RunSummary] = []
        for number, (took, sizes) in enumerate(workload(random.Random(seed))):
            if number >= 60:
                break
            if number >= 2:
                present = Progress(elapsed * took, None) if elapsed else None
                state = running("A") if elapsed else waiting("A")
                estimate = span(DurationHistory(reversed(past)), run(state, sizes=sizes), present)
                left = took * (1 - elapsed)
                hits += estimate.p10 <= left <= estimate.p90
                below += left < estimate.p50
                looks += 1
            past.append(run(finished("A", took), sizes=sizes))
    print(f"{workload.__name__}: {hits / looks:.0%} between p10 and p90, {below / looks:.0%} below p50")
    assert 0.7 <= hits / looks <= 0.9
    if not elapsed and workload is not drifting:  # who looks back is always late there
        assert 0.4 <= below / looks <= 0.6


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("workload", [lognormal, bimodal, by_size], ids=lambda h: h.__name__)
def test_the_end_of_a_queue_lies_between_p10_and_p90_for_seven_to_nine_of_ten_queues(
    workload: Callable[[random.Random], Iterator[tuple[float, dict[str, float]]]], workers: int
) -> None:
    hits, queues = 0, 120
    for seed in range(queues):
        dice = random.Random(seed)
        runs = workload(dice)
        past = DurationHistory(
            [run(finished("A", took), sizes=sizes) for took, sizes in (next(runs) for _ in range(30))]
        )
        free, queue = [0.0] * workers, []
        for took, sizes in (next(runs) for _ in range(12)):
            work = past.work_left(run(waiting("A"), sizes=sizes))
            assert work is not None
            queue.append(Waiting(work))
            free[free.index(min(free))] += took
        estimate = simulate([], queue, workers).whole
        hits += estimate.p10 <= max(free) <= estimate.p90
    print(f"{workload.__name__}, {workers} workers: {hits / queues:.0%} of queues between p10 and p90")
    assert 0.7 <= hits / queues <= 0.9


def test_quantiles_are_those_of_the_draws() -> None:
    assert span_of([3]) == Span(3, 3, 3)
    assert span_of(range(1, 10)) == Span(1, 5, 9)
