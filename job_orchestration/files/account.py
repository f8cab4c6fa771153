"""What the runs of one pool of workers have taken of their machine.

Each run that takes anything has a file in the pool's folder that says what, locked for as long as any
process of the run lives: the worker, its host, or the child. So nothing has to be given back: whatever
nobody holds any more is free, however its holder ended. Who takes more locks the folder meanwhile, so that
two never take the same.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from contextlib import contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, Final

from job_orchestration.files import durable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from job_orchestration.rules.steering import Demand

_MOST: Final = 1 << 16
_DEVICES: Final = "devices"
"""The key of an entry under which the names of devices stand, beside the amounts."""


class Account:
    """One pool's account.

    Args:
        folder: the pool's; made when it is first needed.
        capacity: how much there is of each resource.
        devices: the names of the machine's GPUs; as many as ``gpus`` in the capacity.
    """

    def __init__(self, folder: str, capacity: Mapping[str, int], devices: Sequence[str]) -> None:
        self._folder = folder
        self._capacity = capacity
        self._devices = devices

    def take(self, demand: Demand) -> tuple[int, list[str]] | None:
        """Take what a run needs, all of it or nothing.

        Returns:
            A descriptor, which keeps it taken for as long as anybody has it open, and the names of the
            devices; `None` when there is not enough left.
        """
        durable.make_folder(self._folder)
        with self._alone():
            taken, busy = self._taken()
            if any(taken[name] + much > self._capacity.get(name, 0) for name, much in demand):
                return None
            free = [device for device in self._devices if device not in busy]
            devices = free[: dict(demand).get("gpus", 0)]
            paths = (os.path.join(self._folder, str(number)) for number in count())
            path = next(path for path in paths if not os.path.lexists(path))
            descriptor = durable.create(path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                durable.append(descriptor, json.dumps({**dict(demand), _DEVICES: devices}).encode(), path)
            except OSError:
                os.close(descriptor)  # half an entry that is held could be read by nobody
                raise
            return descriptor, devices

    @contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _taken(self) -> tuple[Counter[str], set[str]]:
        """What is taken of each resource, and which devices; entries that nobody holds are cleared away."""
        taken: Counter[str] = Counter()
        busy: set[str] = set()
        for name in os.listdir(self._folder):
            path = os.path.join(self._folder, name)
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                durable.unlink(path)
            except BlockingIOError:
                entry = json.loads(os.read(descriptor, _MOST))
                busy.update(entry.pop(_DEVICES))
                taken.update(entry)
            finally:
                os.close(descriptor)
        return taken, busy


def close(folder: str) -> None:
    """Take a pool's folder away; its workers have ended."""
    with suppress(OSError):
        for name in os.listdir(folder):
            durable.unlink(os.path.join(folder, name))
        os.rmdir(folder)
