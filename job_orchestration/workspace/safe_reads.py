"""Bounded reads of files that other programs may be changing or replacing.

A task may put anything in the place of a file of ours: a named pipe, a link to a device, a folder, a file
without end. No read here follows a link in the last part of a path, waits for another program, or returns
more than a limit. What is not a plain file is a `DamagedFileError` that names the path.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK: Final = 1 << 16
LARGEST: Final = 512 << 20
"""Bytes; no file that we write is larger."""

READ_ONLY: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Flags: do not follow links, and do not wait for a FIFO without a writer."""

_ODD: Final = {
    errno.ELOOP: "it is a link",
    errno.EISDIR: "it is a folder",
    errno.ENXIO: "it is a socket or a device",
    errno.ENODEV: "it is a device",
    errno.EAGAIN: "it is a named pipe",
}
"""What the kernel says of a file that is no plain one, in words."""


class DamagedFileError(OSError):
    """A file of ours is not what we wrote: no plain file, too large, or without a part of its content.

    `filename` is its path, `strerror` the words. Unlike other errors of a read it does not pass by itself.
    """

    def __init__(self, path: str, what: str) -> None:
        super().__init__(errno.EBADMSG, what, path)


class UnreadableFileError(OSError):
    """A file of a run cannot be read. That is the run's own trouble, unlike an error of a write."""


def whole(path: str, most: int = LARGEST) -> bytes:
    """Return all bytes of a plain file with few system calls, because this is done for every run.

    Args:
        path: its path.
        most: the largest size in bytes.

    Raises:
        DamagedFileError: it is a link, a folder, a pipe, a device or a socket, or larger than `most`.
        OSError: it cannot be read; `FileNotFoundError` if it does not exist.
    """
    try:
        descriptor = os.open(path, READ_ONLY)
        try:
            data = os.read(descriptor, _CHUNK)
            if 0 < len(data) < _CHUNK:
                return data
            _insist_on_plain_file(descriptor, path, most)
            while len(data) >= _CHUNK and (more := os.read(descriptor, len(data))):
                data += more
                if len(data) > most:
                    raise DamagedFileError(path, f"it has more than {most} bytes")
                if len(more) < _CHUNK:
                    break
            return data
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _with_path(error, path) from None


def _with_path(error: OSError, path: str) -> OSError:
    """Return the error with its path: a `DamagedFileError` if the kernel says that it is no plain file."""
    if isinstance(error, DamagedFileError):
        return error
    if error.errno in _ODD:
        return DamagedFileError(path, _ODD[error.errno])
    error.filename = error.filename or path
    return error


def _insist_on_plain_file(descriptor: int, path: str, most: int | None) -> os.stat_result:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise DamagedFileError(path, "it is no plain file")
    if most is not None and status.st_size > most:
        raise DamagedFileError(path, f"it has {status.st_size} bytes, more than {most}")
    return status


@contextmanager
def plain_file(path: str) -> Iterator[tuple[int, int]]:
    """Open a plain file that is too large to be read at once, such as a log.

    Yields:
        Its descriptor, open for reading, and its size in bytes.

    Raises:
        DamagedFileError: it is no plain file.
        OSError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, READ_ONLY)
    except OSError as error:
        raise _with_path(error, path) from None
    try:
        yield descriptor, _insist_on_plain_file(descriptor, path, None).st_size
    finally:
        os.close(descriptor)


@contextmanager
def plain_file_below(folder: str, path: str) -> Iterator[tuple[int, int]]:
    """Open a plain file below a folder, without following a link in any part of its path.

    Args:
        folder: the folder.
        path: the path relative to it.

    Yields:
        Its descriptor, open for reading, and its size in bytes.

    Raises:
        DamagedFileError: it is no plain file, or a part of its path is a link, ``..`` or empty.
        OSError: it cannot be opened.
    """
    whole_path = os.path.join(folder, path)
    *folders, name = path.split("/")
    if any(part in {"", ".", ".."} or "\0" in part for part in (*folders, name)):
        raise DamagedFileError(whole_path, "it is no path below its folder")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in (*folders, name):
            flags = READ_ONLY if part is name else READ_ONLY | os.O_DIRECTORY
            inner = os.open(part, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor, _insist_on_plain_file(descriptor, whole_path, None).st_size
    except OSError as error:
        raise _with_path(error, whole_path) from None
    finally:
        os.close(descriptor)


def tail(path: str, most: int) -> bytes:
    """Return the last bytes of a plain file, `most` at the most; the errors are those of `plain_file`."""
    with plain_file(path) as (descriptor, size):
        return os.pread(descriptor, most, max(size - most, 0))


def names_in(folder: str) -> list[str]:
    """Return the sorted names in a folder; none if there is no such folder."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_bounded(descriptor: int, most: int) -> bytes:
    """Return the whole content, but at most one byte more than the limit."""
    chunks: list[bytes] = []
    rest = most + 1
    while rest > 0 and (chunk := os.read(descriptor, rest)):
        chunks.append(chunk)
        rest -= len(chunk)
    return b"".join(chunks)
