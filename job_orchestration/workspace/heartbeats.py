"""Heartbeats: a small file in ``Misc/workers/`` that each worker rewrites periodically.

Only readers use it. A worker's locks show on its own machine that it is alive. Its heartbeat shows the
progress of the running task and, on other machines, that the worker is alive.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import NoneType
from typing import TYPE_CHECKING, Final

from job_orchestration.processes.identity import ProcessIdentity
from job_orchestration.workspace import durable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.workspace.layout import Workspace


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """State of one worker at one moment."""

    worker: str
    hostname: str
    pid: int
    started_at: str
    at: str
    """Time of writing: UTC, ISO 8601."""
    run: str | None = None
    attempt: int | None = None
    task: str | None = None
    done: float | None = None
    total: float | None = None
    """The last progress that the task reported; `None` if it reported none."""
    moved_at: str | None = None
    """Time of the last change of the task or of its progress."""
    boot: str | None = None
    """With the next two and `pid` the identity of its process; `None` from earlier releases."""
    namespace: int | None = None
    started: int | None = None
    pool: str | None = None
    """Name of the resource pool that it shares with others of its machine; `None` if it has its own."""
    resources: Mapping[str, int] | None = None
    """What it can allocate to runs; `None` from earlier releases."""

    @property
    def identity(self) -> ProcessIdentity | None:
        """Return the identity of the worker's process; `None` if the heartbeat does not tell."""
        if self.boot is None or self.namespace is None:
            return None
        return ProcessIdentity(self.boot, self.namespace, self.pid, self.started or 0)


_TYPES: Final = {
    **dict.fromkeys(("worker", "hostname", "started_at", "at"), (str,)),
    "pid": (int,),
    **dict.fromkeys(("run", "task", "moved_at", "boot", "pool"), (str, NoneType)),
    **dict.fromkeys(("attempt", "namespace", "started"), (int, NoneType)),
    **dict.fromkeys(("done", "total"), (int, float, NoneType)),
    "resources": (dict, NoneType),
}


def write(workspace: Workspace, heartbeat: Heartbeat) -> None:
    """Replace the worker's last heartbeat; best effort, because a full disk must not stop a worker."""
    with suppress(OSError):
        durable.write_view(_path(workspace, heartbeat.worker), json.dumps(_as_json(heartbeat)).encode())


def remove(workspace: Workspace, worker: str) -> None:
    """Remove the heartbeat of a worker that exits."""
    with suppress(OSError):
        os.unlink(_path(workspace, worker))


def read(workspace: Workspace) -> dict[str, Heartbeat]:
    """Return each worker's last heartbeat by name, dead workers included; unreadable files are left out."""
    found: dict[str, Heartbeat] = {}
    try:
        names = os.listdir(workspace.workers)
    except OSError:
        return found
    for name in names:
        if not name.endswith(".json"):
            continue
        with (
            suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError),
            open(os.path.join(workspace.workers, name), "rb") as file,
        ):
            values = json.load(file)
            hostname = values.pop("host")
            heartbeat = Heartbeat(
                hostname=hostname, **{name: value for name, value in values.items() if name in _TYPES}
            )
            if all(isinstance(getattr(heartbeat, field), wanted) for field, wanted in _TYPES.items()) and all(
                isinstance(much, int) for much in (heartbeat.resources or {}).values()
            ):
                found[heartbeat.worker] = heartbeat
    return found


def _as_json(heartbeat: Heartbeat) -> dict[str, object]:
    """Return the file's content; its key for the hostname is ``host``."""
    values = asdict(heartbeat)
    return {"worker": values.pop("worker"), "host": values.pop("hostname"), **values}


def _path(workspace: Workspace, worker: str) -> str:
    return os.path.join(workspace.workers, f"{worker}.json")
