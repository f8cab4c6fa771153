"""The files that differ between the code of two runs, from the workspace's own store of code.

A person's repository is not read, but for the files of its work tree when a run is compared with that. The
lines are compared by `difflib`: git would obey attributes, text converters and diff programs.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.code import commits, git, work_tree
from job_orchestration.diagnostics.errors import CodeError
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from job_orchestration.code.snapshots import CodeStore

_MOST_BYTES: Final = 1 << 20
"""A larger file is compared as a whole, like one that is no text."""
_SHA1: Final = 40


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that two versions of the code do not have alike."""

    path: str
    """Relative to the top of the repository."""
    status: str
    """``added``, ``removed`` or ``changed``."""
    added: int | None
    """The number of lines that only the second version has; `None` for a file that is no text."""
    removed: int | None
    """The number of lines that only the first version has."""
    patch: tuple[str, ...]
    """The lines of a unified diff."""

    def as_json(self) -> dict[str, Any]:
        """Return the change as ``diff --json`` has it."""
        return {
            "path": self.path,
            "status": self.status,
            "lines_added": self.added,
            "lines_removed": self.removed,
            "patch": "\n".join(self.patch) or None,
        }


@dataclass(frozen=True, slots=True)
class TaskCode:
    """A task whose code differs although, or otherwise than, the code of its runs does: one was retried."""

    task: str
    before: str
    """The commit that it ran in."""
    after: str
    files: tuple[str, ...]
    """The paths of the files that differ."""

    def as_json(self) -> dict[str, Any]:
        """Return it as ``diff --json`` has it."""
        return {"task": self.task, "before": self.before, "after": self.after, "files": list(self.files)}


@dataclass(frozen=True, slots=True)
class CodeChanges:
    """The differences between two versions of the code of runs."""

    before: str | None
    """A commit; `None` if the run has no code of its own."""
    after: str | None
    """A commit, or the path of a work tree."""
    files: tuple[FileChange, ...] = ()
    """The files below the tasks' folder, and those that the tasks imported."""
    others: int = 0
    """The number of other files that changed."""
    fault: str | None = None
    """Why the files cannot be compared; `None` if they were."""
    tasks: tuple[TaskCode, ...] = ()
    """The tasks that ran in other commits than the last ones of their runs, and differ."""

    def as_json(self) -> dict[str, Any]:
        """Return the changes as ``diff --json`` has them."""
        return {
            "before": self.before,
            "after": self.after,
            "files": [file.as_json() for file in self.files],
            "other_files": self.others,
            "fault": self.fault,
            "tasks": [task.as_json() for task in self.tasks],
        }


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the code: the hash of each file by its path, and how to read one."""

    name: str
    files: Mapping[str, str]
    read: Callable[[str], bytes] = field(repr=False)


def without(before: str | None, after: str | None, fault: str) -> CodeChanges:
    """The changes of two versions whose files cannot be compared, and why."""
    return CodeChanges(before, after, fault=None if before == after else fault)


def between_commits(
    store: CodeStore, before: str, after: str, folders: Iterable[str], imported: Collection[str]
) -> CodeChanges:
    """Compare two commits.

    Args:
        store: holds both.
        before: the first commit.
        after: the second commit.
        folders: folders of tasks, relative to the top; ``.`` is all of it.
        imported: files that tasks imported, relative to the top.
    """
    if before == after:
        return CodeChanges(before, after)
    try:
        return _compare(_version(store, before), _version(store, after), folders, imported)
    except CodeError as error:
        return CodeChanges(before, after, fault=str(error))


def with_work_tree(
    store: CodeStore, before: str, top: Path, folders: Iterable[str], imported: Collection[str]
) -> CodeChanges:
    """Compare a commit with the files of a work tree as they are now; arguments as above."""
    try:
        version = _version(store, before)
        return _compare(version, _version_on_disk(top, version), folders, imported)
    except CodeError as error:
        return CodeChanges(before, str(top), fault=str(error))


def _version(store: CodeStore, commit: str) -> Version:
    files = commits.files(store, commit)
    own = store.of(commit)

    def read(path: str) -> bytes:
        words = ("cat-file", "blob", files[path])
        return git.run(*words, folder=str(own.repository), environment=own.environment())

    return Version(commit, files, read)


def _version_on_disk(top: Path, known: Version) -> Version:
    """The files that git tracks or would add, and those of the other version that are there."""
    kind = hashlib.sha1 if len(known.name) == _SHA1 else hashlib.sha256

    def read(path: str) -> bytes:
        full = top / path
        return os.fsencode(os.readlink(full)) if full.is_symlink() else full.read_bytes()

    def name_of(path: str) -> str | None:
        try:
            data = read(path)
        except OSError:
            return None
        names = [kind(b"blob %d\0" % len(one) + one).hexdigest() for one in (data, _with_plain_ends(data))]
        return next((name for name in names if name == known.files.get(path)), names[0])

    paths = {*work_tree.listed(top), *known.files}
    found = {path: name_of(path) for path in paths}
    return Version(str(top), {path: name for path, name in found.items() if name is not None}, read)


def _with_plain_ends(data: bytes) -> bytes:
    """The text as git keeps it where it converts the ends of lines."""
    return data.replace(b"\r\n", b"\n")


def _compare(
    before: Version, after: Version, folders: Iterable[str], imported: Collection[str]
) -> CodeChanges:
    paths = before.files.keys() | after.files.keys()
    changed = sorted(path for path in paths if before.files.get(path) != after.files.get(path))
    tops = tuple("" if folder in {".", ""} else f"{folder.rstrip('/')}/" for folder in folders)
    used = [path for path in changed if path.startswith(tops) or path in imported]
    files = tuple(_file_change(path, before, after) for path in used)
    return CodeChanges(before.name, after.name, files, len(changed) - len(used))


def _file_change(path: str, before: Version, after: Version) -> FileChange:
    status = "added" if path not in before.files else "changed" if path in after.files else "removed"
    old, new = (_text(version.read(path)) if path in version.files else [] for version in (before, after))
    if old is None or new is None:
        return FileChange(path, status, None, None, ())
    name = escaped(path)
    patch = tuple(difflib.unified_diff(old, new, f"a/{name}", f"b/{name}", lineterm=""))
    lines = patch[2:]  # behind the names
    added, removed = (sum(line.startswith(sign) for line in lines) for sign in "+-")
    return FileChange(path, status, added, removed, tuple(_printable(patch)))


def _text(data: bytes) -> list[str] | None:
    """The lines of a file; `None` if it is no text."""
    if len(data) > _MOST_BYTES or b"\0" in data:
        return None
    try:
        return data.decode().splitlines()
    except UnicodeDecodeError:
        return None


def _printable(lines: Iterable[str]) -> Iterator[str]:
    """Escape what a terminal would obey; tabs stay."""
    for line in lines:
        yield "\t".join(escaped(part) for part in line.split("\t"))
