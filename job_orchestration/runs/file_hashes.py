"""Hashes of large files, computed once for each version of a file.

A version is known by device, inode, size and the times of its last change, in nanoseconds. A file that was
changed in the last seconds is hashed but not remembered, since it could change again within one tick of the
file system's clock. The cache is a folder of text files with one line a version; each is cut to its newer
half when it grows too large, so the cache needs no care, and may be deleted.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.workspace import durable, safe_reads

if TYPE_CHECKING:
    from collections.abc import Callable

_PARTS: Final = 64
_LARGEST: Final = 1 << 20
"""Bytes of one file of the cache, for some 8,000 versions."""
_STEP: Final = 1 << 20
"""Bytes that are read at a time."""
_TRIES: Final = 3
RECENT: Final = 2.0
"""Seconds after a change in which the clock of a file system may not tell of another one."""


class Version(NamedTuple):
    """One version of a file."""

    key: str
    bytes: int
    mtime_ns: int


def version_of(status: os.stat_result) -> Version:
    """Return the version of a file from its status."""
    key = f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
    return Version(key, status.st_size, status.st_mtime_ns)


class FileHashes:
    """Hashes files, and remembers the hashes.

    Args:
        folder: the folder of the cache, which need not exist.
        tick: called with the number of bytes that were read, again and again; may raise to stop.
    """

    def __init__(self, folder: str, tick: Callable[[int], None] = lambda _: None) -> None:
        self._folder = folder
        self._tick = tick
        self._parts: dict[str, dict[str, str]] = {}
        self._new: dict[str, dict[str, str]] = {}
        self._here: dict[str, str] = {}
        """The versions that this process has hashed, those that are too recent for the cache included."""

    def known(self, version: Version) -> str | None:
        """Return the hash of a version, if it was computed before."""
        return self._here.get(version.key) or self._part(version).get(version.key)

    def of(self, path: str) -> tuple[Version, str]:
        """Return the version of a file and its sha256 in hex.

        Raises:
            OSError: it is no file, or cannot be read.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise safe_reads.DamagedFileError(path, "it is no plain file")
            for _ in range(_TRIES):
                version = version_of(status)
                if (known := self.known(version)) is not None:
                    return version, known
                sha256 = self._computed(descriptor)
                status = os.fstat(descriptor)
                if version_of(status) == version:
                    self._remember(version, sha256, status)
                    break
        finally:
            os.close(descriptor)
        return version, sha256

    def _computed(self, descriptor: int) -> str:
        found = hashlib.sha256()
        offset = 0
        while data := os.pread(descriptor, _STEP, offset):
            found.update(data)
            offset += len(data)
            self._tick(len(data))
        return found.hexdigest()

    def _remember(self, version: Version, sha256: str, status: os.stat_result) -> None:
        self._here[version.key] = sha256
        if time.time() - max(status.st_mtime, status.st_ctime) > RECENT:
            self._part(version)[version.key] = sha256
            self._new.setdefault(self._name(version), {})[version.key] = sha256

    @staticmethod
    def _name(version: Version) -> str:
        return f"{int(version.key.split(':')[1]) % _PARTS:02x}.txt"

    def _part(self, version: Version) -> dict[str, str]:
        name = self._name(version)
        if name not in self._parts:
            self._parts[name] = {}
            with suppress(OSError):
                data = safe_reads.whole(os.path.join(self._folder, name)).decode("ascii", "replace")
                pairs = (line.split(" ") for line in data.split("\n"))
                self._parts[name] = {p[0]: p[1] for p in pairs if len(p) == 2 and len(p[1]) == 64}  # noqa: PLR2004
        return self._parts[name]

    def save(self) -> None:
        """Write what is new into the cache. Best effort: errors are ignored."""
        new, self._new = self._new, {}
        with suppress(OSError):
            if new:
                durable.make_folder(self._folder)
            for name, versions in new.items():
                path = os.path.join(self._folder, name)
                lines = "".join(f"{key} {sha256}\n" for key, sha256 in versions.items())
                durable.append_view(path, lines.encode())
                if os.path.getsize(path) > _LARGEST:
                    newer = safe_reads.tail(path, _LARGEST // 2).partition(b"\n")[2]
                    durable.write_view(path, newer)
