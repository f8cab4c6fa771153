"""The working directory of a run's tasks: a folder of the run that shows the committed files as links.

A snapshot is shared by all runs of its commit, so no task may write into it. The tasks of a run stand in
``working_directory`` of the run's folder, or below it if ``pathToTasks`` is no top folder: it has the shape
of the repository. Each committed file is a link into the snapshot, so relative reads find what is committed.
What a task writes by a relative name is a file of the run. Folders are real folders, so that files can be
made in them; of large ones (data, usually) there is one link, since each entry costs every run system calls.

The link to ``Tasks.py`` is made last: where it points to the right place the folder is complete, and an
attempt that goes on finds it as the one before left it. At the end of a run the links go. What is left, if
anything, is what the tasks wrote.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

__all__ = ["NAME", "View", "files_in", "leave", "of_run", "view_in", "view_of"]

_BYTECODE: Final = "__pycache__"
NAME: Final = "working_directory"
"""The name of the folder in a run's folder."""
MOST_REAL: Final = 128
"""Entries in folders that are made as real folders beside those on the way to ``Tasks.py``."""
_LAST: Final = "Tasks.py"
_OURS: Final = re.compile(r"/snapshots/[0-9a-f]{40}(?:[0-9a-f]{24})?(?:/|$)")
"""In the target of a link that an attempt made."""


def of_run(run_folder: str) -> str:
    """Return the path of a run's working folder, which need not exist."""
    return os.path.join(run_folder, NAME)


@dataclass(frozen=True, slots=True)
class View:
    """What a working folder shows before a task has written anything; all paths are relative to it."""

    inside: str = ""
    """The folder in which the tasks stand; empty for the top."""
    folders: tuple[str, ...] = ()
    """Parents come before their children."""
    links: tuple[tuple[str, str], ...] = ()
    """Links and their targets."""
    copies: tuple[tuple[str, str], ...] = ()
    """Files that the imports wrote, and their paths."""

    def standing(self, base: str) -> str:
        """Return the folder in which tasks stand if the working folder is `base`."""
        return os.path.join(base, self.inside) if self.inside else base

    def enter(self, base: str) -> None:
        """Make the working folder, as far as it is not there, and change into it.

        Raises:
            OSError: the disk refuses.
        """
        try:
            os.mkdir(base)
        except FileExistsError:
            if not self._is_complete(base):
                self._mend(base)
        except FileNotFoundError:  # a task removed the run's folder
            os.makedirs(base, exist_ok=True)
            self._make(base)
        else:
            self._make(base)
        os.chdir(self.standing(base))

    def _is_complete(self, base: str) -> bool:
        if not self.links:
            return os.path.isdir(self.standing(base)) and not os.path.islink(base)
        name, target = self.links[-1]
        try:
            return os.readlink(os.path.join(base, name)) == target
        except OSError:
            return False

    def _mend(self, base: str) -> None:
        """Complete a folder that a kill left half made, or that shows another commit; files of tasks stay."""
        if os.path.islink(base) or not os.path.isdir(base):
            os.rename(base, _free(base))
            os.mkdir(base)
        for link in list(_links(base)):
            os.unlink(link)
        self._make(base)

    def _make(self, base: str) -> None:
        for name in self.folders:
            with suppress(FileExistsError):
                os.mkdir(os.path.join(base, name))
        for name, source in self.copies:
            path = os.path.join(base, name)
            if not os.path.lexists(path) or os.path.getsize(path) < os.path.getsize(source):
                shutil.copy2(source, path)
        for name, target in self.links:
            with suppress(FileExistsError, NotADirectoryError):  # the name is a task's by now
                os.symlink(target, os.path.join(base, name))


def view_of(snapshot: str | None, folder: str, left_out: Container[str] = ()) -> View:
    """Return the view of a snapshot.

    Args:
        snapshot: its path; `None` for tasks that have none: they begin in an empty folder.
        folder: the folder of ``Tasks.py`` in it.
        left_out: names that it does not show, at any depth.

    Raises:
        OSError: the snapshot cannot be listed.
    """
    if snapshot is None:
        return View()
    inside = os.path.normpath(folder)
    inside = "" if inside == "." else inside
    parts = inside.split(os.sep) if inside else []
    way = ["", *(os.path.join(*parts[: depth + 1]) for depth in range(len(parts)))]
    names: list[str] = []
    below: list[tuple[int, str]] = []
    for parent in way:
        for name, is_folder in _entries(snapshot, parent, left_out):
            if is_folder and name not in way:
                below.append((_count(os.path.join(snapshot, name), MOST_REAL), name))
            elif not is_folder:
                names.append(name)
    folders, left = way[1:], MOST_REAL
    for count, name in sorted(below):
        left -= count
        if left < 0:
            names.append(name)
        else:
            _open(snapshot, name, folders, names, left_out)
    last = os.path.join(inside, _LAST)
    names.sort(key=lambda name: (name == last, name))
    return View(inside, tuple(folders), tuple((name, os.path.join(snapshot, name)) for name in names))


def view_in(base: str, inside: str) -> View:
    """Return the view of a working folder in which the tasks were imported, with what the imports wrote."""
    folders: list[str] = []
    links: list[tuple[str, str]] = []
    copies: list[tuple[str, str]] = []
    for parent, below, names in os.walk(base):
        for name in sorted((*below, *names)):
            path = os.path.join(parent, name)
            short = os.path.relpath(path, base)
            if os.path.islink(path):
                links.append((short, os.readlink(path)))
            elif os.path.isdir(path):
                folders.append(short)
            elif os.path.isfile(path):
                copies.append((short, path))
    last = os.path.join(inside, _LAST)
    links.sort(key=lambda link: (link[0] == last, link[0]))
    return View(inside, tuple(folders), tuple(links), tuple(copies))


def _open(snapshot: str, folder: str, folders: list[str], names: list[str], left_out: Container[str]) -> None:
    """Add a folder of a snapshot as a real folder, with all that is below it."""
    folders.append(folder)
    for name, is_folder in _entries(snapshot, folder, left_out):
        if is_folder:
            _open(snapshot, name, folders, names, left_out)
        else:
            names.append(name)


def _entries(snapshot: str, folder: str, left_out: Container[str]) -> list[tuple[str, bool]]:
    """Return the sorted entries of a folder of a snapshot, and whether each is a folder (no link to one)."""
    with os.scandir(os.path.join(snapshot, folder)) as found:
        shown = (entry for entry in found if entry.name not in left_out)
        return sorted((os.path.join(folder, e.name), e.is_dir(follow_symlinks=False)) for e in shown)


def _count(folder: str, limit: int) -> int:
    """Return the number of entries below a folder; any number above the limit if there are more."""
    count = 1
    for _, folders, files in os.walk(folder):
        count += len(folders) + len(files)
        if count > limit:
            break
    return count


def _free(path: str) -> str:
    number = 2
    while os.path.lexists(f"{path}~{number}"):
        number += 1
    return f"{path}~{number}"


# -- what is in it ----------------------------------------------------------------------------------------


def _is_ours(link: str) -> bool:
    with suppress(OSError):
        return _OURS.search(os.readlink(link)) is not None
    return False


def _links(base: str) -> Iterator[str]:
    """Yield the links that attempts made."""
    for parent, folders, files in os.walk(base):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            if os.path.islink(path) and _is_ours(path):
                yield path


def files_in(run_folder: str) -> list[str]:
    """Return the files that tasks wrote into the working folder of a run, relative to the run's folder.

    Bytecode is not among them: Python leaves it beside what was imported by a relative path.
    """
    return sorted(
        os.path.relpath(path, run_folder)
        for parent, folders, files in os.walk(of_run(run_folder))
        if os.path.basename(parent) != _BYTECODE
        for name in (*folders, *files)
        if os.path.islink(path := os.path.join(parent, name)) or not os.path.isdir(path)
        if not _is_ours(path)
    )


def leave(run_folder: str, *, for_good: bool) -> None:
    """Take the links away at the end of a run, and the folder itself if the tasks wrote nothing.

    Best effort: what cannot be removed stays.

    Args:
        run_folder: the run's folder.
        for_good: whether the run has completed. Otherwise a retry may go on in the folder: it stays as it is
            if there is anything of the tasks in it.
    """
    base = of_run(run_folder)
    with suppress(OSError):
        if for_good or not _has_own(base):
            _tidy(base)


def _has_own(folder: str) -> bool:
    """Return whether a task made anything in a folder; an empty folder below it was made by one, too."""
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if _has_own(entry.path) or not os.listdir(entry.path):
                return True
        elif not (entry.is_symlink() and _is_ours(entry.path)):
            return True
    return False


def _tidy(folder: str) -> bool:
    """Remove our links below a folder and the folders that are empty then; return whether all is gone."""
    with os.scandir(folder) as found:
        entries = list(found)
    is_empty = True
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            is_empty = _tidy(entry.path) and is_empty
        elif entry.is_symlink() and _is_ours(entry.path):
            os.unlink(entry.path)
        else:
            is_empty = False
    if is_empty:
        os.rmdir(folder)
    return is_empty
