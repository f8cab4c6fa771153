"""Dropped files: read each once, complete, and only if it is a regular file.

Half of a YAML file is a valid YAML file, so a dropped file is read only if it is complete. A file that was
renamed into the folder is (`Settling.whole`); any other must not have changed between two looks. In addition
the kernel is asked whether a process has the file open for writing: it then refuses a read lease. Where
leases say nothing (another owner's file, a network file system) the looks must suffice.

`ready` is called by a user who has finished writing. So a file is complete there if it is not empty and the
kernel knows no process that has it open for writing. `watch` runs by itself, so it waits longer: some
programs write a file in several steps and close it after each.

A process that opens the file for writing while a lease is held waits until it is released, and the holder
gets a signal: SIGIO, which kills, unless another is chosen. So one that is ignored by default is chosen
first, and the lease is released at once. It is a question, not a lock: anything may happen between the answer
and the reading, so the file's size and time are compared again after the last byte.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from job_orchestration.config.yaml_reader import MAX_BYTES
from job_orchestration.diagnostics.problems import Problem
from job_orchestration.runs.queued_sources import Source
from job_orchestration.workspace import failures, naming
from job_orchestration.workspace.safe_reads import READ_ONLY, read_bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from job_orchestration.workspace.layout import Workspace

Identity: TypeAlias = tuple[int, int, int, int]
"""Device, inode, size in bytes, time of the last change in ns."""
_KINDS: Final = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_OTHERS_LEASES: Final = ("nfs", "cifs", "smb", "ceph", "fuse", "9p")
"""File systems whose server may refuse a lease for reasons of its own."""


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True, slots=True)
class Drop:
    """A dropped config file, or a config that a program submits without a file."""

    filename: str
    data: bytes
    identity: Identity
    is_submitted: bool = False
    """Whether there is no file of it in ConfigSources."""
    inputs: tuple[tuple[str, str], ...] = ()
    """Keys of the config, each with a file that goes into the run's folder and whose path is the value."""

    @property
    def source(self) -> Source:
        """The file without its content."""
        return Source(self.filename, self.identity)

    def is_still(self, path: str | Path) -> bool:
        """Return whether the file at ``path`` is still the one that was read."""
        if self.is_submitted:
            return True
        try:
            return _identity(os.lstat(path)) == self.identity
        except OSError:
            return False


def read_drop(
    folder: Path, filename: str, *, settled: Callable[[os.stat_result], bool], closed_is_whole: bool = False
) -> Drop | Problem | None:
    """Read a dropped file.

    Args:
        folder: its folder.
        filename: its name there.
        settled: returns whether a file with this status has been at rest long enough.
        closed_is_whole: whether a file that no process has open for writing needs no rest.

    Returns:
        The dropped file; a problem if it can never be read; ``None`` if it is incomplete or gone: the next
        pass looks again.
    """
    path = folder / filename
    try:
        kind = os.lstat(path)
        if not stat.S_ISREG(kind.st_mode):
            return _irregular(filename, kind)
        descriptor = os.open(path, READ_ONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        if failures.is_of_machine(error):
            raise
        what = f"the file cannot be opened: {os.strerror(error.errno or 0)}"
        return Problem(filename, what, "Make it readable for the user who readies configs")
    try:
        return _read(descriptor, filename, settled, closed_is_whole=closed_is_whole)
    except OSError as error:
        if failures.is_of_machine(error):
            raise
        return Problem(filename, f"the file cannot be read: {failures.reason_of(error)}", "Copy it anew")
    finally:
        os.close(descriptor)


def _irregular(filename: str, status: os.stat_result) -> Problem:
    kind = next((name for test, name in _KINDS if test(status.st_mode)), "something unknown")
    return Problem(filename, f"this is {kind}, not a regular file", "Put the config itself here")


def _read(
    descriptor: int, filename: str, settled: Callable[[os.stat_result], bool], *, closed_is_whole: bool
) -> Drop | Problem | None:
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        return _irregular(filename, before)
    if before.st_size > MAX_BYTES:
        what = f"the file has {before.st_size} bytes, and {MAX_BYTES} are the most"
        return Problem(filename, what, "Keep data in other files")
    at_rest = settled(before)
    if not at_rest and not (closed_is_whole and before.st_size):
        return None
    writing = _being_written(descriptor, before)
    if writing or (writing is None and not at_rest):
        return None
    data = read_bounded(descriptor, MAX_BYTES)
    after = os.fstat(descriptor)
    if _identity(after) != _identity(before) or len(data) != after.st_size:
        return None
    return Drop(filename, data, _identity(after))


def _being_written(descriptor: int, status: os.stat_result) -> bool | None:
    """Return whether a process has the file open for writing; `None` if the kernel cannot say."""
    if sys.platform != "linux":
        return None
    import fcntl

    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN and not _on_a_server(status.st_dev) else None
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return None if _on_a_server(status.st_dev) else False


@functools.cache
def _on_a_server(device: int) -> bool:
    """Return whether a lease says nothing about writers on the file system of a device."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError), open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
        for mount in mounts:
            fields, _, source = mount.partition(" - ")
            if fields.split()[2] == wanted:
                return source.startswith(_OTHERS_LEASES)
    return False


def clock_of(folder: str) -> float:
    """Return the time, in Unix seconds, of the clock that dates a folder's files; maybe another machine's."""
    os.utime(folder)
    return os.stat(folder).st_ctime


class Settling:
    """Remember the dropped files between looks, to see which are at rest.

    Args:
        clock: a monotonic clock, in seconds.
        seconds: time without change after which a file is at rest.
    """

    def __init__(self, clock: Callable[[], float], seconds: float = 2.0) -> None:
        self._clock = clock
        self._seconds = seconds
        self._seen: dict[str, tuple[Identity, float]] = {}
        self._whole: set[str] = set()

    def whole(self, name: str) -> None:
        """Note that a file was renamed into the folder: it is complete."""
        self._whole.add(name)

    def settled(self, name: str, status: os.stat_result) -> bool:
        """Return whether a file was renamed in, or has not changed for long enough."""
        now = self._clock()
        identity, since = self._seen.get(name, (None, now))
        if name in self._whole:
            self._whole.discard(name)
            since = now - self._seconds
        elif identity != _identity(status):
            since = now
        self._seen[name] = _identity(status), since
        return now - since >= self._seconds

    def keep_only(self, names: Iterable[str]) -> None:
        """Forget all files but these, which a scan of the folder found."""
        present = set(names)
        self._whole &= present
        self._seen = {name: seen for name, seen in self._seen.items() if name in present}


def read_all(
    workspace: Workspace,
    settled: Callable[[str, os.stat_result], bool],
    *,
    closed_is_whole: bool = False,
    only: Container[str] | None = None,
) -> tuple[list[Drop], dict[str, list[Problem]], list[str]]:
    """Read the dropped files in ConfigSources.

    Args:
        workspace: the workspace.
        settled: returns whether a file of a name and status has been at rest long enough.
        closed_is_whole: whether a file that no process has open for writing needs no rest.
        only: names of the files to read; default: all configs.

    Returns:
        The files that were read, the problems of files that can never be read, and the names of unsettled
        files.
    """
    dropped: list[Drop] = []
    refused: dict[str, list[Problem]] = {}
    unsettled: list[str] = []
    for filename in sorted(os.listdir(workspace.sources)):
        if not naming.is_config_name(filename) or (only is not None and filename not in only):
            continue
        fault = naming.stem_problem(filename)
        if fault is not None:
            refused[filename] = [Problem(filename, fault.what, fault.todo)]
            continue
        found = read_drop(
            Path(workspace.sources),
            filename,
            settled=functools.partial(settled, filename),
            closed_is_whole=closed_is_whole,
        )
        if found is None:
            unsettled.append(filename)
        elif isinstance(found, Problem):
            refused[filename] = [found]
        else:
            dropped.append(found)
    return dropped, refused, unsettled
