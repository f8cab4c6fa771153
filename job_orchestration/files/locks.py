"""Which files are locked, asked of the kernel without locking anything.

``/proc/locks`` names the holder of each lock by device and inode. The device is the one of the mount, which
on some file systems (btrfs, for one) is another than the one that `stat` tells; so it is looked up among
the mounts. The kernel tells of this host only, and of the processes that this one could see.
"""

from __future__ import annotations

import os
from contextlib import suppress


def held_inodes(folder: str) -> frozenset[int] | None:
    """The inodes on a folder's file system that somebody on this host holds by `flock`.

    Returns:
        `None` where the system does not tell.
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
        if kind != "FLOCK":  # before those who only wait stands an arrow
            continue
        major, minor, inode = rest[3].split(":")
        if (int(major, 16), int(minor, 16)) == device:
            found.add(int(inode))
    return frozenset(found)


def _device(folder: str) -> tuple[int, int]:
    """Major and minor number of the file system that a folder lies on, as the kernel lists them."""
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
