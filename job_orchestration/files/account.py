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
import socket
import time
from collections import Counter
from contextlib import contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.files import durable, locks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from job_orchestration.files.workspace import Workspace
    from job_orchestration.rules.steering import Demand

_MOST: Final = 1 << 16
_DEVICES: Final = "devices"
"""The key of an entry under which the names of devices stand, beside the amounts."""


def folder_of(workspace: Workspace, pool: str) -> str:
    """Where the account of a pool is kept, that is one of this host's."""
    return os.path.join(_accounts(workspace), f"{_ours()}{pool}")


def _accounts(workspace: Workspace) -> str:
    return os.path.join(workspace.misc, "pools")


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

    def take(self, demand: Demand) -> tuple[int, list[str]] | frozenset[str]:
        """Take what a run needs, all of it or nothing.

        Returns:
            A descriptor, which keeps it taken for as long as anybody has it open, and the names of the
            devices; or, when there is not enough left, of what there is too little.
        """
        with _alone(self._folder):
            taken, busy = self._taken()
            lacking = frozenset(n for n, much in demand if taken[n] + much > self._capacity.get(n, 0))
            if lacking:
                return lacking
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

    def _taken(self) -> tuple[Counter[str], set[str]]:
        """What is taken of each resource, and which devices."""
        taken: Counter[str] = Counter()
        busy: set[str] = set()
        for entry in _held(self._folder):
            busy.update(entry.pop(_DEVICES))
            taken.update(entry)
        return taken, busy


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Keep all others from an account; its folder is made when it is not there."""
    while True:
        durable.make_folder(folder)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # it was cleared away at this moment
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_folder(folder, descriptor):  # or it was, while this waited
                yield
                return
        finally:
            os.close(descriptor)


def _is_folder(path: str, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    return False


def _held(folder: str) -> list[dict[str, Any]]:
    """The entries that somebody holds; those that nobody holds are cleared away."""
    found = []
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            durable.unlink(path)
        except BlockingIOError:
            found.append(json.loads(os.read(descriptor, _MOST)))
        finally:
            os.close(descriptor)
    return found


def left_behind(workspace: Workspace, seconds: float) -> list[str]:
    """The folders of this host's pools that nobody has taken anything from for some time, nor has now.

    Nothing is locked: the kernel is asked. An idle pool may be among them; it makes its folder anew.
    """
    held = locks.held_inodes(workspace.misc)
    paths = [entry.path for entry in _entries(_accounts(workspace)) if entry.name.startswith(_ours())]
    return [path for path in paths if held is not None and not _is_used(path, held, time.time() - seconds)]


def _ours() -> str:
    return f"{socket.gethostname()}."


def _is_used(folder: str, held: frozenset[int], since: float) -> bool:
    with suppress(OSError):
        return os.stat(folder).st_mtime > since or any(e.inode() in held for e in _entries(folder))
    return True


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)
    return []


def clear(folder: str) -> bool:
    """Take a pool's folder away, if nobody holds anything of it; returns whether it went."""
    with _alone(folder):
        if _held(folder):
            return False
        os.rmdir(folder)
        return True


def close(folder: str) -> None:
    """Take a pool's folder away; its workers have ended."""
    with suppress(OSError):
        for name in os.listdir(folder):
            durable.unlink(os.path.join(folder, name))
        os.rmdir(folder)
