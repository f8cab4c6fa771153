"""The state of a run and of its tasks: the result of folding its journal. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.config.config import Json
    from job_orchestration.runs.events import Code, Outcome, OutputFile, Requeued, Trial, Usage

V = TypeVar("V")


def replace(value: V, **changes: object) -> V:
    """Copy a frozen value with slots with changes, in a third of the time of `dataclasses.replace`."""
    kind = type(value)
    changed = object.__new__(kind)
    put = object.__setattr__
    for name in kind.__slots__:  # type: ignore[attr-defined]  # every value of ours has slots
        put(changed, name, changes[name] if name in changes else getattr(value, name))
    return changed


class Status(Enum):
    """The status of a run. Names and numbers are those of the first release."""

    READY = 0
    RUNNING_TASK = 1
    FINISHED_TASK = 2
    FAILED_TASK = 3
    COMPLETE = 4
    FAILED = 5


class TaskStatus(StrEnum):
    """The status of a task."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TaskState:
    """The state of one task of a run."""

    id: str
    method: str
    status: TaskStatus = TaskStatus.WAITING
    tries: int = 0
    """Number of starts of this task."""
    failures: int = 0
    """Failed tries since the run was last requeued; ``maxAttempts`` limits them."""
    started_at: str | None = None
    ended_at: str | None = None
    duration_s: float | None = None
    result: Json = None
    folder: str | None = None
    outputs: tuple[OutputFile, ...] = ()
    outcome: Outcome | None = None
    """The outcome of the last try."""
    error: str | None = None
    permanent: bool = False
    delay_s: float | None = None
    waited: bool = False
    """Whether the wait after the last failure is over, or is in the token's name."""
    commit: str | None = None
    """The commit that its last try ran in; `None` if it has not started, or has no snapshot."""
    attempt: int = 0
    """The attempt of its last try."""
    volatile: tuple[str, ...] = ()
    """What it says is another each time, which no verification compares."""
    imported: tuple[str, ...] = ()
    """The files of the snapshot that this task, and no task before it in its attempt, is known to have
    imported."""
    reused_from: str | None = None
    """The run that its checkpoint was taken from; `None` if it ran."""
    not_reused: str | None = None
    """With ``reuse``: why its last try ran."""
    usage: Usage | None = None
    inputs: str | None = None
    """Digest of the inputs that it ran with; `None` if there are none, or they changed meanwhile."""
    environment: str | None = None
    """Digest of the environment of the worker of its last try."""
    preload_s: float | None = None
    """Seconds that the `preload` of its class took for this run; `None` if it was not called for it."""
    preload_mb: float | None = None
    """By how much it made the process grow, in 10⁶ bytes."""


@dataclass(frozen=True, slots=True)
class Change:
    """A retry of a run in other code or with other parameters."""

    at: str
    """UTC, ISO 8601."""
    attempt: int
    """The attempt that recorded it; the later ones follow it."""
    commit: str | None
    """The commit in which the run continued; `None` if it kept its code."""
    parameters: Mapping[str, Json]
    """Config key, or ``taskId.key``, to its new value."""
    dirty: tuple[str, ...]
    """The uncommitted files that the commit was captured with."""
    tasks: tuple[str, ...]
    """The tasks without a checkpoint at that time: those that run in the new code."""


@dataclass(frozen=True, slots=True)
class RunState:
    """The state of a run: the fold of its journal."""

    status: Status = Status.READY
    config: str = ""
    digest: str = ""
    values: Mapping[str, Json] = field(default_factory=dict)
    seed: int = 0
    code: Code | None = None
    trial: Trial | None = None
    """The run's place in its sweep; `None` if it belongs to none."""
    rerun_of: str | None = None
    """The run that this one repeats."""
    verify: Mapping[str, Json] | None = None
    """How it is to be compared with that run once it has completed; `None` if it is not."""
    own_environment: Mapping[str, Json] | None = None
    """The Python and packages that its tasks run with; `None`: those of the worker."""
    tasks: tuple[TaskState, ...] = ()
    attempt: int = 0
    worker: str | None = None
    """The current or last holder of the run."""
    environment: str | None = None
    """Digest of the environment of that worker, see `runs.environments`; `None` in older journals."""
    open: bool = False
    """Whether the last attempt has begun and has no final event."""
    interruptions: int = 0
    """Attempts since the last checkpoint that ended without a final event."""
    readied_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    outcome: Outcome | None = None
    error: str | None = None
    reason: str | None = None
    """Why the run gave up, was released or was cancelled."""
    requeued: Requeued | None = None
    """The last `requeued` event, until a task starts: says what to do with the old output."""
    changes: tuple[Change, ...] = ()
    """The retries in other code or with other parameters, oldest first."""
    worked_s: float | None = None
    """Seconds of work of the attempts that have ended; `None` before the first claim."""
    waited_s: float = 0.0
    """Seconds of waiting until the last claim."""
    working_since: str | None = None
    """When the current attempt began."""
    waiting_since: str | None = None
    """When the current waiting began."""
    last_at: str | None = None
    """The time of the last event."""
    counts: Mapping[int, int] = field(default_factory=dict)
    """Attempt to the number of its valid events: what the next ``claimed`` builds on."""

    @property
    def current(self) -> int | None:
        """The index of the first task without a checkpoint; `None` if all have one."""
        for i, task in enumerate(self.tasks):
            if task.status is not TaskStatus.FINISHED:
                return i
        return None

    @property
    def try_number(self) -> int | None:
        """The number, from 1, of the try of the current task that runs, comes next, or was the last.

        Tries count as ``maxAttempts`` counts them, so one that was interrupted is none. `None` if the task
        has not started, or all have finished.
        """
        task = None if self.current is None else self.tasks[self.current]
        if task is None or task.tries == 0:
            return None
        return (task.failures or None) if self.status is Status.FAILED else task.failures + 1

    @property
    def has_failed_by_error(self) -> bool:
        """Whether the run has failed for a reason that newer code may remove."""
        return self.status is Status.FAILED and self.outcome is not None and self.outcome.counts

    @property
    def commits(self) -> dict[str, str]:
        """The commit of each task: of its last try, or the one that it is going to run in."""
        now = self.code.commit if self.code else None
        found = {t.id: (t.commit or now) if t.status is TaskStatus.FINISHED else now for t in self.tasks}
        return {id_: commit for id_, commit in found.items() if commit is not None}
