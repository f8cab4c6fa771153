"""What a run's events mean: the transitions of its status, the fold of its journal, and what comes next.

`TRANSITIONS` is the whole life of a run in one table. An event that the table does not know for the status
of the moment is void; so the fold of any events, in any order, is some state, and never an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from job_orchestration.model.event import (
    Cancelled,
    Claimed,
    Completed,
    Entry,
    Event,
    GaveUp,
    HandedBack,
    Readied,
    Requeued,
    TaskFailed,
    TaskFinished,
    TaskStarted,
)
from job_orchestration.model.run import Outcome, Place, RunState, Status, TaskState, TaskStatus, replace
from job_orchestration.model.task import specs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from job_orchestration.model.config import Settings
    from job_orchestration.model.task import Json

_READY, _RUNNING, _FINISHED, _FAILED_TASK = (
    Status.READY,
    Status.RUNNING_TASK,
    Status.FINISHED_TASK,
    Status.FAILED_TASK,
)
_ALIVE: Final = (_READY, _RUNNING, _FINISHED, _FAILED_TASK)
_LONGEST_DELAY: Final = 10 * 365 * 86_400.0
"""Seconds; a task may ask for more than the calendar has."""

TRANSITIONS: Final[Mapping[tuple[Status, type[Event]], Status]] = {
    (_READY, Readied): _READY,
    (_READY, Claimed): _READY,
    (_RUNNING, Claimed): _READY,  # its holder died inside a task: that try is void
    (_FINISHED, Claimed): _FINISHED,
    (_FAILED_TASK, Claimed): _FAILED_TASK,
    (Status.COMPLETE, Claimed): Status.COMPLETE,  # only to file the token away
    (Status.FAILED, Claimed): Status.FAILED,  # the same, or to requeue it
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
    """The table as a Mermaid state diagram: the one in the documentation."""
    labels: dict[tuple[str, str], list[str]] = {}
    for (source, kind), target in TRANSITIONS.items():
        event = re.sub("(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()
        labels.setdefault((source.name, target.name), []).append(event)
    arrows = [f"    {a} --> {b}: {', '.join(kinds)}" for (a, b), kinds in labels.items()]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {_READY.name}", *arrows, ""])


def fold(journal: Mapping[int, Sequence[Entry]]) -> RunState:
    """The state of a run.

    Args:
        journal: attempt to its valid events; 0 holds `readied`.

    Returns:
        What the events amount to, without those that a stale attempt wrote after a later one had begun:
        the highest attempt with a valid `claimed` says how many events of each earlier one it builds on.
    """
    valid = _valid(journal)
    folding = Folding(RunState())
    for number in sorted(valid):
        for entry in valid[number]:
            folding.add(entry)
    return replace(folding.state, counts={number: len(entries) for number, entries in valid.items()})


def counts_of(journal: Mapping[int, Sequence[Entry]]) -> dict[int, int]:
    """Attempt to number of its events that count: what the next `claimed` builds on."""
    return {number: len(entries) for number, entries in _valid(journal).items()}


def _valid(journal: Mapping[int, Sequence[Entry]]) -> dict[int, Sequence[Entry]]:
    begun = [
        n for n, entries in journal.items() if n > 0 and entries and isinstance(entries[0].event, Claimed)
    ]
    if not begun:
        return {0: journal.get(0, ())}
    last = max(begun)
    claimed = journal[last][0].event
    assert isinstance(claimed, Claimed)
    valid = {n: journal[n][:count] for n, count in claimed.builds_on.items() if n in journal and n < last}
    return {**valid, last: journal[last]}


def step(state: RunState, entry: Entry) -> RunState:
    """The state after one more event; an equal one when the event is void."""
    folding = Folding(state)
    folding.add(entry)
    return folding.state


class Folding:
    """A state to which one event after the other is added.

    It takes time for each event that does not grow with the number of tasks; only asking for the `state`, or
    for the end of all attempts' tries, looks at every task.

    Args:
        state: what to go on from.
    """

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._tasks = list(state.tasks)
        self._index = {task.id: i for i, task in enumerate(self._tasks)}
        self._first_open = 0
        self._changed = False

    @property
    def state(self) -> RunState:
        """What the events so far amount to."""
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
        """One task as it is now."""
        return self._tasks[index]

    def add(self, entry: Entry) -> None:  # noqa: C901  # one case an event
        """Take one more event in; one that does not fit the status of the moment is void."""
        event, at = entry.event, entry.at
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
                # Whoever asked lets go of it: the next claim interrupts nobody.
                self._set(
                    target, open=False, interruptions=0, outcome=None, error=None, reason=None, ended_at=None
                )
            case HandedBack():
                self._each_task(_stopped if event.not_before is None else _waiting)
                self._set(target, open=False, reason=event.reason)
            case Completed():
                self._set(target, open=False, ended_at=at, outcome=Outcome.OK, error=None, reason=None)
            case Cancelled():
                self._each_task(_stopped)
                self._set(target, open=False, ended_at=at, outcome=Outcome.CANCELLED, reason=event.reason)
            case GaveUp():
                self._set(target, open=False, ended_at=at, outcome=event.outcome, reason=event.reason)
            case _:
                assert_never(event)

    def _set(self, status: Status, **changes: object) -> None:
        self._state = replace(self._state, status=status, **changes)

    def _each_task(self, change: Callable[[TaskState], TaskState]) -> None:
        self._tasks = [change(task) for task in self._tasks]
        self._changed = True

    def _forget(self, event: Requeued) -> None:
        """Take back the checkpoints that whoever requeued the run wants no more."""
        first = 0 if event.fresh else self._index.get(event.task or "")
        if first is None:
            return
        self._tasks[first:] = [TaskState(t.id, t.method, tries=t.tries) for t in self._tasks[first:]]
        self._first_open = 0
        pending = self._state.requeued
        if pending is None or not pending.fresh:
            self._state = replace(self._state, requeued=event)
        if event.fresh:
            self._state = replace(self._state, started_at=None)

    def _claimed(self, event: Claimed, at: str, target: Status) -> None:
        interrupted = self._state.open
        if interrupted:
            self._each_task(_stopped)
        self._set(
            target,
            attempt=event.attempt,
            worker=event.worker,
            open=True,
            interruptions=self._state.interruptions + interrupted,
            started_at=self._state.started_at or at,
        )

    def _task_event(self, event: TaskStarted | TaskFinished | TaskFailed, at: str, target: Status) -> None:
        index = self._index.get(event.task)
        if index is None or self._tasks[index].status is TaskStatus.FINISHED:
            return
        self._tasks[index] = _after(self._tasks[index], event, at)
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
        tasks=tuple(TaskState(spec.id, spec.method) for spec in specs_of(event.values)),
        readied_at=at,
    )


def _stopped(task: TaskState) -> TaskState:
    """A task whose holder went away in the middle: it waits again."""
    return replace(task, status=TaskStatus.WAITING) if task.status is TaskStatus.RUNNING else task


def _waiting(task: TaskState) -> TaskState:
    """A task whose run was handed back until later: its wait is in the token's name from now on."""
    return replace(_stopped(task), waited=task.status is TaskStatus.FAILED)


def _fresh(task: TaskState) -> TaskState:
    """A task whose failures are forgiven."""
    if task.status is TaskStatus.FINISHED:
        return task
    return replace(task, status=TaskStatus.WAITING, failures=0, error=None, permanent=False, delay_s=None)


def _after(task: TaskState, event: TaskStarted | TaskFinished | TaskFailed, at: str) -> TaskState:
    """A task after one of its own events."""
    match event:
        case TaskStarted():
            status, tries = TaskStatus.RUNNING, task.tries + 1
            return replace(task, status=status, tries=tries, started_at=at, ended_at=None, duration_s=None)
        case TaskFinished():
            return replace(
                task,
                status=TaskStatus.FINISHED,
                ended_at=at,
                duration_s=event.duration_s,
                result=event.result,
                folder=event.folder,
                outputs=event.outputs,
                outcome=Outcome.OK,
                error=None,
            )
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


# -- what comes next --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Go:
    """Run the tasks that have no checkpoint, from this one on."""

    index: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nobody should go on before this moment."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The run has had its chances."""

    reason: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Finish:
    """Every task has its checkpoint and nobody has said so yet."""


@dataclass(frozen=True, slots=True)
class FileAway:
    """The run has ended; only its token is not where it belongs."""

    place: Place


Next: TypeAlias = Go | Wait | GiveUp | Finish | FileAway


def next_step(state: RunState, settings: Settings, now: datetime) -> Next:
    """What the holder of a run does now.

    Args:
        state: the fold of the run's journal.
        settings: how the run is to be treated.
        now: the present, with its time zone.
    """
    if state.status is Status.COMPLETE:
        return FileAway(Place.COMPLETED)
    if state.status is Status.FAILED:
        return FileAway(Place.FAILED)
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
        tries = "1 try" if task.failures == 1 else f"{task.failures} tries"
        return GiveUp(f"task {task.id} failed after {tries}: {task.error}", outcome)
    delay = min(settings.retry_delay if task.delay_s is None else task.delay_s, _LONGEST_DELAY)
    if delay > 0 and task.failures and task.ended_at is not None and not task.waited:
        ended = min(datetime.fromisoformat(task.ended_at), now)  # a clock that was set back keeps nobody
        until = ended + timedelta(seconds=delay)
        if now < until:
            return Wait(until, f"task {task.id} failed; the next try waits {delay:g} s")
    return Go(index)


def results_of(tasks: Iterable[TaskState]) -> dict[str, Json]:
    """What the finished tasks of a run returned, by id."""
    return {t.id: t.result for t in tasks if t.status is TaskStatus.FINISHED}
