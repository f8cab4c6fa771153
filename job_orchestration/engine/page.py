"""One page of memory that a worker, its host and the child of the moment share.

It carries what would otherwise be a message per task: which task runs and since when, how far it says it
is, whether it should stop, and, at the end, how the child itself says that it ended. Nothing in it outlives
the processes, and nothing that matters after a crash is told by it alone: the journal is the truth.
"""

from __future__ import annotations

import mmap
import os
import struct
from enum import IntEnum
from typing import Final

_SIZE: Final = 4096
_INT: Final = struct.Struct("=q")
_FLOAT: Final = struct.Struct("=d")
_STOP, _VERDICT, _TASK, _STARTED, _DONE, _TOTAL = range(0, 48, 8)


class Verdict(IntEnum):
    """How a child says that it ended; `NONE` when it could not say anything."""

    NONE = 0
    DONE = 1
    """All tasks have their checkpoint."""
    FAILED = 2
    """A task failed and the journal says how."""
    STOPPED = 3
    """It was asked to stop and did so between tasks."""
    LOST = 4
    """The run belongs to somebody else now."""
    DISK = 5
    """The journal or the task's files could not be written."""


def create() -> int:
    """The descriptor of a new page; closed on exec like every descriptor of ours."""
    descriptor = os.memfd_create("job_orchestration") if hasattr(os, "memfd_create") else _unnamed_file()
    os.ftruncate(descriptor, _SIZE)
    return descriptor


def _unnamed_file() -> int:
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Page:
    """The page behind a descriptor, mapped into this process and its forks."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, _SIZE)

    def reset(self) -> None:
        """Make it ready for another child."""
        self._map[:48] = bytes(48)
        _INT.pack_into(self._map, _TASK, -1)

    @property
    def stop(self) -> bool:
        """Whether the child was asked to end soon."""
        return bool(_INT.unpack_from(self._map, _STOP)[0])

    @stop.setter
    def stop(self, value: bool) -> None:
        _INT.pack_into(self._map, _STOP, value)

    @property
    def verdict(self) -> Verdict:
        """How the child says that it ended."""
        return Verdict(_INT.unpack_from(self._map, _VERDICT)[0])

    @verdict.setter
    def verdict(self, value: Verdict) -> None:
        _INT.pack_into(self._map, _VERDICT, value)

    def begin_task(self, index: int, monotonic: float) -> None:
        """Say that a task starts now and has made no progress."""
        _FLOAT.pack_into(self._map, _STARTED, monotonic)
        _FLOAT.pack_into(self._map, _DONE, 0.0)
        _FLOAT.pack_into(self._map, _TOTAL, 0.0)
        _INT.pack_into(self._map, _TASK, index)

    @property
    def task(self) -> tuple[int, float] | None:
        """The index of the running task and the monotonic time of its start."""
        index = int(_INT.unpack_from(self._map, _TASK)[0])
        return None if index < 0 else (index, float(_FLOAT.unpack_from(self._map, _STARTED)[0]))

    def set_progress(self, done: float, total: float) -> None:
        """Say how far the task is; a total of 0 means that nobody knows."""
        _FLOAT.pack_into(self._map, _DONE, done)
        _FLOAT.pack_into(self._map, _TOTAL, total)

    @property
    def progress(self) -> tuple[float, float]:
        """What the task last said of its progress: done and total."""
        return float(_FLOAT.unpack_from(self._map, _DONE)[0]), float(_FLOAT.unpack_from(self._map, _TOTAL)[0])

    def close(self) -> None:
        """Give the memory and the descriptor back."""
        self._map.close()
        os.close(self.descriptor)
