"""Fold a run's journal into its state, and decide the next step.

`TRANSITIONS` is the whole life of a run in one table. An event without an entry for the current status is
void, so the fold of any events in any order is a state and never an error. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from job_orchestration.config.config import specs_of
from job_orchestration.config.parameter_keys import values_with
from job_orchestration.diagnostics.plurals import counted
from job_orchestration.runs import run_times
from job_orchestration.runs.events import (
    Cancelled,
    Claimed,
    Completed,
    Event,
    GaveUp,
    HandedBack,
    JournalEntry,
    Outcome,
    Readied,
    Requeued,
    Spoilt,
    TaskFailed,
    TaskFinished,
    TaskStarted,
)
from job_orchestration.runs.state import Change, RunState, Status, TaskState, TaskStatus, replace
from job_orchestration.workspace.layout import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from job_orchestration.config.config import Json, Settings
    from job_orchestration.runs.events import TaskEvent

_READY, _RUNNING = Status.READY, Status.RUNNING_TASK
_FINISHED, _FAILED_TASK = Status.FINISHED_TASK, Status.FAILED_TASK
_ALIVE: Final = (_READY, _RUNNING, _FINISHED, _FAILED_TASK)
_LONGEST_DELAY: Final = 10 * 365 * 86_400.0
"""Seconds; a longer requested delay could exceed the calendar."""

_BEGUN: Final = {"status": TaskStatus.RUNNING, "ended_at": None, "duration_s": None}

TRANSITIONS: Final[Mapping[tuple[Status, type[Event]], Status]] = {
    (_READY, Readied): _READY,
    (_READY, Claimed): _READY,
    (_RUNNING, Claimed): _READY,  # its holder died inside a task; that try is void
    (_FINISHED, Claimed): _FINISHED,
    (_FAILED_TASK, Claimed): _FAILED_TASK,
    (Status.COMPLETE, Claimed): Status.COMPLETE,  # only to move its token to its final folder
    (Status.FAILED, Claimed): Status.FAILED,  # likewise, or to requeue it
    (_READY, TaskStarted): _RUNNING,
    (_FINISHED, TaskStarted): _RUNNING,
    (_FAILED_TASK, TaskStarted): _RUNNING,
    (_RUNNING, TaskFinished): _FINISHED,
    **{(status, TaskFailed): _FAILED_TASK for status in _ALIVE},
    **{(status, HandedBack): _READY for status in _ALIVE},
    **{(status, Cancelled): Status.FAILED for status in _ALIVE},
    **{(status, GaveUp): Status.FAILED for status in _ALIVE},
    (_READY, Completed): Status.COMPLETE,
    (_FINISHED, Completed): Status.COMPLETE,
    (Status.FAILED, Requeued): _READY,
}


def diagram() -> str:
    """Return the table as the Mermaid state diagram of the documentation."""
    labels: dict[tuple[str, str], list[str]] = {}
    for (source, kind), target in TRANSITIONS.items():
        event = re.sub("(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()
        labels.setdefault((source.name, target.name), []).append(event)
    arrows = [f"    {a} --> {b}: {', '.join(kinds)}" for (a, b), kinds in labels.items()]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {_READY.name}", *arrows, ""])


def fold(journal: Mapping[int, Sequence[JournalEntry]]) -> RunState:
    """Fold a journal into the state of its run.

    Args:
        journal: attempt to its valid events; 0 holds `readied`.

    Returns:
        The state, without the events that a stale attempt wrote after a later one had begun: the highest
        attempt with a valid `claimed` says how many events of each earlier attempt it builds on.
    """
    valid = _valid(journal)
    folding = RunStateBuilder(RunState())
    for number in sorted(valid):
        for entry in valid[number]:
            folding.add(entry)
    return replace(folding.state, counts={number: len(entries) for number, entries in valid.items()})


def counts_of(journal: Mapping[int, Sequence[JournalEntry]]) -> dict[int, int]:
    """Map each attempt to its number of valid events: what the next `claimed` builds on."""
    return {number: len(entries) for number, entries in _valid(journal).items()}


def builds_on(journal: Mapping[int, Sequence[JournalEntry]]) -> Mapping[int, int]:
    """Map each attempt that the last one builds on to the number of its events; empty before the first."""
    last = _last_begun(journal)
    claimed = journal[last][0].event if last else None
    return claimed.builds_on if isinstance(claimed, Claimed) else {}


def _last_begun(journal: Mapping[int, Sequence[JournalEntry]]) -> int:
    begun = [n for n, entries in journal.items() if n and entries and isinstance(entries[0].event, Claimed)]
    return max(begun, default=0)


def _valid(journal: Mapping[int, Sequence[JournalEntry]]) -> dict[int, Sequence[JournalEntry]]:
    last = _last_begun(journal)
    if not last:
        return {0: journal.get(0, ())}
    counts = builds_on(journal)
    valid = {n: journal[n][:count] for n, count in counts.items() if n in journal and n < last}
    return {**valid, last: journal[last]}


def idle_attempts(journal: Mapping[int, Sequence[JournalEntry]]) -> list[int]:
    """Return the attempts that can be left out without a change of the state, but for the number of tries.

    In such an attempt nothing was achieved, and the run was deferred. Of several in a row the first
    and the last stay: they say since when, and until when, the run waits.
    """
    counts = counts_of(journal)
    numbers = sorted(counts)
    idle = {n for n in numbers if n and _is_idle(journal[n]) and len(journal[n]) == counts[n]}
    return [n for before, n in pairwise(numbers) if {before, n} <= idle and n != numbers[-1]]


def _is_idle(entries: Sequence[JournalEntry]) -> bool:
    last = entries[-1].event if entries else None
    return (
        isinstance(last, HandedBack)
        and last.not_before is not None
        and all(isinstance(e.event, Claimed | TaskStarted | HandedBack | Spoilt) for e in entries)
    )


def step(state: RunState, entry: JournalEntry) -> RunState:
    """Return the state after one more event; an equal state if the event is void."""
    folding = RunStateBuilder(state)
    folding.add(entry)
    return folding.state


class RunStateBuilder:
    """Builds a state event by event.

    The time per event does not grow with the number of tasks, except for the rare events that change every
    task. Reading `state` copies all tasks.

    Args:
        state: the state to start from.
    """

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._tasks = list(state.tasks)
        self._index = {task.id: i for i, task in enumerate(self._tasks)}
        self._first_open = 0
        self._changed = False
        self._at: str | None = None

    @property
    def state(self) -> RunState:
        """The state after the events so far."""
        if self._changed:
            self._state = replace(self._state, tasks=tuple(self._tasks))
            self._changed = False
        return self._state

    @property
    def current(self) -> int | None:
        """The index of the first task without a checkpoint; `None` when all have one."""
        while self._first_open < len(self._tasks):
            if self._tasks[self._first_open].status is not TaskStatus.FINISHED:
                return self._first_open
            self._first_open += 1
        return None

    def task(self, index: int) -> TaskState:
        """Return the current state of one task."""
        return self._tasks[index]

    def add(self, entry: JournalEntry) -> None:  # noqa: C901  # one case an event
        """Add an event; it is void if the current status does not allow it."""
        event, at = entry.event, entry.at
        self._at = at
        target = TRANSITIONS.get((self._state.status, type(event)))
        if target is None:
            return
        match event:
            case TaskStarted() | TaskFinished() | TaskFailed():
                self._task_event(event, at, target)
            case Claimed():
                self._claimed(event, at, target)
            case Readied():
                if self._state.readied_at is None:
                    self.__init__(_readied(event, at))  # type: ignore[misc]  # the run begins here
            case Requeued():
                self._each_task(_fresh)
                self._forget(event)
                self._change(event, at)
                # The requeuing command releases its claim: the next claim is no interruption.
                self._set(
                    target,
                    open=False,
                    interruptions=0,
                    outcome=None,
                    error=None,
                    reason=None,
                    ended_at=None,
                    waiting_since=at,
                )
            case HandedBack():
                self._each_task(_stopped if event.not_before is None else _waiting)
                self._end_attempt(target, at, reason=event.reason, waiting_since=at)
            case Completed():
                self._end_attempt(target, at, ended_at=at, outcome=Outcome.OK, error=None, reason=None)
            case Cancelled():
                self._each_task(_stopped)
                self._end_attempt(target, at, ended_at=at, outcome=event.outcome, reason=event.reason)
            case GaveUp():
                self._end_attempt(target, at, ended_at=at, outcome=event.outcome, reason=event.reason)
            case Spoilt():
                pass  # only people read it
            case _:
                assert_never(event)

    def _set(self, status: Status, **changes: object) -> None:
        self._state = replace(self._state, status=status, last_at=self._at, **changes)

    def _end_attempt(self, target: Status, at: str, **changes: object) -> None:
        """Record the end of an attempt, and what it worked."""
        worked = (self._state.worked_s or 0.0) + run_times.between(self._state.working_since, at)
        times = {"worked_s": worked, "working_since": None, "waiting_since": None}
        self._set(target, open=False, **{**times, **changes})

    def _each_task(self, change: Callable[[TaskState], TaskState]) -> None:
        self._tasks = [change(task) for task in self._tasks]
        self._changed = True

    def _forget(self, event: Requeued) -> None:
        """Discard the checkpoints that a `requeued` event revokes."""
        first = 0 if event.fresh else self._index.get(event.task or "")
        if first is None:
            return
        self._tasks[first:] = [TaskState(t.id, t.method, tries=t.tries) for t in self._tasks[first:]]
        self._first_open = 0
        pending = self._state.requeued
        if pending is None or not pending.fresh:
            self._state = replace(self._state, requeued=event)
        if event.fresh:
            self._state = replace(self._state, started_at=None, worked_s=None, waited_s=0.0)

    def _change(self, event: Requeued, at: str) -> None:
        """Continue in the code and with the parameters that a `requeued` event names."""
        if event.code is None and not event.parameters:
            return
        state, parameters = self._state, event.parameters or {}
        open_ = tuple(task.id for task in self._tasks if task.status is not TaskStatus.FINISHED)
        commit = event.code.commit if event.code else None
        change = Change(at, state.attempt, commit, parameters, event.dirty, open_)
        seed = parameters.get("seed")
        self._state = replace(
            state,
            code=event.code or state.code,
            values=values_with(state.values, parameters) if parameters else state.values,
            seed=seed if type(seed) is int else state.seed,
            changes=(*state.changes, change),
        )

    def _claimed(self, event: Claimed, at: str, target: Status) -> None:
        state = self._state
        interrupted = state.open
        if interrupted:
            self._each_task(_stopped)
        ended = target in {Status.COMPLETE, Status.FAILED}
        died_at = state.last_at if state.working_since is not None else None
        worked = (state.worked_s or 0.0) + run_times.between(state.working_since, died_at)
        self._set(
            target,
            attempt=event.attempt,
            worker=event.worker,
            environment=event.environment,
            open=True,
            interruptions=state.interruptions + interrupted,
            started_at=state.started_at or at,
            worked_s=worked,
            waited_s=state.waited_s + run_times.between(state.waiting_since or died_at, at),
            working_since=None if ended else at,
            waiting_since=None,
        )

    def _task_event(self, event: TaskEvent, at: str, target: Status) -> None:
        index = self._index.get(event.task)
        if index is None or self._tasks[index].status is TaskStatus.FINISHED:
            return
        commit = self._state.code.commit if self._state.code else None
        task = _after(self._tasks[index], event, at, self._state.attempt, commit)
        if isinstance(event, TaskStarted) and task.environment != self._state.environment:
            task = replace(task, environment=self._state.environment)
        self._tasks[index] = task
        self._changed = True
        match event:
            case TaskStarted() if self._state.requeued is not None:
                self._set(target, requeued=None)
            case TaskStarted():
                self._set(target)
            case TaskFinished():
                self._set(target, interruptions=0, error=None)
            case TaskFailed():
                self._set(target, error=event.error)
            case _:
                assert_never(event)


def _readied(event: Readied, at: str) -> RunState:
    return RunState(
        config=event.config,
        digest=event.digest,
        values=event.values,
        seed=event.seed,
        code=event.code,
        trial=event.trial,
        rerun_of=event.rerun_of,
        verify=event.verify,
        own_environment=event.own_environment,
        tasks=tuple(TaskState(spec.id, spec.method) for spec in specs_of(event.values)),
        readied_at=at,
        waiting_since=at,
    )


def _stopped(task: TaskState) -> TaskState:
    """Return a running task as waiting: its holder is gone."""
    return replace(task, status=TaskStatus.WAITING) if task.status is TaskStatus.RUNNING else task


def _waiting(task: TaskState) -> TaskState:
    """Return a task of a run that was released with a delay: the token's name holds the wait from now on."""
    return replace(_stopped(task), waited=task.status is TaskStatus.FAILED)


def _fresh(task: TaskState) -> TaskState:
    """Return an unfinished task with its failures reset."""
    if task.status is TaskStatus.FINISHED:
        return task
    return replace(task, status=TaskStatus.WAITING, failures=0, error=None, permanent=False, delay_s=None)


def _after(task: TaskState, event: TaskEvent, at: str, attempt: int, commit: str | None) -> TaskState:
    """Return a task after one of its own events, in an attempt that runs in a commit."""
    match event:
        case TaskStarted():
            return replace(
                task,
                **_BEGUN,
                tries=task.tries + 1,
                started_at=at,
                attempt=attempt,
                commit=commit,
                not_reused=event.not_reused,
            )
        case TaskFinished():
            return _finished(task, event, at, attempt, event.commit or commit)
        case TaskFailed():
            return replace(
                task,
                status=TaskStatus.FAILED,
                failures=task.failures + event.outcome.counts,
                ended_at=at,
                duration_s=event.duration_s,
                outcome=event.outcome,
                error=event.error,
                permanent=event.permanent,
                delay_s=event.delay_s,
                waited=False,
            )
        case _:
            assert_never(event)


_OF_CHECKPOINT: Final = tuple(f.name for f in fields(TaskFinished) if f.name not in {"task", "commit"})
"""Fields of a checkpoint that a task has as well."""


def _finished(task: TaskState, event: TaskFinished, at: str, attempt: int, commit: str | None) -> TaskState:
    return replace(
        task,
        status=TaskStatus.FINISHED,
        ended_at=at,
        outcome=Outcome.OK,
        error=None,
        attempt=attempt,
        commit=commit,
        **{name: getattr(event, name) for name in _OF_CHECKPOINT},
    )


# -- what comes next --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Go:
    """Run the tasks without a checkpoint, starting at this index."""

    index: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Release the run; no attempt may start before this moment."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the run as failed: its tries or interruptions are used up, or an error is permanent."""

    reason: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Finish:
    """Write `completed`: every task has its checkpoint."""


@dataclass(frozen=True, slots=True)
class FinalMove:
    """Move the token of an ended run to its final folder."""

    place: Place


Next: TypeAlias = Go | Wait | GiveUp | Finish | FinalMove


def next_step(state: RunState, settings: Settings, now: datetime) -> Next:
    """Decide what the holder of a run does next.

    Args:
        state: the fold of the run's journal.
        settings: how the run is to be treated.
        now: the current time, with its time zone.
    """
    if state.status is Status.COMPLETE:
        return FinalMove(Place.COMPLETED)
    if state.status is Status.FAILED:
        return FinalMove(Place.FAILED)
    if state.current is None:
        return Finish()
    task = state.tasks[state.current]
    if state.interruptions and state.interruptions >= settings.max_interruptions:
        reason = (
            f"crash loop: interrupted {state.interruptions} times since the last checkpoint,"
            f" in task {task.id} (maxInterruptions is {settings.max_interruptions})"
        )
        return GiveUp(reason, Outcome.INTERRUPTED)
    if task.status is TaskStatus.FAILED:
        return _after_failure(task, settings, now, state.current)
    return Go(state.current)


def _after_failure(task: TaskState, settings: Settings, now: datetime, index: int) -> Next:
    outcome = task.outcome or Outcome.ERROR
    if task.permanent:
        return GiveUp(f"task {task.id}: {task.error}", outcome)
    if task.failures >= settings.max_attempts:
        tries = counted(task.failures, "try", "tries")
        return GiveUp(f"task {task.id} failed after {tries}: {task.error}", outcome)
    delay = min(settings.retry_delay if task.delay_s is None else task.delay_s, _LONGEST_DELAY)
    if delay > 0 and task.failures and task.ended_at is not None and not task.waited:
        ended = min(datetime.fromisoformat(task.ended_at), now)  # limits the wait if the clock was set back
        until = ended + timedelta(seconds=delay)
        if now < until:
            from job_orchestration.diagnostics import durations

            return Wait(until, f"task {task.id} failed; the next try waits {durations.text_of(delay)}")
    return Go(index)


def results_of(tasks: Iterable[TaskState]) -> dict[str, Json]:
    """Return the results of the finished tasks, by task id."""
    return {t.id: t.result for t in tasks if t.status is TaskStatus.FINISHED}
