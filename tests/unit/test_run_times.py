"""What a run has worked, what it has waited, and how its tries are numbered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from job_orchestration.runs import lifecycle, run_times, summaries
from job_orchestration.runs.events import (
    Cancelled,
    Claimed,
    Completed,
    GaveUp,
    HandedBack,
    JournalEntry,
    Outcome,
    Readied,
    Requeued,
    TaskFailed,
    TaskFinished,
    TaskStarted,
)
from job_orchestration.runs.state import RunState

BEGIN = datetime(2026, 11, 20, 6, tzinfo=UTC)


def at(second: float) -> datetime:
    return BEGIN + timedelta(seconds=second)


def folded(*events: tuple[float, object], **values: object) -> RunState:
    config = {"tasks": [{"id": "one", "method": "One"}], **values}
    folding = lifecycle.RunStateBuilder(RunState())
    for seq, (second, event) in enumerate([(0, Readied("a", "", config, 1)), *events]):
        folding.add(JournalEntry(seq, at(second).isoformat(), event))  # type: ignore[arg-type]
    return folding.state


def claimed(number: int) -> Claimed:
    return Claimed(number, "w", "h", 1)


def times(state: RunState, now: float | None = None) -> tuple[float | None, float]:
    moment = None if now is None else at(now)
    return run_times.worked(state, moment), run_times.waited(state, moment)


FAILS = [
    (10, claimed(1)),
    (11, TaskStarted("one", 1)),
    (13, TaskFailed("one", Outcome.ERROR, "no")),
    (14, HandedBack("waits", at(60).isoformat())),
]
"""It waits for 10 s, works for 4 s, and waits again."""


def test_work_is_the_sum_of_the_attempts_and_waiting_is_what_lies_before_and_between():
    assert times(folded(), 7) == (None, 7)
    assert times(folded(*FAILS[:2]), 12) == (2, 10)
    assert times(folded(*FAILS), 20) == (4, 16)
    done = folded(
        *FAILS,
        (60, claimed(2)),
        (61, TaskStarted("one", 2)),
        (69, TaskFinished("one", 8.0)),
        (70, Completed()),
    )
    assert times(done, 1000) == (14, 56), "10 and 46"
    summary = summaries.summary_of(done)
    assert (summary.elapsed_s, summary.waited_s, summary.working_since, summary.waiting_since) == (
        *(14, 56),
        *(None, None),
    )


def test_an_interrupted_attempt_counts_as_far_as_its_journal_tells():
    events = [(10, claimed(1)), (11, TaskStarted("one", 1)), (100, claimed(2)), (101, TaskStarted("one", 2))]
    assert times(folded(*events), 103) == (1 + 3, 10 + 89)


def test_the_time_between_a_failure_and_its_retry_is_neither_work_nor_waiting():
    failed = [*FAILS[:3], (14, GaveUp("no more", Outcome.ERROR))]
    again = [(500, claimed(2)), (501, Requeued("asked"))]
    assert times(folded(*failed), 400) == (4, 10)
    assert times(folded(*failed, *again), 503) == (4, 12)
    assert times(folded(*failed, *again, (505, claimed(3))), 506) == (5, 14)
    anew = [(500, claimed(2)), (501, Requeued("asked", fresh=True))]
    assert times(folded(*failed, *anew), 503) == (None, 2)
    assert times(folded(*failed, *anew, (505, claimed(3))), 506) == (1, 4)


def test_a_run_that_is_cancelled_in_the_queue_has_waited_and_not_worked():
    assert times(folded((8, claimed(1)), (8, Cancelled("asked"))), 50) == (0, 8)


def test_a_clock_that_was_set_back_gives_no_negative_time():
    assert times(folded((10, claimed(1)), (5, Completed())), 1) == (0, 10)


def test_tries_are_numbered_as_max_attempts_counts_them():
    events = FAILS[:1]
    numbers = [folded(*events).try_number]
    for event in (
        (11, TaskStarted("one", 1)),
        (12, TaskFailed("one", Outcome.ERROR, "no")),
        (13, TaskStarted("one", 2)),
        (14, claimed(2)),  # it was interrupted, which is no failed try
        (15, TaskStarted("one", 3)),
        (16, TaskFailed("one", Outcome.ERROR, "no")),
        (17, GaveUp("task one failed after 2 tries: no", Outcome.ERROR)),
        (18, claimed(3)),
        (19, Requeued("asked")),
        (20, claimed(4)),
        (21, TaskStarted("one", 4)),
        (22, TaskFinished("one", 1.0)),
    ):
        events = [*events, event]
        numbers.append(folded(*events).try_number)
    assert numbers == [None, 1, 2, 2, 2, 2, 3, 2, 2, 1, 1, 1, None]
    assert summaries.summary_of(folded(*events, maxAttempts=2)).most_tries == 2
    assert summaries.summary_of(folded(*events)).most_tries == 3


def test_a_trial_that_an_older_release_pruned_is_pruned():
    reason = "pruned at step 3, where its metric was 0.25"
    older = folded((1, claimed(1)), (2, TaskStarted("one", 1)), (3, Cancelled(reason)))
    assert older.outcome is Outcome.PRUNED
    assert folded((1, claimed(1)), (3, Cancelled("pruned by hand"))).outcome is Outcome.CANCELLED
    assert folded((1, claimed(1)), (3, Cancelled("too far behind", pruned=True))).outcome is Outcome.PRUNED
