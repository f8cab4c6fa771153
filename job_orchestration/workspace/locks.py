"""Lock folders, and ask the kernel which files are locked without locking anything.

``/proc/locks`` names the holder of each lock by device and inode. The device is that of the mount, which some
file systems (btrfs, for one) report differently from `stat`; so it is looked up among the mounts. The kernel
reports the locks of this machine only, and of the processes that are visible to this one.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def folder_lock(path: str, *, wait: bool = True) -> Iterator[int]:
    """Hold an exclusive `flock` on a folder.

    Args:
        path: the folder; it must exist.
        wait: whether to wait for another holder.

    Yields:
        The descriptor that holds the lock. A child that inherits it keeps the lock until it ends as well.

    Raises:
        BlockingIOError: if another process holds the lock and `wait` is false.
        OSError: if the folder cannot be opened (``filename`` is set) or locked (``filename`` is `None`).
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield descriptor
    finally:
        os.close(descriptor)


def share_folder(path: str) -> int:
    """Take a shared `flock` on a folder, which lasts as long as this process or a fork of it lives.

    Returns:
        The descriptor that holds the lock.

    Raises:
        OSError: if the folder cannot be opened or locked.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def held_inodes(folder: str) -> frozenset[int] | None:
    """Return the inodes on a folder's file system that are locked by `flock` on this machine.

    Returns:
        `None` if the system does not report locks.
    """
    try:
        with open("/proc/locks", encoding="ascii", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    try:
        device = _device(folder)
    except OSError:
        return None
    found: set[int] = set()
    for line in lines:
        _, kind, *rest = line.split()
        if kind != "FLOCK":  # a waiting lock has an arrow in this place
            continue
        major, minor, inode = rest[3].split(":")
        if (int(major, 16), int(minor, 16)) == device:
            found.add(int(inode))
    return frozenset(found)


def _device(folder: str) -> tuple[int, int]:
    """Return the major and minor number of a folder's file system, as the kernel lists them."""
    with suppress(OSError, StopIteration, ValueError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
                mount = next(line.split()[1] for line in file if line.startswith("mnt_id:"))
        finally:
            os.close(descriptor)
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            number = next(fields[2] for line in file if (fields := line.split())[0] == mount)
        major, minor = number.split(":")
        return int(major), int(minor)
    device = os.stat(folder).st_dev
    return os.major(device), os.minor(device)
