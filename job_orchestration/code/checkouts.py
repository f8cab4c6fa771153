"""Put the files of a commit into their place as a snapshot, and put back what was changed in one."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.workspace import durable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    PutAway = Callable[[Mapping[str, str]], object]
    """Moves files out of the way: the path of each, by its path in the snapshot."""

_READ_ONLY: Final = ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)


def make_read_only(folder: Path) -> None:
    """Take the right to write from all files and folders below a folder.

    Not from the folder itself: moving it would need that right. `lock_folders` takes it afterwards.
    """
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode & _READ_ONLY)


def lock_folders(folder: str) -> None:
    """Take the right to write from a folder and those below it, the folder itself last."""
    _set_folders(folder, lambda mode: mode & _READ_ONLY)


def unlock_folders(folder: str) -> None:
    """Give the owner the right to write into a folder and those below it, the folder itself first."""
    _set_folders(folder, lambda mode: mode | stat.S_IWUSR, from_top=True)


def are_locked(folder: str) -> bool:
    """Return whether `lock_folders` is done with a folder."""
    return not os.stat(folder).st_mode & ~_READ_ONLY


def _set_folders(folder: str, change: Callable[[int], int], *, from_top: bool = False) -> None:
    if from_top:
        os.chmod(folder, change(stat.S_IMODE(os.stat(folder).st_mode)))
    for parent, _, _ in os.walk(folder, topdown=from_top):
        mode = stat.S_IMODE(os.stat(parent).st_mode)
        if change(mode) != mode:
            os.chmod(parent, change(mode))


@contextmanager
def unlocked(folder: str) -> Iterator[None]:
    """Have the folders of a snapshot writable for the owner meanwhile."""
    unlock_folders(folder)
    try:
        yield
    finally:
        if os.path.isdir(folder):
            lock_folders(folder)


def outward_links(folder: Path) -> list[str]:
    """Return the links below a folder that lead out of it, whether or not there is anything, sorted."""
    top = os.path.realpath(folder)
    found = []
    for parent, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            if os.path.islink(path) and not f"{os.path.realpath(path)}{os.sep}".startswith(f"{top}{os.sep}"):
                found.append(os.path.relpath(path, top))
    return sorted(found)


def put_in_place(made: Path, target: Path) -> None:
    """Give a finished folder its name; the folder of a process that was faster is as good."""
    try:
        durable.rename_folder(str(made), str(target))
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise


def put_back(made: Path, target: Path, changed: Sequence[str], put_away: PutAway) -> None:
    """Replace what differs in a snapshot, file by file: it may be in use, and keeps its locks.

    Args:
        made: a fresh checkout; the files that are put back are moved from there.
        target: the snapshot.
        changed: the paths that differ.
        put_away: gets what is in their place.
    """
    unlock_folders(str(made))
    with unlocked(str(target)):
        _exchange(made, target, changed, put_away)


def _exchange(made: Path, target: Path, changed: Sequence[str], put_away: PutAway) -> None:
    there = {name: str(target / name) for name in changed if os.path.lexists(target / name)}
    if there:
        put_away(there)
    for name in changed:
        if os.path.lexists(made / name):
            place = target / name
            with suppress(FileExistsError):
                os.makedirs(place.parent)
            if not place.parent.is_dir():
                put_away({os.path.dirname(name): str(place.parent)})
                os.makedirs(place.parent)
            os.rename(made / name, place)
