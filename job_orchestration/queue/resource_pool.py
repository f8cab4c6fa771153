"""Resources a worker can allocate to runs: CPUs, memory, GPUs and named resources.

Each run with an allocation has a file in the pool's folder that lists it, locked as long as any process of
the run lives: the worker, its fork server, or the child. So nothing has to be given back: an entry without a
lock is free, however its holder ended. A worker that allocates locks the folder meanwhile, so two workers
never get the same resource.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Self

from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.processes import identity, machine_limits
from job_orchestration.workspace import durable, locks
from job_orchestration.workspace.safe_reads import names_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from job_orchestration.config.scheduling import ResourceRequest
    from job_orchestration.workspace.layout import Workspace

_MOST: Final = 1 << 16
_DEVICES: Final = "devices"
"""The key of an entry under which the names of devices stand, beside the amounts."""


def folder_of(workspace: Workspace, pool: str) -> str:
    """The folder of reservations of a pool of this machine."""
    return os.path.join(_pools_folder(workspace), f"{_ours()}{pool}")


def _pools_folder(workspace: Workspace) -> str:
    return os.path.join(workspace.misc, "pools")


class Reservations:
    """The reservations of one pool.

    Args:
        folder: the pool's folder; made when it is first needed.
        capacity: total amount of each resource.
        devices: names of the GPUs to allocate; as many as ``gpus`` in the capacity.
    """

    def __init__(self, folder: str, capacity: Mapping[str, int], devices: Sequence[str]) -> None:
        self._folder = folder
        self._capacity = capacity
        self._devices = devices

    def take(self, request: ResourceRequest) -> tuple[int, list[str]] | frozenset[str]:
        """Reserve all resources that a run needs, or none.

        Returns:
            A descriptor, which keeps the reservation as long as any process has it open, and the names of
            the allocated devices; or the names of the resources that are lacking.
        """
        with _alone(self._folder):
            taken, busy = self._taken()
            lacking = frozenset(n for n, much in request if taken[n] + much > self._capacity.get(n, 0))
            if lacking:
                return lacking
            free = [device for device in self._devices if device not in busy]
            devices = free[: dict(request).get("gpus", 0)]
            paths = (os.path.join(self._folder, str(number)) for number in count())
            path = next(path for path in paths if not os.path.lexists(path))
            descriptor = durable.create(path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                durable.append(descriptor, json.dumps({**dict(request), _DEVICES: devices}).encode(), path)
            except OSError:
                os.close(descriptor)  # a torn entry that is locked would be unreadable
                raise
            return descriptor, devices

    def _taken(self) -> tuple[Counter[str], set[str]]:
        """The reserved amount of each resource, and the reserved devices."""
        taken: Counter[str] = Counter()
        busy: set[str] = set()
        for entry in _held(self._folder):
            busy.update(entry.pop(_DEVICES))
            taken.update(entry)
        return taken, busy


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Lock the reservations of a pool; make its folder if it is missing."""
    while True:
        durable.make_folder(folder)
        with ExitStack() as held:
            try:
                descriptor = held.enter_context(locks.folder_lock(folder))
            except FileNotFoundError:
                continue  # it was removed at this moment
            if _is_folder(folder, descriptor):  # or removed while this waited for the lock
                yield
                return


def _is_folder(path: str, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    return False


def _held(folder: str) -> list[dict[str, Any]]:
    """The entries that are locked; remove all others."""
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
    """The folders of this machine's pools that have no reservations, and had no new one for `seconds`.

    The kernel's list of locks is read, and nothing is locked. An idle pool may be among them; it makes its
    folder again.
    """
    held = locks.held_inodes(workspace.misc)
    pools = _pools_folder(workspace)
    ours = _ours(), f"{socket.gethostname()}."  # the latter is the name that earlier releases gave
    paths = [os.path.join(pools, name) for name in names_in(pools) if name.startswith(ours)]
    return [path for path in paths if held is not None and not _is_used(path, held, time.time() - seconds)]


def _ours() -> str:
    """Return the start of the names of this machine's pools; its hostname may change at any time."""
    return f"{identity.boot()}."


def _is_used(folder: str, held: frozenset[int], since: float) -> bool:
    with suppress(OSError):
        reservations = (os.lstat(os.path.join(folder, name)).st_ino for name in names_in(folder))
        return os.stat(folder).st_mtime > since or any(inode in held for inode in reservations)
    return True


def clear(folder: str) -> bool:
    """Remove a pool's folder if it has no reservations; return whether it was removed."""
    with _alone(folder):
        if _held(folder):
            return False
        os.rmdir(folder)
        return True


def close(folder: str) -> None:
    """Remove the folder of a pool whose workers have ended."""
    with suppress(OSError):
        for name in names_in(folder):
            durable.unlink(os.path.join(folder, name))
        os.rmdir(folder)


VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Allocation:
    """The resources of one run. As a context, it releases them at its end if the run's processes are gone."""

    descriptors: tuple[int, ...] = ()
    """Passed on to the processes of the run; its resources stay reserved as long as one of them lives."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables for the run's tasks."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


NO_ALLOCATION: Final = Allocation()
"""The allocation of a run without a resource request."""


class ResourcePool:
    """The resources that a worker can allocate, together with the others of its pool.

    Args:
        workspace: the workspace that keeps the pool's reservations.
        pool: the pool's name; the worker's own name if it works alone.
        given: named resources from the command line; CPUs and memory are detected.
        say: called with one line if runs are left for other workers.

    Raises:
        UsageError: if the machine has fewer GPUs than given.
    """

    def __init__(
        self, workspace: Workspace, pool: str, given: Mapping[str, int], say: Callable[[str], None]
    ) -> None:
        self.capacity = capacity(given)
        self._folder = folder_of(workspace, pool)
        self._reservations = Reservations(self._folder, self.capacity, devices(given))
        self._say = say
        self._left: set[ResourceRequest] = set()
        self._in_trouble = False

    def could(self, request: ResourceRequest) -> bool:
        """Whether the request could ever be met; if not, `say` reports it once."""
        lacking = [name for name, much in request if much > self.capacity.get(name, 0)]
        if lacking and request not in self._left:
            self._left.add(request)
            there = ", ".join(f"{name}: {self.capacity.get(name, 0)}" for name in lacking)
            wanted = ", ".join(f"{name}: {much}" for name, much in request)
            self._say(
                f"Runs that take {wanted} are left for other workers; here there is {there} (--resources)"
            )
        return not lacking

    def take(self, request: ResourceRequest) -> Allocation | frozenset[str]:
        """Allocate the resources of a request; return the names of those that are lacking if there are any.

        A reservation that cannot be written is not made: then every requested resource is lacking.
        """
        if not request:
            return NO_ALLOCATION
        try:
            taken = self._reservations.take(request)
        except OSError as error:
            if not self._in_trouble:
                self._say(
                    f"Reservations cannot be written in {self._folder} ({error.strerror}): runs wait for that"
                )
            self._in_trouble = True
            return frozenset(name for name, _ in request)
        self._in_trouble = False
        if isinstance(taken, frozenset):
            return taken
        descriptor, names = taken
        return Allocation((descriptor,), {VISIBLE: ",".join(names)} if names else {})

    def close(self) -> None:
        """Remove the reservations: the pool was of this worker alone, which has ended."""
        close(self._folder)


def capacity(given: Mapping[str, int]) -> dict[str, int]:
    """Total amount of each resource: what is given, and the CPUs and memory that this process may use."""
    found = {"cpus": machine_limits.usable_cpus()}
    if (memory := machine_limits.usable_memory()) is not None:
        found["memory"] = memory
    return {**found, **given}


def devices(given: Mapping[str, int]) -> list[str]:
    """The names of the GPUs to allocate: of the visible ones, if CUDA_VISIBLE_DEVICES restricts them."""
    wanted = given.get("gpus", 0)
    visible = os.environ.get(VISIBLE)
    names = [str(n) for n in range(wanted)] if visible is None else list(filter(None, visible.split(",")))
    if len(names) < wanted:
        raise UsageError(
            f"There are not {wanted} GPUs: {VISIBLE} names {len(names)}",
            "Give --resources as many as there are",
        )
    return names[:wanted]
