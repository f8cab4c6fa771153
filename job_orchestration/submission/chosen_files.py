"""Config files that a command line names: in ConfigSources by name or glob, or anywhere by path.

A file from elsewhere is copied into ConfigSources, never over another file. If the copy is refused it is
removed again, so that its author corrects one file and not two.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics import suggestions
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import Problem, escaped
from job_orchestration.submission import dropped_files
from job_orchestration.workspace import durable, naming, problems_file
from job_orchestration.workspace.safe_reads import names_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from job_orchestration.submission.dropped_files import Drop
    from job_orchestration.workspace.layout import Workspace

_FOLDER: Final = "ConfigSources/"


@dataclass(frozen=True, slots=True)
class ChosenFile:
    """A file that was named."""

    path: str
    is_dropped: bool
    """Whether it lies in ConfigSources."""

    @property
    def name(self) -> str:
        """Its name, without folders."""
        return os.path.basename(self.path)

    def read(self) -> Drop | Problem:
        """Read it as a dropped file."""
        if fault := naming.stem_problem(self.name):
            return Problem(self.name, fault.what, fault.todo)
        return self._read(self.path)

    def read_through_links(self) -> Drop | Problem:
        """Read the file that it is or leads to."""
        if fault := naming.stem_problem(self.name):
            return Problem(self.name, fault.what, fault.todo)
        return self._read(os.path.realpath(self.path))

    def _read(self, path: str) -> Drop | Problem:
        folder, name = os.path.split(path)
        found = dropped_files.read_drop(Path(folder), name, settled=lambda _: True)
        if isinstance(found, Problem):
            return Problem(self.name, found.what, found.todo)
        return found or Problem(self.name, "this file is still being written", "Look again when it is whole")


def find(workspace: Workspace, words: Sequence[str]) -> list[ChosenFile]:
    """Return the files that are named, each once, in order.

    Args:
        workspace: the workspace.
        words: paths of files; names of files in ConfigSources, with or without ending; globs of such names.

    Raises:
        UsageError: if there is no such file.
    """
    dropped = sorted(filter(naming.is_config_name, names_in(workspace.sources)))
    found: dict[str, ChosenFile] = {}
    for word in words:
        for chosen in _meant(workspace, word, dropped):
            found.setdefault(os.path.realpath(os.path.dirname(chosen.path)) + os.sep + chosen.name, chosen)
    return list(found.values())


def _meant(workspace: Workspace, word: str, dropped: Iterable[str]) -> list[ChosenFile]:
    name = word.removeprefix(_FOLDER)
    fits = [n for n in dropped if name in {n, naming.stem_of(n)}]
    fits = fits or [n for n in dropped if fnmatchcase(n, name) or fnmatchcase(naming.stem_of(n), name)]
    path = os.path.expanduser(word)
    if os.path.isdir(path) and not naming.is_config_name(path) and not fits:
        raise UsageError(f"{escaped(word)} is a folder", "Name its files, such as folder/*.yaml")
    if os.path.lexists(path) and (naming.is_config_name(path) or not fits):
        folder = os.path.realpath(os.path.dirname(os.path.abspath(path)))
        return [ChosenFile(os.path.abspath(path), folder == os.path.realpath(workspace.sources))]
    if not fits:
        near = suggestions.nearest_names(naming.stem_of(name), map(naming.stem_of, dropped))
        todo = "Name a config by its path, or one of ConfigSources by its name or a glob"
        raise UsageError(
            f"There is no file {escaped(word)}",
            suggestions.did_you_mean([escaped(n) for n in near]) if near else todo,
        )
    return [ChosenFile(os.path.join(workspace.sources, n), is_dropped=True) for n in fits]


def copy(workspace: Workspace, chosen: ChosenFile) -> Drop | Problem | None:
    """Copy a file from elsewhere into ConfigSources.

    Returns:
        The copy; `None` if a file of that name with the same content is there already; otherwise why not.

    Raises:
        OSError: the disk failed.
    """
    found = chosen.read_through_links()
    if isinstance(found, Problem):
        return found
    target = os.path.join(workspace.sources, chosen.name)
    temporary = os.path.join(workspace.sources, f".copy.{os.getpid()}")
    there = ChosenFile(target, is_dropped=True)
    try:
        if not os.path.lexists(target):
            with suppress(FileNotFoundError):
                durable.unlink(temporary)
            durable.write_new(temporary, found.data)
            durable.move_new(temporary, target)
            copied = there.read()
            return copied if not isinstance(copied, Problem) else None
    except FileExistsError:  # another program dropped one meanwhile
        durable.unlink(temporary)
    before = there.read()
    if not isinstance(before, Problem) and before.data == found.data:
        return None
    what = f"a different file of this name is in {_FOLDER.rstrip('/')}"
    return Problem(chosen.name, what, "Give yours another name, or remove that one")


def remove_copy(workspace: Workspace, copied: Drop) -> None:
    """Remove a copy that was refused, with its list of problems, unless it was changed."""
    path = os.path.join(workspace.sources, copied.filename)
    if copied.is_still(path):
        with suppress(FileNotFoundError):
            durable.unlink(path)
        problems_file.clear_problems(Path(workspace.sources), copied.filename)
