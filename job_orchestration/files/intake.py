"""Taking in a drop: its bytes once, whole, and only from a regular file.

Half of a YAML file is a valid YAML file, so a drop is believed only when it is whole. A file that was renamed
into the folder is (`Settling.whole`); any other must not have changed between two looks. On top of that the
kernel is asked whether somebody has the file open for writing: it refuses a read lease then. Where leases say
nothing (another owner's file, a network file system) the looks have to do.

Whoever opens the file for writing while a lease is held waits until it is given back, and the holder gets a
signal: SIGIO, which kills, unless another is asked for. So one that is ignored by default is asked for first,
and the lease is given back at once. It is a question, not a lock: anything may happen between the answer and
the reading, and the file's size and time are compared again after the last byte.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from job_orchestration.files import durable
from job_orchestration.model.problem import Problem
from job_orchestration.rules.naming import PROBLEMS_SUFFIX
from job_orchestration.rules.reading import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

Identity: TypeAlias = tuple[int, int, int, int]
"""Device, inode, size in bytes, time of the last change in ns."""

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Neither a link is followed nor does a FIFO without a writer keep us waiting."""
_KINDS: Final = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_NO_PLACE: Final = frozenset({errno.ENAMETOOLONG, errno.EISDIR})
"""Why there can be no file of problems beside a config."""
_OTHERS_LEASES: Final = ("nfs", "cifs", "smb", "ceph", "fuse", "9p")
"""File systems whose server may refuse a lease for reasons of its own."""


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True, slots=True)
class Drop:
    """A config as it was dropped."""

    filename: str
    data: bytes
    identity: Identity

    def is_still(self, path: str | Path) -> bool:
        """Whether the file at ``path`` is the one that was read, unchanged."""
        try:
            return _identity(os.lstat(path)) == self.identity
        except OSError:
            return False


def take_in(
    folder: Path, filename: str, *, settled: Callable[[os.stat_result], bool]
) -> Drop | Problem | None:
    """Read a drop.

    Args:
        folder: where it lies.
        filename: its name there.
        settled: whether a file with this status has been at rest long enough.

    Returns:
        The drop; a problem when this file can never be one; ``None`` when it is not whole yet or is gone
        already, and the next look will tell.
    """
    path = folder / filename
    try:
        kind = os.lstat(path)
        if not stat.S_ISREG(kind.st_mode):
            return _irregular(filename, kind)
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        return None
    except OSError as error:
        what = f"the file cannot be opened: {os.strerror(error.errno or 0)}"
        return Problem(filename, what, "Make it readable for the user who readies configs")
    try:
        return _read(descriptor, filename, settled)
    finally:
        os.close(descriptor)


def _irregular(filename: str, status: os.stat_result) -> Problem:
    kind = next((name for test, name in _KINDS if test(status.st_mode)), "something unknown")
    return Problem(filename, f"this is {kind}, not a regular file", "Put the config itself here")


def _read(descriptor: int, filename: str, settled: Callable[[os.stat_result], bool]) -> Drop | Problem | None:
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        return _irregular(filename, before)
    if before.st_size > MAX_BYTES:
        what = f"the file has {before.st_size} bytes, and {MAX_BYTES} are the most"
        return Problem(filename, what, "Keep data in other files")
    if not settled(before) or _being_written(descriptor, before):
        return None
    data = _all_bytes(descriptor)
    after = os.fstat(descriptor)
    if _identity(after) != _identity(before) or len(data) != after.st_size:
        return None
    return Drop(filename, data, _identity(after))


def _all_bytes(descriptor: int) -> bytes:
    """The whole content, and no more than one byte above the limit."""
    chunks: list[bytes] = []
    rest = MAX_BYTES + 1
    while rest > 0 and (chunk := os.read(descriptor, rest)):
        chunks.append(chunk)
        rest -= len(chunk)
    return b"".join(chunks)


def _being_written(descriptor: int, status: os.stat_result) -> bool:
    """Whether the kernel knows of a process that has the file open for writing."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN and not _on_a_server(status.st_dev)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _on_a_server(device: int) -> bool:
    """Whether a device is a file system on which a refused lease tells nothing about writers."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError), open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
        for mount in mounts:
            fields, _, source = mount.partition(" - ")
            if fields.split()[2] == wanted:
                return source.startswith(_OTHERS_LEASES)
    return False


def clock_of(folder: str) -> float:
    """The time, in Unix seconds, by the clock that dates a folder's files; it may be another machine's."""
    os.utime(folder)
    return os.stat(folder).st_ctime


class Settling:
    """What is remembered of the drops from one look to the next.

    Args:
        clock: a monotonic clock, in seconds.
        seconds: how long a file must not have changed.
    """

    def __init__(self, clock: Callable[[], float], seconds: float = 2.0) -> None:
        self._clock = clock
        self._seconds = seconds
        self._seen: dict[str, tuple[Identity, float]] = {}
        self._whole: set[str] = set()

    def whole(self, name: str) -> None:
        """Note that the file of this name was renamed into the folder: it is whole as it is."""
        self._whole.add(name)

    def settled(self, name: str, status: os.stat_result) -> bool:
        """Whether the file of this name came whole, or has been the same for long enough."""
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
        """Forget every file that is not among these, as a scan of the folder found them."""
        present = set(names)
        self._whole &= present
        self._seen = {name: seen for name, seen in self._seen.items() if name in present}


# -- the file of problems ---------------------------------------------------------------------------------


def write_problems(folder: Path, filename: str, problems: Iterable[Problem]) -> None:
    """Say beside a config what is wrong with it; a file that says so already is left as it is.

    Where the config's name is so long that no file can lie beside it, or a folder has that file's name,
    nothing is written: whoever readies is told anyway, and the other files of the same go matter more.
    """
    path = folder / f"{filename}{PROBLEMS_SUFFIX}"
    text = "".join(f"{problem}\n" for problem in problems).encode()
    if _content(path) == text:
        return
    try:
        durable.write_view(str(path), text)
    except OSError as error:
        if error.errno not in _NO_PLACE:
            raise


def clear_problems(folder: Path, filename: str) -> None:
    """Take away what `write_problems` wrote, if it did."""
    with suppress(FileNotFoundError, IsADirectoryError):
        durable.unlink(str(folder / f"{filename}{PROBLEMS_SUFFIX}"))


def _content(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, _READ)
    except OSError:
        return None
    try:
        return _all_bytes(descriptor)
    except OSError:  # a folder has this name
        return None
    finally:
        os.close(descriptor)
