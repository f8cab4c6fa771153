"""What a worker says about itself while it lives: a small file in ``Misc/workers/``, written again and again.

It is for the eyes of readers only. That a worker is alive is told by its locks; a beat tells what those
cannot: how far the running task is, and, to readers on another host, that somebody there still works.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import NoneType
from typing import TYPE_CHECKING, Final

from job_orchestration.files import durable

if TYPE_CHECKING:
    from job_orchestration.files.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Beat:
    """One worker at one moment."""

    worker: str
    host: str
    pid: int
    started_at: str
    at: str
    """When this was written: UTC, ISO 8601."""
    run: str | None = None
    attempt: int | None = None
    task: str | None = None
    done: float | None = None
    total: float | None = None
    """What the task last said of its progress; `None` when it said nothing."""
    moved_at: str | None = None
    """When the task, or what it says of its progress, last changed."""


_TYPES: Final = {
    **dict.fromkeys(("worker", "host", "started_at", "at"), (str,)),
    "pid": (int,),
    **dict.fromkeys(("run", "task", "moved_at"), (str, NoneType)),
    "attempt": (int, NoneType),
    **dict.fromkeys(("done", "total"), (int, float, NoneType)),
}


def write(workspace: Workspace, beat: Beat) -> None:
    """Write a beat over the worker's last one; a full disk does not stop a worker."""
    with suppress(OSError):
        durable.write_view(_path(workspace, beat.worker), json.dumps(asdict(beat)).encode())


def remove(workspace: Workspace, worker: str) -> None:
    """Take a worker's beat away: it ends in order."""
    with suppress(OSError):
        os.unlink(_path(workspace, worker))


def read(workspace: Workspace) -> dict[str, Beat]:
    """The last beats of all workers by name, dead ones included; what cannot be read is left out."""
    found: dict[str, Beat] = {}
    try:
        names = os.listdir(workspace.workers)
    except OSError:
        return found
    for name in names:
        if not name.endswith(".json"):
            continue
        with (
            suppress(OSError, ValueError, TypeError, RecursionError),
            open(os.path.join(workspace.workers, name), "rb") as file,
        ):
            beat = Beat(**json.load(file))
            if all(isinstance(getattr(beat, field), wanted) for field, wanted in _TYPES.items()):
                found[beat.worker] = beat
    return found


def _path(workspace: Workspace, worker: str) -> str:
    return os.path.join(workspace.workers, f"{worker}.json")
