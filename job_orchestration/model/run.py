"""What a run is at a moment: the result of folding its journal, and where its token lies."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.model.event import Code, Output, Requeued
    from job_orchestration.model.sweep import Trial
    from job_orchestration.model.task import Json

V = TypeVar("V")


def replace(value: V, **changes: object) -> V:
    """`dataclasses.replace` for frozen values with slots, in a third of its time: folds live on it."""
    kind = type(value)
    changed = object.__new__(kind)
    put = object.__setattr__
    for name in kind.__slots__:  # type: ignore[attr-defined]  # every value of ours has slots
        put(changed, name, changes[name] if name in changes else getattr(value, name))
    return changed


class Status(Enum):
    """What the journal folds to. Names and numbers are those of the first Job Orchestration."""

    READY = 0
    RUNNING_TASK = 1
    FINISHED_TASK = 2
    FAILED_TASK = 3
    COMPLETE = 4
    FAILED = 5


class Place(StrEnum):
    """Where a config is in its life; each is also a key of ``counts`` in ``status --json``."""

    SOURCES = "sources"
    TO_RUN = "to_run"
    HELD = "held"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def said(self) -> str:
        """How a sentence ends that begins with "it is"."""
        match self:
            case Place.SOURCES:
                return "still in ConfigSources"
            case Place.TO_RUN:
                return "waiting"
            case _:
                return self.value


class Outcome(StrEnum):
    """How a try, an attempt or a run ended."""

    OK = "ok"
    ERROR = "error"
    CRASH = "crash"
    OOM = "oom"
    TIMEOUT = "timeout"
    HANG = "hang"
    LOST = "lost"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"

    @property
    def counts(self) -> bool:
        """Whether a try that ended so counts against ``maxAttempts``."""
        return self not in {Outcome.OK, Outcome.INTERRUPTED, Outcome.CANCELLED}


class TaskStatus(StrEnum):
    """Where a task of a run is."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TaskState:
    """One task of a run, as far as the journal tells."""

    id: str
    method: str
    status: TaskStatus = TaskStatus.WAITING
    tries: int = 0
    """Starts of this task, whatever became of them."""
    failures: int = 0
    """Tries that count against ``maxAttempts``, since the run was last requeued."""
    started_at: str | None = None
    ended_at: str | None = None
    duration_s: float | None = None
    result: Json = None
    folder: str | None = None
    outputs: tuple[Output, ...] = ()
    outcome: Outcome | None = None
    """How the last try ended."""
    error: str | None = None
    permanent: bool = False
    delay_s: float | None = None
    waited: bool = False
    """Whether its wait after the last failure is over, or lies in the token's name."""


@dataclass(frozen=True, slots=True)
class RunState:
    """The fold of a journal."""

    status: Status = Status.READY
    config: str = ""
    digest: str = ""
    values: Mapping[str, Json] = field(default_factory=dict)
    seed: int = 0
    code: Code | None = None
    trial: Trial | None = None
    """Which run of a sweep it is, when it is one."""
    tasks: tuple[TaskState, ...] = ()
    attempt: int = 0
    worker: str | None = None
    """Who holds, or last held, the run."""
    open: bool = False
    """Whether the last attempt has begun and not said that it ended."""
    interruptions: int = 0
    """Attempts that ended without a word since the last checkpoint."""
    readied_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    outcome: Outcome | None = None
    error: str | None = None
    reason: str | None = None
    """Why it gave up, was handed back or cancelled."""
    requeued: Requeued | None = None
    """What was asked of the old output when the run was requeued, as long as no task has started since."""
    counts: Mapping[int, int] = field(default_factory=dict)
    """Attempt to number of its valid events: what a next ``claimed`` builds on."""

    @property
    def current(self) -> int | None:
        """The index of the first task without a checkpoint; ``None`` when all have one."""
        for i, task in enumerate(self.tasks):
            if task.status is not TaskStatus.FINISHED:
                return i
        return None
