"""The one module of writes: every change to a workspace is one of the few calls below.

A change that must survive a power cut is made in an order that leaves, at every moment, either the old
state or the new one on the disk: write a new file, fsync it, put it in place by one `rename` or `link`,
fsync the folder that now names it. A new folder is fsynced into its parent. A failed fsync means that the
file's content is unknown, so the file is given up; nobody retries fsync on the same descriptor.

Every system call goes through `_do`, which counts it by name. The fault suite sets `intercept` to fail each
one before, after, half-way, or with an error of the disk, and asserts how many there are.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_fdatasync: Final = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter


class Operation(NamedTuple):
    """One change that is about to be made."""

    name: str
    """``create append fsync truncate rename link unlink mkdir fsync_folder sync_file_system``."""
    path: str
    data: bytes = b""


counts: Final[Counter[str]] = Counter()
"""How often each operation was made by this process."""

intercept: Callable[[Operation, Callable[[], object]], object] | None = None
"""Set by the fault suite: called instead of each operation, with the operation and the call that makes it."""


def _do(operation: Operation, call: Callable[[], T]) -> T:
    counts[operation.name] += 1
    if intercept is None:
        return call()
    return intercept(operation, call)  # type: ignore[return-value]  # the suite returns what the call would


# -- single operations ------------------------------------------------------------------------------------


def create(path: str, mode: int = 0o666) -> int:
    """Create a new file for appending and return its descriptor; `FileExistsError` when the name is taken."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    return _do(Operation("create", path), lambda: os.open(path, flags, mode))


def append(descriptor: int, data: bytes, path: str = "") -> None:
    """Append in one `write`. A short write (the disk filled up in the middle) is an error."""

    def call() -> None:
        written = os.write(descriptor, data)
        if written != len(data):
            raise OSError(28, os.strerror(28), path)  # ENOSPC is the only cause of a short write to a file

    _do(Operation("append", path, data), call)


def sync(descriptor: int, path: str = "") -> None:
    """Make a file's content durable."""
    _do(Operation("fsync", path), lambda: _fdatasync(descriptor))


def truncate(descriptor: int, size: int, path: str = "") -> None:
    """Cut off the end of a file. Syncs nothing."""
    _do(Operation("truncate", path), lambda: os.ftruncate(descriptor, size))


def sync_folder(path: str) -> None:
    """Make a folder's names durable."""

    def call() -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    _do(Operation("fsync_folder", path), call)


def sync_file_system(descriptor: int, path: str) -> None:
    """Make everything durable that is on a file system; see `files.together` for where that can be relied on.

    Args:
        descriptor: of one of its folders, opened before what is to be durable was written.
        path: that folder.
    """
    _do(Operation("sync_file_system", path), lambda: _syncfs(descriptor))


def _syncfs(descriptor: int) -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def rename(source: str, target: str) -> None:
    """Move a name within the workspace; the arbiter of who owns a run. Syncs nothing."""
    _do(Operation("rename", target), lambda: os.rename(source, target))


def link(source: str, target: str) -> None:
    """Give a file a second name, never over an existing one. Syncs nothing."""
    _do(Operation("link", target), lambda: os.link(source, target, follow_symlinks=False))


def unlink(path: str) -> None:
    """Take a name away. Syncs nothing."""
    _do(Operation("unlink", path), lambda: os.unlink(path))


# -- what they are put together to ------------------------------------------------------------------------


def write_new(path: str, data: bytes, *, mode: int = 0o666, synced: bool = True) -> None:
    """Write a new file and make its content durable; its folder is the caller's to sync.

    Args:
        path: its name.
        data: its content.
        mode: its permissions, less those that the umask takes.
        synced: whether it is synced at once; otherwise that too is the caller's.

    Raises:
        FileExistsError: when the name is taken.
        OSError: what the disk says; the half-made file is taken away again.
    """
    descriptor = create(path, mode)
    try:
        append(descriptor, data, path)
        if synced:
            sync(descriptor, path)
    except OSError:
        with suppress(OSError):
            os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def sync_file(path: str) -> None:
    """Make the content of a file durable that was written and closed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(descriptor, path)
    finally:
        os.close(descriptor)


def replace(path: str, data: bytes) -> None:
    """Write a file, new or over the old one, as one durable step."""
    temporary = f"{path}.tmp{os.getpid()}"
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    write_new(temporary, data)
    rename(temporary, path)
    sync_folder(os.path.dirname(path))


def write_view(path: str, data: bytes) -> None:
    """Write a file that readers see whole, but that can be made again from the truth: no fsync."""
    temporary = f"{path}.tmp{os.getpid()}"
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666
    )
    try:
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def append_view(path: str, data: bytes) -> None:
    """Add to a file that can be made again from the truth, in one `write`: no fsync."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o666)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def overwrite_view(path: str, data: bytes) -> None:
    """Bring a small view up to date where it lies: one write, no new inode, nothing to be synced.

    A file that is replaced makes the disk work at once (ext4 writes it out), and its freed inode makes the
    next ones dearer to find. What was longer before is filled up with empty lines.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        write_view(path, data)  # not there yet, or nothing that we made
        return
    try:
        os.write(descriptor, data.ljust(os.fstat(descriptor).st_size, b"\n"))
    finally:
        os.close(descriptor)


def make_folder(path: str) -> bool:
    """Make a folder and the parents it lacks, each durable. Returns whether the folder itself was made."""
    if os.path.isdir(path):
        return False
    parent = os.path.dirname(path)
    if parent and not os.path.isdir(parent):
        make_folder(parent)
    try:
        _do(Operation("mkdir", path), lambda: os.mkdir(path))
    except FileExistsError:
        if os.path.isdir(path):
            return False
        raise
    sync_folder(parent or ".")
    return True


def move_new(source: str, target: str) -> None:
    """Move a file without ever replacing another: link, then unlink, both folders durable.

    A crash between the two leaves both names on one inode, and doing it again finishes the move.

    Raises:
        FileExistsError: when another file has the target's name; the source stays.
        FileNotFoundError: when the source is gone.
    """
    try:
        link(source, target)
    except FileExistsError:
        if not os.path.samestat(os.lstat(source), os.lstat(target)):
            raise
    sync_folder(os.path.dirname(target))
    unlink(source)
    sync_folder(os.path.dirname(source))


def rename_folder(source: str, target: str) -> None:
    """Put a finished folder in place as one durable step; the folder's files are synced by their writer."""
    rename(source, target)
    sync_folder(os.path.dirname(target))
    if os.path.dirname(source) != os.path.dirname(target):
        sync_folder(os.path.dirname(source))


def sync_tree(path: str) -> None:
    """Make everything below a folder durable: its files' contents and its folders' names."""
    for folder, _, files in os.walk(path):
        for name in files:
            full = os.path.join(folder, name)
            if os.path.islink(full) or not os.path.isfile(full):
                continue
            sync_file(full)
        sync_folder(folder)
