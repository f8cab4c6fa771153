"""Making many new files durable at once.

A file that is synced by itself waits for the disk by itself. Where it is known to be as safe, many new files
share one wait: they are written, and then the kernel is told to sync their file system (syncfs(2)).

As safe means: a local file system of which this is known, and a Linux that tells of errors. Before Linux 5.17
`syncfs` kept silent about some of them. Those of data are told to everybody who had a descriptor of that file
system open at the time, so it is opened before the first write. An ext4 without a journal is not among those
file systems: it writes its folders after it has emptied the disk's cache. On others, as in FUSE, only an
`fsync` asks whoever keeps the files. What others have written is waited for, too, so where there are few
files each is synced by itself everywhere.
"""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from job_orchestration.files import durable, probe

if TYPE_CHECKING:
    from collections.abc import Iterable

_TRUSTED: Final = frozenset({"ext4", "xfs", "tmpfs"})
_TELLS_ERRORS: Final = (5, 17)
"""The first Linux whose `syncfs` tells of everything that could not be written."""


class Together:
    """Writes new files, as a context; what was written is durable when `sync` has returned.

    Args:
        folder: a folder of the file system that they are written to; ``None`` to sync each by itself.
    """

    def __init__(self, folder: str | None) -> None:
        self._folder = folder or ""
        self._descriptor = (
            -1 if folder is None else os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        )
        self._device = -1 if folder is None else os.fstat(self._descriptor).st_dev
        self._files: list[str] = []
        self._elsewhere: dict[str, bool] = {}
        """Folders, and whether they lie on another file system: somebody linked or mounted them there."""

    @classmethod
    def where_trusted(cls, folder: str) -> Self:
        """Writes that wait together, where a folder's file system can be trusted with that."""
        return cls(folder if is_trusted(folder) else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def write_new(self, path: str, data: bytes) -> None:
        """Write a new file, as `durable.write_new` does; durable later."""
        synced = self._descriptor < 0
        durable.write_new(path, data, synced=synced)
        if not synced:
            self._files.append(path)

    def sync(self, folders: Iterable[str]) -> None:
        """Make all that was written durable, and the names in some folders, the deepest first."""
        if self._descriptor >= 0:
            durable.sync_file_system(self._descriptor, self._folder)
        for path in self._files:
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
    """Whether syncing a folder's file system is as good as syncing each of its files."""
    if platform.system() != "Linux" or not tells_errors(platform.release()):
        return False
    device = probe.device_of(folder)
    kind, _ = probe.mounted(probe.mounts(), device)
    return kind in _TRUSTED and (kind != "ext4" or has_journal(device))


def has_journal(device: str) -> bool:
    """Whether the ext4 on a device, ``MAJOR:MINOR``, has a journal; the kernel lists all of them."""
    with suppress(OSError):
        name = os.path.basename(os.readlink(f"/sys/dev/block/{device}"))
        return any(journal.rpartition("-")[0] == name for journal in os.listdir("/proc/fs/jbd2"))
    return False


def tells_errors(release: str) -> bool:
    """Whether the `syncfs` of a Linux of this release tells of everything that could not be written."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= _TELLS_ERRORS
