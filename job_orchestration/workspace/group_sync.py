"""Make many new files durable by one sync (group sync).

Each fsync of a file waits for the disk. Where it is known to be equally safe, many new files share one wait:
they are written, then the kernel syncs their file system (syncfs(2)).

Equally safe means: a known local file system, and a Linux that reports errors. Before Linux 5.17 `syncfs`
did not report some errors. Errors of data are reported to every process that had a descriptor of the file
system open at the time, so a descriptor is opened before the first write. An ext4 without a journal is
excluded: it writes its folders after it has flushed the disk's cache. On other file systems, such as FUSE,
only an `fsync` reaches the server of the files. Syncfs also waits for the data of other programs, so a few
files are always synced one by one.
"""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from job_orchestration.workspace import durable, lock_probe

if TYPE_CHECKING:
    from collections.abc import Iterable

_TRUSTED: Final = frozenset({"ext4", "xfs", "tmpfs"})
_REPORTS_ERRORS: Final = (5, 17)
"""The first Linux whose `syncfs` reports every failed write."""


class GroupSync:
    """Context that writes new files; they are durable after `sync` has returned.

    Args:
        folder: a folder on their file system; ``None`` to sync each file by itself.
    """

    def __init__(self, folder: str | None) -> None:
        self._folder = folder or ""
        self._descriptor = (
            -1 if folder is None else os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        )
        self._device = -1 if folder is None else os.fstat(self._descriptor).st_dev
        self._files: list[str] = []
        self._elsewhere: dict[str, bool] = {}
        """Whether each folder is on another file system, through a link or a mount."""

    @classmethod
    def where_trusted(cls, folder: str) -> Self:
        """Return a group sync if a folder's file system is trusted with it, else single syncs."""
        return cls(folder if is_trusted(folder) else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def write_new(self, path: str, data: bytes) -> None:
        """Write a new file like `durable.write_new`; it becomes durable with `sync`."""
        synced = self._descriptor < 0
        durable.write_new(path, data, synced=synced)
        if not synced:
            self._files.append(path)

    def sync(self, folders: Iterable[str]) -> None:
        """Make all written files durable, and the names in some folders, the deepest first."""
        if self._descriptor >= 0:
            durable.sync_file_system(self._descriptor, self._folder)
        for path in self._files:
            with suppress(FileNotFoundError):  # its run could not be opened, and was removed again
                if self._is_elsewhere(os.path.dirname(path)):
                    durable.sync_file(path)
        for folder in sorted(set(folders), key=len, reverse=True):
            if self._is_elsewhere(folder):
                durable.sync_folder(folder)

    def _is_elsewhere(self, folder: str) -> bool:
        if folder not in self._elsewhere:
            self._elsewhere[folder] = self._descriptor < 0 or os.stat(folder).st_dev != self._device
        return self._elsewhere[folder]


def is_trusted(folder: str) -> bool:
    """Return whether syncing a folder's file system is as safe as syncing each of its files."""
    if platform.system() != "Linux" or not reports_errors(platform.release()):
        return False
    device = lock_probe.device_of(folder)
    kind, _ = lock_probe.mounted(lock_probe.mounts(), device)
    return kind in _TRUSTED and (kind != "ext4" or has_journal(device))


def has_journal(device: str) -> bool:
    """Return whether the ext4 on a device, ``MAJOR:MINOR``, has a journal, by the kernel's list."""
    with suppress(OSError):
        name = os.path.basename(os.readlink(f"/sys/dev/block/{device}"))
        return any(journal.rpartition("-")[0] == name for journal in os.listdir("/proc/fs/jbd2"))
    return False


def reports_errors(release: str) -> bool:
    """Return whether `syncfs` reports every failed write on this release of Linux."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= _REPORTS_ERRORS
