"""A shared-memory page for worker, fork server and current child.

The page replaces a message per task: which task runs and since when, its progress, whether it should stop,
and finally the child's own verdict. It also has a copy of the lines that the child wrote into the journal,
for the case that a task spoils the journal and ends its process. The page does not outlive the processes, and
nothing that matters after a crash stands in it alone: the journal is the truth.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from enum import IntEnum
from typing import Final, NamedTuple

from job_orchestration.runs.events import Outcome

_SIZE: Final = 4096
_INT: Final = struct.Struct("=q")
_FLOAT: Final = struct.Struct("=d")
_STOP, _VERDICT, _TASK, _STARTED, _DONE, _TOTAL, _HEARTBEAT, _ENDING = range(0, 64, 8)
_SPOILT, _BY_TASK, _LENGTH, _COPIED = range(64, 96, 8)
_TEXT, _MOST_TEXT = 128, 1024
_LINES: Final = _TEXT + _MOST_TEXT
"""From here to the end of the page, and of the file behind it, lie the lines of the journal."""
_REASONS: Final = tuple(Outcome)
_pwrite: Final = os.pwrite  # a task may replace that of the module


class Verdict(IntEnum):
    """The child's own verdict on how it ended; `NONE` if it wrote none."""

    NONE = 0
    DONE = 1
    """All tasks have their checkpoint."""
    FAILED = 2
    """A task failed and the journal says how."""
    STOPPED = 3
    """It was asked to stop and did so between tasks."""
    LOST = 4
    """Another worker has taken the run over."""
    DISK = 5
    """A write failed with an error that may be the disk's; the worker finds out whether it is."""
    EXHAUSTED = 6
    """Nothing of the run was executed: there was no room for a thread, or no descriptor."""


_LOST: Final = int(Verdict.LOST)


class Report(NamedTuple):
    """What a child wrote into the page about itself, as hints for its worker."""

    verdict: Verdict
    spoilt_by: int | None
    """The index of the task after which the journal was found to be spoilt."""
    last_begun: int | None
    """The index of the task that began last."""
    error: str
    """The error of a write that comes with the verdict `DISK`; empty if it is not known."""
    by_task: bool
    """Whether the code of a task met it, and not ours."""
    lines: bytes
    """What it wrote into the journal."""


def create() -> int:
    """The descriptor of a new page; closed on exec like every descriptor of ours."""
    descriptor = unnamed()
    os.ftruncate(descriptor, _SIZE)
    return descriptor


def unnamed() -> int:
    """The descriptor of a new, empty file without a name; in memory where the system can."""
    return os.memfd_create("job_orchestration") if hasattr(os, "memfd_create") else _unnamed_file()


def _unnamed_file() -> int:
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class SharedPage:
    """The page behind a descriptor, mapped into this process and its forks."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, _SIZE)

    def reset(self) -> None:
        """Clear the page for another child."""
        if int(_INT.unpack_from(self._map, _COPIED)[0]) > _SIZE:
            os.ftruncate(self.descriptor, _SIZE)
        self._map[:_TEXT] = bytes(_TEXT)
        _INT.pack_into(self._map, _TASK, -1)

    @property
    def stop(self) -> Outcome | None:
        """Why the child was asked to stop; `None` if it was not."""
        number = int(_INT.unpack_from(self._map, _STOP)[0])
        return None if number == 0 else _REASONS[number - 1]

    @stop.setter
    def stop(self, why: Outcome) -> None:
        _INT.pack_into(self._map, _STOP, _REASONS.index(why) + 1)

    @property
    def verdict(self) -> Verdict:
        """The child's verdict on how it ended."""
        return Verdict(_INT.unpack_from(self._map, _VERDICT)[0])

    @verdict.setter
    def verdict(self, value: Verdict) -> None:
        _INT.pack_into(self._map, _VERDICT, value)

    @property
    def is_lost(self) -> bool:
        """Whether the child's verdict is `Verdict.LOST`."""
        return bool(_INT.unpack_from(self._map, _VERDICT)[0] == _LOST)

    @property
    def ending(self) -> bool:
        """Whether the child has done its work and ends."""
        return bool(_INT.unpack_from(self._map, _ENDING)[0])

    @ending.setter
    def ending(self, value: bool) -> None:
        _INT.pack_into(self._map, _ENDING, value)

    def keep_heartbeat(self, stall_timeout: float) -> None:
        """Show that the interpreter runs, for as long as it does."""
        while True:
            self.heartbeat = time.monotonic()
            time.sleep(min(stall_timeout / 5, 1.0))

    def set_spoilt(self, index: int) -> None:
        """Set the task after which the journal was found to be spoilt."""
        _INT.pack_into(self._map, _SPOILT, index + 1)

    def set_error(self, text: str, *, by_task: bool) -> None:
        """Set the error of a write with which the verdict `DISK` is given.

        Args:
            text: the error.
            by_task: whether the code of a task met it, and not ours.
        """
        data = text.encode("utf-8", "replace")[:_MOST_TEXT]
        self._map[_TEXT : _TEXT + len(data)] = data
        _INT.pack_into(self._map, _LENGTH, len(data))
        _INT.pack_into(self._map, _BY_TASK, by_task)

    def copy_line(self, line: bytes) -> None:
        """Keep a line that was written into the journal; most fit into the page, which needs no call."""
        copied = int(_INT.unpack_from(self._map, _COPIED)[0])
        start, end = _LINES + copied, _LINES + copied + len(line)
        if end <= _SIZE:
            self._map[start:end] = line
        else:
            _pwrite(self.descriptor, line, start)
        _INT.pack_into(self._map, _COPIED, copied + len(line))

    def report(self) -> Report:
        """What the child wrote about itself."""
        copied = max(int(_INT.unpack_from(self._map, _COPIED)[0]), 0)
        end = _LINES + copied
        length = min(max(int(_INT.unpack_from(self._map, _LENGTH)[0]), 0), _MOST_TEXT)
        text = bytes(self._map[_TEXT : _TEXT + length]).decode("utf-8", "replace")
        spoilt = int(_INT.unpack_from(self._map, _SPOILT)[0])
        return Report(
            self.verdict,
            spoilt - 1 if spoilt else None,
            None if self.task is None else self.task[0],
            text,
            bool(_INT.unpack_from(self._map, _BY_TASK)[0]),
            self._map[_LINES:end] if end <= _SIZE else os.pread(self.descriptor, copied, _LINES),
        )

    def begin_task(self, index: int, monotonic: float) -> None:
        """Set the task that starts now, without progress."""
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
        """Set the progress of the task; a total of 0 means unknown."""
        _FLOAT.pack_into(self._map, _DONE, done)
        _FLOAT.pack_into(self._map, _TOTAL, total)

    @property
    def progress(self) -> tuple[float, float]:
        """The progress that the task last reported: done and total."""
        return float(_FLOAT.unpack_from(self._map, _DONE)[0]), float(_FLOAT.unpack_from(self._map, _TOTAL)[0])

    @property
    def heartbeat(self) -> float:
        """A number that changes as long as the child's interpreter runs."""
        return float(_FLOAT.unpack_from(self._map, _HEARTBEAT)[0])

    @heartbeat.setter
    def heartbeat(self, value: float) -> None:
        _FLOAT.pack_into(self._map, _HEARTBEAT, value)

    def close(self) -> None:
        """Unmap the page and close its descriptor."""
        self._map.close()
        os.close(self.descriptor)
