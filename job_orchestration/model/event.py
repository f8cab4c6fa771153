"""What a journal says: one event a line, ten kinds of them.

The journal is the only truth about what a run has done. Everything that is shown of a run is a fold of
its events (`rules.lifecycle.fold`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from job_orchestration.model.run import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.model.sweep import Trial
    from job_orchestration.model.task import Json


@dataclass(frozen=True, slots=True)
class Code:
    """The code that a run executes: a commit, and where in its tree ``Tasks.py`` lies."""

    commit: str
    """Forty hex digits. When the tree was captured dirty, a commit that only ``Misc/code.git`` has."""
    folder: str
    """The folder of ``Tasks.py`` relative to the top of the work tree; ``.`` is the top itself."""
    work_tree: str = ""
    """The absolute path of the work tree it was pinned from; ``sys.path`` entries below it are mapped."""


@dataclass(frozen=True, slots=True)
class Output:
    """One file that a task saved through its store."""

    path: str
    """Relative to the run's folder."""
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Readied:
    """The run was checked, pinned and given its folder. The only event of ``000000.jsonl``."""

    config: str
    """The name of the config: the stem of the file that was dropped."""
    digest: str
    """sha256 of ``config.yaml``, in hex."""
    values: Mapping[str, Json]
    """The resolved config, the same as in ``config.yaml``."""
    seed: int
    code: Code | None = None
    trial: Trial | None = None
    """Which run of a sweep it is, when it is one."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An attempt began. The first event of each later file of a journal."""

    attempt: int
    worker: str
    host: str
    pid: int
    builds_on: Mapping[int, int] = field(default_factory=dict)
    """Attempt to number of its events that this attempt has seen; what came after them is void."""


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """A try of a task began."""

    task: str
    number: int
    """Which try of this task it is, from 1."""


@dataclass(frozen=True, slots=True)
class TaskFinished:
    """The checkpoint: this task never runs again."""

    task: str
    duration_s: float
    result: Json = None
    folder: str | None = None
    """The folder in the run's that holds what the task saved, when it saved anything."""
    outputs: tuple[Output, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """A try of a task ended without a checkpoint."""

    task: str
    outcome: Outcome
    error: str
    """The exception's name and message, or the signal's name."""
    duration_s: float | None = None
    permanent: bool = False
    delay_s: float | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody asked for the run to end."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Requeued:
    """A run that had given up was asked to go on: its counts start anew."""

    reason: str = ""
    task: str | None = None
    """The checkpoints from this task on do not count any more."""
    fresh: bool = False
    """No checkpoint counts any more, and what the run had put out is to be put away."""


@dataclass(frozen=True, slots=True)
class HandedBack:
    """The attempt ended of its own accord and somebody else may go on."""

    reason: str
    not_before: str | None = None
    """UTC, ISO 8601: nobody should go on earlier."""


@dataclass(frozen=True, slots=True)
class Completed:
    """Every task has its checkpoint."""


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The run will not be tried again unless somebody asks."""

    reason: str
    outcome: Outcome = Outcome.ERROR


Event: TypeAlias = (
    Readied
    | Claimed
    | TaskStarted
    | TaskFinished
    | TaskFailed
    | Cancelled
    | Requeued
    | HandedBack
    | Completed
    | GaveUp
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a journal file."""

    seq: int
    """The line's number in its file, from 1."""
    at: str
    """UTC, ISO 8601 with microseconds."""
    event: Event
