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

from job_orchestration.model.run import Outcome

_SIZE: Final = 4096
_INT: Final = struct.Struct("=q")
_FLOAT: Final = struct.Struct("=d")
_STOP, _VERDICT, _TASK, _STARTED, _DONE, _TOTAL, _BEAT = range(0, 56, 8)
_REASONS: Final = tuple(Outcome)


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
        self._map[:56] = bytes(56)
        _INT.pack_into(self._map, _TASK, -1)

    @property
    def stop(self) -> Outcome | None:
        """Why the child was asked to end soon; `None` while it was not."""
        number = int(_INT.unpack_from(self._map, _STOP)[0])
        return None if number == 0 else _REASONS[number - 1]

    @stop.setter
    def stop(self, why: Outcome) -> None:
        _INT.pack_into(self._map, _STOP, _REASONS.index(why) + 1)

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

    @property
    def beat(self) -> float:
        """A number that changes as long as the child's interpreter runs."""
        return float(_FLOAT.unpack_from(self._map, _BEAT)[0])

    @beat.setter
    def beat(self, value: float) -> None:
        _FLOAT.pack_into(self._map, _BEAT, value)

    def close(self) -> None:
        """Give the memory and the descriptor back."""
        self._map.close()
        os.close(self.descriptor)
