"""One fault at one durable operation, in whichever of the product's processes comes to it.

The operations of a scenario are made by several processes one after the other: `ready`, a worker, the child
of an attempt. They count them together in a small shared file, so that "the seventeenth operation" means
the same in every repetition, and exactly one of them meets the fault. The plan lies beside the counter; its
folder is named by the environment, which is how it reaches programs that are exec'd (see `SITE`).
"""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import signal
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from job_orchestration.workspace.durable import Operation

VARIABLE = "FAULT_FOLDER"
DEATHS = ("before", "after", "torn")
ERRORS = ("ENOSPC", "ENOSPC for a while", "EIO", "EDQUOT")
KINDS = (*DEATHS, *ERRORS)
A_WHILE = 0.15
"""Seconds that the disk stays full; longer than the worker's pause between two looks at it (see `hasten`)."""
FREES = frozenset({"unlink", "rmdir"})
"""Operations that also work on a full disk."""

SITE = "from tests.faults import injection; injection.install(); injection.hasten()\n"
"""What a ``sitecustomize`` on PYTHONPATH says to have the faults in an exec'd program."""

_STATE = struct.Struct("=qqd")


class Made(NamedTuple):
    """One operation that was about to be made."""

    number: int
    name: str
    path: str
    size: int
    """Bytes that an ``append`` was to write."""
    process: int


class Injection:
    """The interceptor of `durable`, in one process; its forks share what it counts."""

    def __init__(self, folder: str) -> None:
        with open(os.path.join(folder, "plan"), encoding="utf-8") as file:
            plan = json.load(file)
        self.at: int = plan["at"]
        self.kind: str | None = plan["kind"]
        self._log = os.open(os.path.join(folder, "log"), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        with open(os.path.join(folder, "state"), "r+b") as state:
            self._state = mmap.mmap(state.fileno(), _STATE.size)

    def __call__(self, operation: Operation, call: Callable[[], object]) -> object:
        number, error = self._count(operation)
        if error:
            if operation.name == "append" and error != errno.EIO:
                _half(operation)
            raise OSError(error, os.strerror(error), operation.path)
        if number != self.at or self.kind not in DEATHS:
            return call()
        if self.kind == "after":
            call()
        elif self.kind == "torn":
            _half(operation)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("not reached")

    def _count(self, operation: Operation) -> tuple[int, int]:
        """Count an operation; returns its number and the error that it is to meet, or 0."""
        fcntl.flock(self._log, fcntl.LOCK_EX)
        try:
            count, fired, until = _STATE.unpack_from(self._state)
            count += 1
            error = 0
            if self.kind == "ENOSPC for a while":
                if count == self.at:
                    until = time.monotonic() + A_WHILE
                if time.monotonic() < until and (operation.name not in FREES or count == self.at):
                    error = errno.ENOSPC
            elif count == self.at and self.kind in ERRORS:
                error = getattr(errno, self.kind)
            fired += bool(error) or (count == self.at and self.kind in DEATHS)
            _STATE.pack_into(self._state, 0, count, fired, until)
            made = Made(count, operation.name, operation.path, len(operation.data), os.getpid())
            os.write(self._log, json.dumps(made).encode() + b"\n")
        finally:
            fcntl.flock(self._log, fcntl.LOCK_UN)
        return count, error


def _half(operation: Operation) -> None:
    """Write the first half of what was to be appended: as a disk that fills up, or a writer that dies."""
    descriptor = os.open(operation.path, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, operation.data[: len(operation.data) // 2])
    os.close(descriptor)


def plan(folder: Path, at: int = 0, kind: str | None = None) -> None:
    """Set up a fault, or, without one, only the counting."""
    folder.mkdir(exist_ok=True)
    (folder / "plan").write_text(json.dumps({"at": at, "kind": kind}))
    (folder / "state").write_bytes(_STATE.pack(0, 0, 0.0))
    (folder / "log").write_bytes(b"")


def made(folder: Path) -> list[Made]:
    """The operations that were made, in order."""
    return [Made(*json.loads(line)) for line in (folder / "log").read_text().splitlines()]


def fired(folder: Path) -> int:
    """How many operations met a fault."""
    return int(_STATE.unpack((folder / "state").read_bytes())[1])


def install() -> None:
    """Have this process's operations meet the plan of the folder that the environment names, if it does."""
    folder = os.environ.get(VARIABLE)
    if folder:
        from job_orchestration.workspace import durable

        durable.intercept = Injection(folder)


def hasten() -> None:
    """Shorten the waits that are meant for people and full disks; what is waited for stays the same."""
    from job_orchestration.commands import ready
    from job_orchestration.queue import queue
    from job_orchestration.worker import worker

    ready._REST = 0.0
    worker._PAUSE = 0.04
    queue.RUNNING_EVERY = 0.04
    queue.LEAVE_FOR = 0.04
    queue.Queue._wait_of = lambda _self, _token: 0.0
