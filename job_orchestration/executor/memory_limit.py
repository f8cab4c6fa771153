"""Limit the memory of a run, and detect that a child died for lack of memory.

If a control group (version 2) can be made, the limit covers the child and every program it starts, and the
kernel counts the processes it killed there. Otherwise the child gets a limit on its own data (RLIMIT_DATA),
which makes allocations fail with MemoryError; a limit on the address space would also refuse the large
reservations that CUDA and JAX make and never use.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import time
from typing import TYPE_CHECKING, Final

from job_orchestration.executor import out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOT: Final = "/sys/fs/cgroup"
_NAME: Final = "job_orchestration-"
_LOOK_AGAIN: Final = 1.0
"""Seconds for which the count of kills is reused: reading it takes 0.1 ms, and a task may take less."""


class MemoryLimit:
    """The memory limit of a child; this class has none."""

    _kills = 0
    """The machine's count of out-of-memory kills at the last reading."""
    _looked_at = float("-inf")

    def add(self, pid: int) -> None:  # noqa: ARG002  # subclasses use it
        """Put the child under the limit."""
        now = time.monotonic()
        if now - MemoryLimit._looked_at > _LOOK_AGAIN:
            MemoryLimit._looked_at = now
            MemoryLimit._kills = _kills_on_this_machine()

    def was_exceeded(self) -> bool:
        """Whether the kernel killed for lack of memory, anywhere on this machine, since the child started."""
        before, MemoryLimit._kills = MemoryLimit._kills, _kills_on_this_machine()
        return MemoryLimit._kills > before

    def sentence(self, peak: int) -> str:
        """Return what happened, if it was exceeded; `peak` is the most that the child had, in bytes."""
        return out_of_memory.sentence_of_kill(None, peak)

    def close(self) -> None:
        """Remove the limit; no process is under it any more."""


class ControlGroup(MemoryLimit):
    """A control group of its own.

    Args:
        path: the group's folder, made already.
        limit: its limit in bytes.
    """

    def __init__(self, path: str, limit: int) -> None:
        self._path = path
        self._limit = limit

    def add(self, pid: int) -> None:
        """Put the child under the limit."""
        with contextlib.suppress(OSError):
            _write(os.path.join(self._path, "cgroup.procs"), str(pid))

    def was_exceeded(self) -> bool:
        """Whether the kernel killed a process of this group."""
        return _counter(os.path.join(self._path, "memory.events"), "oom_kill") > 0

    def sentence(self, peak: int) -> str:
        """Return what happened; the kernel knows the peak of the child with all that it started."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            peak = int(_lines(os.path.join(self._path, "memory.peak"))[0])
        return out_of_memory.sentence_of_kill(self._limit, peak)

    def close(self) -> None:
        """Remove the group."""
        with contextlib.suppress(OSError):
            os.rmdir(self._path)


class DataLimit(MemoryLimit):
    """A limit on the data of the child alone, without its programs."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def add(self, pid: int) -> None:
        """Put the child under the limit."""
        super().add(pid)
        if hasattr(resource, "prlimit"):
            with contextlib.suppress(OSError):
                resource.prlimit(pid, resource.RLIMIT_DATA, (self._limit, self._limit))


def limited(limit: int | None, say: Callable[[str], None]) -> MemoryLimit:
    """Return the best limit that this machine offers; `say` is called with a line for the log."""
    if limit is None:
        return MemoryLimit()
    with contextlib.suppress(OSError, IndexError, StopIteration):  # no such groups, or not for us
        group = _control_group(limit)
        say(f"memoryLimit: {limit} bytes for the run with everything it starts (control group).")
        return group
    say(f"memoryLimit: {limit} bytes for the run's own process (no control group can be made here).")
    return DataLimit(limit)


def _control_group(limit: int) -> ControlGroup:
    own = next(line[3:].strip() for line in _lines("/proc/self/cgroup") if line.startswith("0::"))
    parent = os.path.join(_ROOT, own.lstrip("/"))
    path = os.path.join(parent, f"{_NAME}{os.getpid()}")
    if "memory" not in _lines(os.path.join(parent, "cgroup.subtree_control"))[0].split():
        raise OSError(0, "the memory controller is not handed down here")
    _make(path, {"memory.max": limit, "memory.swap.max": 0})
    return ControlGroup(path, limit)


def _make(path: str, values: dict[str, int]) -> None:
    _remove_left_over(os.path.dirname(path))
    os.mkdir(path)
    for number, (name, value) in enumerate(values.items()):
        try:
            _write(os.path.join(path, name), str(value))
        except OSError:
            if number == 0:  # the limit itself; this machine may not account for swap
                os.rmdir(path)
                raise


def _remove_left_over(parent: str) -> None:
    """Remove the groups of fork servers that were killed, and one of an earlier process of this number."""
    for name in os.listdir(parent):
        found = re.fullmatch(f"{_NAME}([0-9]+)", name)
        if found and (int(found[1]) == os.getpid() or not os.path.exists(f"/proc/{found[1]}")):
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(parent, name))


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _lines(path: str) -> list[str]:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.readlines()


def _counter(path: str, name: str) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return sum(int(line.split()[1]) for line in _lines(path) if line.split()[0] == name)
    return 0


def _kills_on_this_machine() -> int:
    return _counter("/proc/vmstat", "oom_kill")
