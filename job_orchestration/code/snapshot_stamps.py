"""Notice that a snapshot is not what its commit says, by a stamp of each of its files.

Modes do not bind root, and a person may change them. A stamp holds what a look at a file shows without
reading it (size, time of change, inode, time of status change) and the digest of its content, which is
compared if the look differs: a workspace that was copied has other inodes and the same content.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.workspace import durable

if TYPE_CHECKING:
    from collections.abc import Iterator

Stamp = list[int | str]
"""Size, time of change, inode and time of status change of a file, and its digest or the target of a link."""

_BYTECODE: Final = "__pycache__"


def stamps_of(folder: str) -> dict[str, Stamp]:
    """Return the stamp of each file below a folder, by its path in it; each file is read.

    Raises:
        OSError: a file cannot be read.
    """
    return {name: [*_look(status), _content(path, status)] for name, path, status in _files(folder)}


def differences(folder: str, stamps: dict[str, Stamp]) -> list[str]:
    """Return the paths that were added to a folder, removed from it or changed, sorted, without bytecode.

    Raises:
        OSError: a file cannot be read.
    """
    found: list[str] = []
    missing = dict.fromkeys(stamps)
    for name, path, status in _files(folder):
        missing.pop(name, None)
        stamp = stamps.get(name)
        if stamp is None or (_look(status) != stamp[:-1] and _content(path, status) != stamp[-1]):
            found.append(name)
    return sorted([*found, *missing])


def read(path: str) -> dict[str, Stamp] | None:
    """Return the stamps that were written; `None` if there are none that can be read."""
    with suppress(OSError, ValueError), open(path, "rb") as file:
        found = json.load(file)
        return found if isinstance(found, dict) else None
    return None


def write(path: str, stamps: dict[str, Stamp]) -> None:
    """Write the stamps of a snapshot; without them it is compared with its commit again."""
    durable.make_folder(os.path.dirname(path))
    durable.write_view(path, json.dumps(stamps).encode())


def _files(folder: str) -> Iterator[tuple[str, str, os.stat_result]]:
    """Yield everything below a folder that is no folder: its path in the folder, its path, its status."""
    start = len(folder.rstrip(os.sep)) + 1
    ahead = [folder]
    while ahead:
        with os.scandir(ahead.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != _BYTECODE:
                        ahead.append(entry.path)
                else:
                    yield entry.path[start:], entry.path, entry.stat(follow_symlinks=False)


def _look(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns]


def _content(path: str, status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return f"-> {os.readlink(path)}"
    if not stat.S_ISREG(status.st_mode):
        return "special"
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{digest} {'x' if status.st_mode & stat.S_IXUSR else '-'}"
