"""Define the eleven kinds of journal events.

The journal is the only truth about what a run has done. Everything shown about a run is a fold of its events
(`runs.lifecycle.fold`). Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.config.config import Json


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
    PRUNED = "pruned"
    """A search ended the trial early. The journal has a `cancelled` event for it."""

    @property
    def counts(self) -> bool:
        """Whether a try with this outcome counts against ``maxAttempts``."""
        return self not in {Outcome.OK, Outcome.INTERRUPTED, *INTENDED}


INTENDED: Final = frozenset({Outcome.CANCELLED, Outcome.PRUNED})
"""How a run ends that did not complete because a person or a search wanted it so: it has not failed."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The place of a run in its sweep or search."""

    sweep: str
    """The sweep's name: the stem of the dropped file."""
    parameters: Mapping[str, Json]
    """Config key, or ``taskId.key``, to this run's value."""
    digest: str = ""
    """Hash of what the run computes; prevents a trial from being queued twice in one sweep."""
    number: int | None = None
    """Its number in a search, from 1; `None` in a sweep, whose trials are all known from the start."""


@dataclass(frozen=True, slots=True)
class Code:
    """The code that a run executes: a commit, and the folder of ``Tasks.py`` in its tree."""

    commit: str
    """Forty hex digits, or 64 of a repository with SHA-256 objects. If the tree was captured dirty, only the
    workspace's store has this commit."""
    folder: str
    """The folder of ``Tasks.py``, relative to the top of the work tree; ``.`` is the top."""
    work_tree: str = ""
    """The absolute path of the pinned work tree; ``sys.path`` entries below it are mapped to the snapshot."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that a task saved through its store."""

    path: str
    """Path relative to the run's folder."""
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a task used, with the processes that it started and waited for."""

    cpu_s: float
    """Seconds of CPU, user and system."""
    peak_bytes: int
    """The most memory that one of its processes held at a time (resident set), its own or a child's."""
    read_bytes: int | None = None
    """What it read, from the disk or its cache, files and pipes alike; `None` if the system cannot tell."""
    written_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Readied:
    """The run was checked, pinned and opened. The only event of ``000000.jsonl``."""

    config: str
    """The name of the config: the stem of the dropped file."""
    digest: str
    """sha256 of ``config.yaml``, in hex."""
    values: Mapping[str, Json]
    """The resolved config, the same as in ``config.yaml``."""
    seed: int
    code: Code | None = None
    trial: Trial | None = None
    """The run's place in its sweep; `None` if it belongs to none."""
    rerun_of: str | None = None
    """The run that this one repeats."""
    verify: Mapping[str, Json] | None = None
    """With which ``rtol``, ``atol`` and ``ignore`` it is to be compared with that run once it has completed;
    `None` if it is not."""
    own_environment: Mapping[str, Json] | None = None
    """The ``python`` (a version), ``packages`` (a digest) and ``editable`` (name to folder) that its tasks
    run with; `None`: those of the worker."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An attempt began. The first event of each later file of a journal."""

    attempt: int
    worker: str
    hostname: str
    """The key in the journal is ``host``."""
    pid: int
    builds_on: Mapping[int, int] = field(default_factory=dict)
    """Attempt to the number of its events that this attempt has read; its later events are void."""
    environment: str | None = None
    """Digest of the environment of the worker, whose content is in ``Misc/environments``."""


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """A try of a task began."""

    task: str
    number: int
    """The number of this try of the task, from 1."""
    not_reused: str | None = None
    """With ``reuse``: why the task runs instead of taking an earlier checkpoint."""


@dataclass(frozen=True, slots=True)
class TaskFinished:
    """The checkpoint: this task never runs again."""

    task: str
    duration_s: float
    result: Json = None
    folder: str | None = None
    """The subfolder of the run's folder with the task's files; `None` if it saved none."""
    outputs: tuple[OutputFile, ...] = ()
    commit: str | None = None
    """The commit that the task ran in; `None` if it has no snapshot, and in journals of older releases."""
    imported: tuple[str, ...] = ()
    """The files of the snapshot that its process had imported, relative to the snapshot, without those that
    an earlier task of the same attempt names."""
    reused_from: str | None = None
    """The run whose checkpoint this is a copy of; `None` if the task ran here."""
    usage: Usage | None = None
    volatile: tuple[str, ...] = ()
    """What the task says is another each time: see `TaskBase.volatile`."""
    inputs: str | None = None
    """Digest of the recorded inputs, if the config names some and none changed while the task ran."""
    preload_s: float | None = None
    """Seconds that the `preload` of its class took for this run; `None` if it was not called for it."""
    preload_mb: float | None = None
    """By how much it made the process grow, in 10⁶ bytes."""


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
    """The run ended at a user's request, or was pruned by its search."""

    reason: str = ""
    pruned: bool = False

    @property
    def outcome(self) -> Outcome:
        """The outcome of the run. Older releases recorded a pruned one by its reason alone."""
        return Outcome.PRUNED if self.pruned or self.reason.startswith(_PRUNED) else Outcome.CANCELLED


_PRUNED: Final = "pruned at step "


@dataclass(frozen=True, slots=True)
class Requeued:
    """A failed run was put back into the queue; its counters are reset."""

    reason: str = ""
    task: str | None = None
    """Checkpoints from this task on are revoked."""
    fresh: bool = False
    """All checkpoints are revoked, and the old output is to be moved to the trash."""
    code: Code | None = None
    """The code in which the run continues; `None` if it keeps its code."""
    parameters: Mapping[str, Json] | None = None
    """Config key, or ``taskId.key``, to its new value. The key in the journal is ``set``."""
    dirty: tuple[str, ...] = ()
    """The uncommitted files that `code` was captured with."""


@dataclass(frozen=True, slots=True)
class HandedBack:
    """The attempt released the run; another one may continue it."""

    reason: str
    not_before: str | None = None
    """The earliest time of the next attempt: UTC, ISO 8601."""


@dataclass(frozen=True, slots=True)
class Completed:
    """Every task has its checkpoint."""


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The run has failed; only a retry command starts it again."""

    reason: str
    outcome: Outcome = Outcome.ERROR


@dataclass(frozen=True, slots=True)
class Spoilt:
    """Files of the run's record were removed or changed, and have been put back. Changes no state."""

    task: str | None = None
    """The task that did so; `None` if it is not known."""
    files: tuple[str, ...] = ()
    """Their paths in the run's folder."""


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
    | Spoilt
)


TaskEvent: TypeAlias = TaskStarted | TaskFinished | TaskFailed


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One line of a journal file."""

    seq: int
    """The line's number in its file, from 1."""
    at: str
    """UTC, ISO 8601 with microseconds."""
    event: Event
