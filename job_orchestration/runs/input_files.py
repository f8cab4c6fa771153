"""The files that the ``inputs`` of a config name: paths, folders and globs.

A relative path begins where the tasks stand, at the committed files of ``pathToTasks``: it means the file
that a task gets from ``open``. A folder means every file below it; links are followed.
"""

from __future__ import annotations

import glob
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Found(NamedTuple):
    """What some patterns name."""

    files: dict[str, str]
    """The path of each file as the config writes it, to its full path."""
    missing: tuple[str, ...]
    """Patterns that name no file."""


def find(patterns: Sequence[str], base: str) -> Found:
    """Return the files that patterns name now.

    Args:
        patterns: paths and globs; ``~`` is a home folder.
        base: where relative ones begin.
    """
    files: dict[str, str] = {}
    missing = []
    for pattern in patterns:
        found = {shown: full for path in _matches(pattern, base) for shown, full in _files_at(path, base)}
        if not found:
            missing.append(pattern)
        files.update(found)
    return Found(dict(sorted(files.items())), tuple(missing))


def names_something(pattern: str, base: str) -> bool:
    """Return whether a pattern names a file or a folder; stops at the first one."""
    return any(is_readable(os.path.join(base, path)) for path in _matches(pattern, base))


def is_readable(path: str) -> bool:
    """Return whether a path is a file or a folder that can be read, and no pipe or device."""
    with suppress(OSError, ValueError):
        mode = os.stat(path).st_mode
        return (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and os.access(path, os.R_OK)
    return False


def _matches(pattern: str, base: str) -> Iterator[str]:
    path = os.path.expanduser(pattern)
    with suppress(ValueError):  # a null in it
        if os.path.lexists(os.path.join(base, path)):
            yield path
        elif glob.has_magic(path):
            yield from glob.iglob(path, root_dir=base, recursive=True)


def _files_at(path: str, base: str) -> Iterator[tuple[str, str]]:
    full = os.path.join(base, path)
    if os.path.isfile(full):
        yield path, full
    elif os.path.isdir(full):
        for inner in _below(full, set()):
            yield os.path.join(path, os.path.relpath(inner, full)), inner


def _below(folder: str, seen: set[tuple[int, int]]) -> Iterable[str]:
    """Yield the files below a folder; a folder that links lead to again is read once."""
    with suppress(OSError):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            if entry.is_dir():
                yield from _below(entry.path, seen)
            elif entry.is_file():
                yield entry.path
