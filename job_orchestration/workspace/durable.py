"""Change the disk durably: every change to a workspace is one of the calls below.

A change that must survive a power cut keeps either the old or the new state on the disk at every moment:
write a new file, fsync it, put it in place by one `rename` or `link`, fsync the folder of its new name. For a
new folder, its parent is fsynced. After a failed fsync the file's content is unknown, so the file is
discarded; fsync is not retried on the same descriptor.

Every system call goes through `_do`, which counts it by name. The fault suite sets `intercept` to make each
call fail: before it, after it, half-way, or with an error of the disk; it also asserts the number of calls.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from job_orchestration.workspace import temporary_files

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_write: Final = os.write  # a task may replace that of the module, and its child writes after that
_fdatasync: Final = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter


class Operation(NamedTuple):
    """One change that `_do` is about to make."""

    name: str
    """``create append fsync truncate rename link unlink mkdir fsync_folder sync_file_system``."""
    path: str
    data: bytes = b""


_LARGEST_VIEW: Final = 1 << 16
"""Bytes; no view that is overwritten in place is larger."""

counts: Final[Counter[str]] = Counter()
"""Number of calls of each operation in this process."""

intercept: Callable[[Operation, Callable[[], object]], object] | None = None
"""Set by the fault suite: called instead of each operation, with the operation and its system call."""


def _do(operation: Operation, call: Callable[[], T]) -> T:
    counts[operation.name] = counts.get(operation.name, 0) + 1
    if intercept is None:
        return call()
    return intercept(operation, call)  # type: ignore[return-value]  # the suite returns what the call would


# -- single operations ------------------------------------------------------------------------------------


def create(path: str, mode: int = 0o666) -> int:
    """Create a new file for appending and return its descriptor; `FileExistsError` if the name is taken.

    The descriptor can also be read, which is the way to the content after somebody removed the name.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    return _do(Operation("create", path), lambda: os.open(path, flags, mode))


def append(descriptor: int, data: bytes, path: str = "") -> None:
    """Append in one `write`. A short write (the disk is full, or a limit is reached) is an error."""

    def call() -> None:
        written = _write(descriptor, data)
        if written != len(data):
            _write(descriptor, data[written:])  # raises what kept the first one short
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)  # there is room again

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
    """Make all data of a file system durable; `workspace.group_sync` says where that can be trusted.

    Args:
        descriptor: of a folder on it, opened before the data were written.
        path: path of that folder.
    """
    _do(Operation("sync_file_system", path), lambda: _syncfs(descriptor))


def _syncfs(descriptor: int) -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def rename(source: str, target: str) -> None:
    """Move a file within the workspace. A run belongs to the process whose rename succeeds. Syncs nothing."""
    _do(Operation("rename", target), lambda: os.rename(source, target))


def link(source: str, target: str) -> None:
    """Give a file a second name, never over an existing one. Syncs nothing."""
    _do(Operation("link", target), lambda: os.link(source, target, follow_symlinks=False))


def unlink(path: str) -> None:
    """Remove a name. Syncs nothing."""
    _do(Operation("unlink", path), lambda: os.unlink(path))


# -- combined operations ----------------------------------------------------------------------------------


def write_new(path: str, data: bytes, *, mode: int = 0o666, synced: bool = True) -> None:
    """Write a new file and make its content durable; the caller syncs its folder.

    Args:
        path: its path.
        data: its content.
        mode: its permissions, reduced by the umask.
        synced: whether to sync it at once; otherwise the caller syncs it.

    Raises:
        FileExistsError: if the name is taken.
        OSError: if the disk refuses; the incomplete file is removed.
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
    """Make the content of a closed file durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(descriptor, path)
    finally:
        os.close(descriptor)


def replace(path: str, data: bytes) -> None:
    """Create or replace a file as one durable step."""
    temporary = temporary_files.name_of(path)
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    write_new(temporary, data)
    rename(temporary, path)
    sync_folder(os.path.dirname(path))


def write_view(path: str, data: bytes) -> None:
    """Write a derived file so that readers see it whole; no fsync, because it can be made again."""
    temporary = temporary_files.name_of(path)
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
    """Append to a derived file in one `write`; no fsync, because it can be made again."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o666)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def overwrite_view(path: str, data: bytes) -> None:
    """Overwrite a small derived file in place: one write, no new inode, no sync.

    Replacing a file costs more: ext4 writes it to the disk at once, and the freed inode slows the search for
    later ones. If the old content is longer, the rest is filled with empty lines.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        write_view(path, data)  # does not exist yet, or was not made by us
        return
    try:
        status = os.fstat(descriptor)
        is_ours = stat.S_ISREG(status.st_mode) and status.st_size <= _LARGEST_VIEW
        if is_ours:
            os.write(descriptor, data.ljust(status.st_size, b"\n"))
    finally:
        os.close(descriptor)
    if not is_ours:
        write_view(path, data)


def open_log(path: str) -> int:
    """Open a plain file for appending and reading, and create it if there is none; no sync is meant.

    What else lies there, such as a link, a folder or a pipe, gets another name.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.EISDIR, errno.ENXIO}:
            raise
    else:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
    move_aside(path)
    return os.open(path, flags | os.O_EXCL, 0o666)


def move_aside(path: str) -> None:
    """Give what lies at a path, if anything does, another name: ``NAME.damaged-1`` and so on."""
    if not os.path.lexists(path):
        return
    folder, name = os.path.split(path)
    taken = set(os.listdir(folder))
    number = 1
    while f"{name}.damaged-{number}" in taken:
        number += 1
    rename(path, f"{path}.damaged-{number}")


def make_folder(path: str) -> bool:
    """Create a folder and its missing parents, each durably. Return whether the folder itself was created."""
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


def make_new_folder(path: str) -> None:
    """Create a folder durably.

    Raises:
        FileExistsError: if the name is taken.
        FileNotFoundError: if its parent is gone.
    """
    _do(Operation("mkdir", path), lambda: os.mkdir(path))
    sync_folder(os.path.dirname(path) or ".")


def move_new(source: str, target: str) -> None:
    """Move a file without ever replacing another: link, then unlink, both folders durable.

    A crash between the two leaves both names on one inode; another call finishes the move.

    Raises:
        FileExistsError: if another file has the target's name; the source stays.
        FileNotFoundError: if the source is gone.
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
    """Move a finished folder in place as one durable step; its writer has synced its files."""
    rename(source, target)
    sync_folder(os.path.dirname(target))
    if os.path.dirname(source) != os.path.dirname(target):
        sync_folder(os.path.dirname(source))


def sync_tree(path: str) -> None:
    """Make a whole tree durable: the contents of its files and the names in its folders."""
    for folder, _, files in os.walk(path):
        for name in files:
            full = os.path.join(folder, name)
            if os.path.islink(full) or not os.path.isfile(full):
                continue
            sync_file(full)
        sync_folder(folder)
