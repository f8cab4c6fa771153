"""What a run's events amount to: laws that hold for all events, and the table of what comes next."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.config.config import Settings
from job_orchestration.diagnostics.errors import TemporaryError
from job_orchestration.runs import lifecycle
from job_orchestration.runs.events import (
    Cancelled,
    Claimed,
    Completed,
    Event,
    GaveUp,
    HandedBack,
    JournalEntry,
    Outcome,
    OutputFile,
    Readied,
    Requeued,
    TaskFailed,
    TaskFinished,
    TaskStarted,
)
from job_orchestration.runs.lifecycle import FinalMove, Finish, GiveUp, Go, Wait, fold, next_step, step
from job_orchestration.runs.state import RunState, Status, TaskStatus
from job_orchestration.workspace.layout import Place

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
IDS = ("one", "two", "three")
READIED = Readied("a", "00", {"tasks": [{"id": i, "method": "Work"} for i in IDS]}, 7)
OUTPUTS = (OutputFile("one/a.txt", 3, "ab"),)

task_ids = st.sampled_from([*IDS, "stranger"])
some_events = st.one_of(
    st.just(READIED),
    st.builds(Claimed, st.integers(1, 9), st.just("w"), st.just("h"), st.just(1)),
    st.builds(TaskStarted, task_ids, st.integers(1, 4)),
    st.builds(TaskFinished, task_ids, st.just(1.0), st.integers(), st.none(), st.just(OUTPUTS)),
    st.builds(
        TaskFailed,
        task_ids,
        st.sampled_from(Outcome),
        st.just("no"),
        permanent=st.booleans(),
        delay_s=st.none() | st.floats(0, 1e300),
    ),
    st.builds(Cancelled, st.just("asked")),
    st.builds(Requeued, st.just("asked")),
    st.builds(HandedBack, st.just("stops")),
    st.just(Completed()),
    st.builds(GaveUp, st.just("enough")),
)

task_events = st.one_of(
    st.builds(TaskStarted, st.sampled_from(IDS[:2]), st.just(1)),
    st.builds(TaskFinished, st.sampled_from(IDS[:2]), st.just(1.0), st.integers()),
)
"""Those that make up most of a journal; among all kinds a finished task would hardly ever come up."""


def entries(*events: Event) -> list[JournalEntry]:
    return [JournalEntry(n, (NOON + timedelta(seconds=n)).isoformat(), e) for n, e in enumerate(events, 1)]


def state_after(*events: Event) -> RunState:
    """The state of a readied run after some events of its first attempt."""
    first = Claimed(1, "w", "h", 1, {0: 1})
    return fold({0: entries(READIED), 1: entries(first, *events)})


journals = st.dictionaries(st.integers(0, 6), st.lists(some_events, max_size=12).map(lambda e: entries(*e)))
"""Journals of any content; also such as no program ever writes."""
cut_journals = st.builds(
    lambda journal, cuts, last: {
        **journal,
        last: entries(Claimed(last, "w", "h", 1, cuts), *(e.event for e in journal.get(last, ()))),
    },
    journals,
    st.dictionaries(st.integers(0, 6), st.integers(0, 12)),
    st.integers(1, 7),
)
"""The same with a highest attempt that says what it builds on."""


# -- laws ---------------------------------------------------------------------------------------------------


@given(journals | cut_journals, st.integers(0, 12))
def test_the_fold_of_any_part_of_any_journal_is_a_state(journal, length):
    whole, part = fold(journal), fold({n: found[:length] for n, found in journal.items()})
    for state in (whole, part):
        assert isinstance(state.status, Status)
        next_step(state, Settings(), NOON)


@given(cut_journals)
def test_the_same_journal_always_folds_to_the_same_state(journal):
    assert fold(journal) == fold(dict(reversed(journal.items())))


@given(st.lists(task_events, max_size=20) | st.lists(some_events, max_size=40))
def test_a_finished_task_keeps_its_checkpoint_whatever_comes_later(events):
    state = RunState()
    finished = {}
    for entry in entries(READIED, *events):
        state = step(state, entry)
        assert {t.id: t for t in state.tasks if t.id in finished} == finished
        finished = {t.id: t for t in state.tasks if t.status is TaskStatus.FINISHED}


@given(st.lists(some_events, max_size=40))
def test_a_void_event_changes_nothing(events):
    state = RunState()
    for entry in entries(READIED, *events):
        after = step(state, entry)
        if (state.status, type(entry.event)) not in lifecycle.TRANSITIONS:
            assert after == state
        else:
            assert after.status in {state.status, lifecycle.TRANSITIONS[state.status, type(entry.event)]}
        state = after


class KilledError(Exception):
    """The holder of the model was killed."""


class Model:
    """A run without processes or a disk: holders that are killed at any event, until one is spared."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.journal = {0: entries(READIED)}
        self.now = NOON

    def attempt(self, events_left: int, failures: list[bool]) -> bool:
        """One holder; returns whether the run has ended. It may write so many events before it is killed."""
        number = max(self.journal) + 1
        self.journal[number] = []
        left = iter(range(events_left))

        def write(event: Event) -> None:
            if next(left, None) is None:
                raise KilledError
            self.now += timedelta(seconds=1)
            entry = JournalEntry(len(self.journal[number]) + 1, self.now.isoformat(), event)
            self.journal[number].append(entry)

        try:
            counts = fold({n: e for n, e in self.journal.items() if n != number}).counts
            write(Claimed(number, "w", "h", 1, counts))
            return self._hold(write, failures)
        except KilledError:
            return False

    def _hold(self, write, failures: list[bool]) -> bool:
        while True:
            state = fold(self.journal)
            match next_step(state, self.settings, self.now):
                case Go(index):
                    task = state.tasks[index]
                    write(TaskStarted(task.id, task.tries + 1))
                    if failures and failures.pop():
                        write(TaskFailed(task.id, Outcome.ERROR, "no"))
                    else:
                        write(TaskFinished(task.id, 1.0, {"of": task.id}))
                case Wait(until, reason):
                    write(HandedBack(reason, until.isoformat()))
                    self.now = until
                    return False
                case GiveUp(reason, outcome):
                    write(GaveUp(reason, outcome))
                case Finish():
                    write(Completed())
                case FinalMove():
                    return True

    def valid(self) -> list[Event]:
        """The events that count, reckoned from what the last claim builds on and not by the fold."""
        last = max(n for n, found in self.journal.items() if n and found)
        cuts = self.journal[last][0].event.builds_on
        return [
            entry.event
            for n, found in sorted(self.journal.items())
            if n in cuts or n == last
            for entry in (found if n == last else found[: cuts[n]])
        ]


@given(
    st.lists(st.integers(0, 8), max_size=12),
    st.lists(st.booleans(), max_size=5),
    st.integers(0, 3),
    st.lists(some_events, max_size=3),
)
def test_a_run_that_is_killed_and_resumed_does_what_an_undisturbed_run_does(kills, failures, delay, late):
    settings = Settings(max_attempts=6, retry_delay=float(delay), max_interruptions=1000)
    model = Model(settings)
    for left in kills:
        model.attempt(left, failures)
        stale = max(model.journal)
        if late and any(model.journal[stale]):
            model.attempt(1, [])  # the next holder has begun; then the stale one wakes and writes on
            model.journal[stale] += entries(*late)
    while not model.attempt(1000, failures):
        pass
    state = fold(model.journal)
    assert state.status is Status.COMPLETE
    assert [t.result for t in state.tasks] == [{"of": i} for i in IDS]
    finished: Counter[str] = Counter()
    for event in model.valid():
        if isinstance(event, TaskStarted):
            assert not finished[event.task], "a finished task never runs again"
        elif isinstance(event, TaskFinished):
            finished[event.task] += 1
    assert finished == dict.fromkeys(IDS, 1)


# -- attempts -----------------------------------------------------------------------------------------------


def test_what_a_stale_attempt_writes_after_the_next_has_begun_is_void():
    stale = entries(Claimed(1, "w1", "h", 1, {0: 1}), TaskStarted("one", 1))
    next_one = entries(Claimed(2, "w2", "h", 2, {0: 1, 1: 2}), TaskStarted("one", 2))
    late = entries(TaskFinished("one", 1.0, "stale"), TaskStarted("two", 1))
    state = fold({0: entries(READIED), 1: [*stale, *late], 2: next_one})
    assert state.tasks[0].status is TaskStatus.RUNNING
    assert state.tasks[1].tries == 0
    assert state.counts == {0: 1, 1: 2, 2: 2}


def test_only_the_highest_attempt_with_a_valid_claim_says_what_counts():
    first = entries(Claimed(1, "w1", "h", 1, {0: 1}), TaskStarted("one", 1), TaskFinished("one", 1.0, 1))
    journal = {
        0: entries(READIED),
        1: first,
        2: [],
        5: entries(Claimed(5, "w5", "h", 5, {0: 1, 1: 3})),
        7: [],
    }
    assert fold(journal).attempt == 5
    assert fold(journal).tasks[0].result == 1
    torn = {**journal, 9: entries(TaskStarted("two", 1))}  # a file that does not begin with a claim
    assert fold(torn) == fold(journal)


def test_an_attempt_that_ended_without_a_word_is_an_interruption_until_the_next_checkpoint():
    claims = [Claimed(n, "w", "h", 1) for n in (1, 2, 3)]
    state = state_after(claims[1], claims[2])
    assert state.interruptions == 2
    state = step(step(state, *entries(TaskStarted("one", 1))), *entries(TaskFinished("one", 1.0)))
    assert state.interruptions == 0


def test_an_attempt_that_was_handed_back_or_requeued_is_no_interruption():
    again = Claimed(2, "w", "h", 1)
    assert state_after(HandedBack("stops"), again).interruptions == 0
    failed = (TaskStarted("one", 1), TaskFailed("one", Outcome.ERROR, "no"), GaveUp("enough"))
    requeued = state_after(*failed, again, Requeued("asked"))
    assert step(requeued, *entries(Claimed(3, "w", "h", 1))).interruptions == 0
    assert requeued.status is Status.READY
    assert (requeued.tasks[0].failures, requeued.tasks[0].tries) == (0, 1)


def test_a_run_is_readied_only_once():
    finished = state_after(TaskStarted("one", 1), TaskFinished("one", 1.0, 1), HandedBack("stops"))
    assert step(finished, *entries(READIED)) == finished


# -- what comes next ----------------------------------------------------------------------------------------

STARTED = TaskStarted("one", 1)
FAILED = TaskFailed("one", Outcome.ERROR, "ValueError: no")
ALL_DONE = tuple(e for i in IDS for e in (TaskStarted(i, 1), TaskFinished(i, 1.0)))
LATER = NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], Go(0)),
        ([STARTED], Go(0)),
        ([STARTED, TaskFinished("one", 1.0)], Go(1)),
        ([STARTED, FAILED], Go(0)),
        ([STARTED, FAILED, HandedBack("stops")], Go(0)),
        (ALL_DONE, Finish()),
        ([*ALL_DONE, Completed()], FinalMove(Place.COMPLETED)),
        ([STARTED, FAILED, GaveUp("enough")], FinalMove(Place.FAILED)),
        ([Cancelled("asked")], FinalMove(Place.FAILED)),
        ([STARTED, FAILED, GaveUp("enough"), Requeued()], Go(0)),
    ],
)
def test_the_next_step_follows_from_the_events(events, expected):
    assert next_step(state_after(*events), Settings(), LATER) == expected


def test_a_task_gets_so_many_tries_and_interruptions_are_none_of_them():
    tries: list[Event] = []
    for n in range(1, 6):
        tries += [TaskStarted("one", n), TaskFailed("one", Outcome.INTERRUPTED, "stopped")]
        assert next_step(state_after(*tries), Settings(max_attempts=1), LATER) == Go(0)
    once = [*tries, STARTED, FAILED]
    assert next_step(state_after(*once), Settings(max_attempts=2), LATER) == Go(0)
    given_up = next_step(state_after(*once, STARTED, FAILED), Settings(max_attempts=2), LATER)
    assert given_up == GiveUp("task one failed after 2 tries: ValueError: no", Outcome.ERROR)


def test_a_permanent_error_ends_the_tries_at_once():
    found = next_step(state_after(STARTED, replace(FAILED, permanent=True)), Settings(), LATER)
    assert isinstance(found, GiveUp)


@pytest.mark.parametrize(("most", "expected"), [(3, Go), (2, GiveUp), (1, GiveUp)])
def test_a_run_that_is_interrupted_again_and_again_is_a_crash_loop(most, expected):
    state = state_after(Claimed(2, "w", "h", 1), STARTED, Claimed(3, "w", "h", 1))
    found = next_step(state, Settings(max_interruptions=most), LATER)
    assert isinstance(found, expected)
    if isinstance(found, GiveUp):
        assert found.outcome is Outcome.INTERRUPTED
        assert "crash loop" in found.reason


@pytest.mark.parametrize(
    ("asked", "general", "seconds"), [(None, 60.0, 60), (5.0, 60.0, 5), (0.0, 60.0, 0), (-1.0, 60.0, 0)]
)
def test_the_next_try_waits_as_long_as_the_task_or_the_config_asks(asked, general, seconds):
    state = state_after(STARTED, replace(FAILED, delay_s=asked))
    failed_at = datetime.fromisoformat(state.tasks[0].ended_at or "")
    settings = Settings(retry_delay=general)
    assert next_step(state, settings, failed_at + timedelta(seconds=seconds)) == Go(0)
    if seconds:
        found = next_step(state, settings, failed_at + timedelta(seconds=seconds - 0.001))
        assert isinstance(found, Wait)
        assert found.until == failed_at + timedelta(seconds=seconds)


def test_a_delay_beyond_all_calendars_still_ends():
    found = next_step(state_after(STARTED, replace(FAILED, delay_s=1e300)), Settings(), LATER)
    assert isinstance(found, Wait)


@pytest.mark.parametrize("delay", ["soon", float("nan"), float("inf"), []])
def test_a_delay_that_is_no_number_of_seconds_is_refused_where_it_is_raised(delay):
    with pytest.raises((ValueError, TypeError)):
        TemporaryError("not now", delay=delay)
    assert TemporaryError("not now", delay="5").delay == 5  # type: ignore[arg-type]  # a task may do so


# -- the picture --------------------------------------------------------------------------------------------


def test_the_state_diagram_of_the_documentation_is_the_table():
    document = Path(__file__).parents[2] / "docs" / "states.md"
    assert f"```mermaid\n{lifecycle.diagram()}```\n" in document.read_text()


def test_every_status_can_be_reached():
    assert set(lifecycle.TRANSITIONS.values()) == set(Status)
