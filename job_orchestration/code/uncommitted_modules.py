"""Explain an import that fails because the commit lacks a file that the work tree has.

Files that git ignores are no uncommitted changes, and a snapshot does not have them: a ``_version.py`` that a
build writes, an extension that was built in place, a table that is read on import. Python then speaks of a
missing module, or even of a circular import.
"""

from __future__ import annotations

import os
import re
import sys
from importlib.machinery import all_suffixes
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.errors import CodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FROM: Final = re.compile(r"cannot import name '([^']+)' from (?:partially initialized module )?'([^']+)'")
_RULE: Final = re.compile(r"(?P<file>.+?):(?P<line>[0-9]+):(?P<pattern>[^\t]*)\t")


def explanation(
    error: ImportError | FileNotFoundError, work_tree: str, snapshot: str, folder: str
) -> str | None:
    """Return a sentence if what could not be imported or read is in the work tree, but not in the commit.

    Args:
        error: what the import raised.
        work_tree: the work tree that the snapshot is a checkout of.
        snapshot: the folder of the snapshot.
        folder: the folder in the snapshot that the working directory shows.
    """
    wanted = _modules(error) if isinstance(error, ImportError) else _files(error, folder)
    for what, path in wanted:
        inside = os.path.relpath(path, snapshot)
        there = os.path.join(work_tree, inside)
        if not inside.startswith("..") and os.path.exists(there) and not os.path.exists(path):
            return f"{what} is in the work tree, but {_reason(there, inside)}"
    return None


def _modules(error: ImportError) -> Iterator[tuple[str, str]]:
    """The modules that may be meant, each with every path that it could have."""
    names = [error.name] if error.name else []
    if match := _FROM.search(str(error)):
        names = [f"{match[2]}.{match[1]}"]
    for name in names:
        package, _, last = name.rpartition(".")
        folders = getattr(sys.modules.get(package), "__path__", []) if package else sys.path
        places = list(folders) or [os.path.join(path, *package.split(".")) for path in sys.path]
        for folder in places:
            for suffix in (*all_suffixes(), ""):
                yield f"Module {name}", os.path.join(os.path.abspath(folder), f"{last}{suffix}")


def _files(error: FileNotFoundError, folder: str) -> Iterator[tuple[str, str]]:
    if isinstance(error.filename, str):
        path = os.path.abspath(error.filename)
        inside = os.path.relpath(path)
        if not os.path.isabs(error.filename) or not inside.startswith(os.pardir):
            path = os.path.normpath(os.path.join(folder, inside))
        yield f"File {os.path.basename(error.filename)}", path


def _reason(path: str, inside: str) -> str:
    """Why the commit does not have a file, and what to do."""
    from job_orchestration.code import git

    arguments = ("--verbose", "--no-index", "--", os.path.basename(path))
    try:
        said = os.fsdecode(git.run("check-ignore", *arguments, folder=os.path.dirname(path), accept=(0, 1)))
    except CodeError:
        said = ""
    rule = _RULE.match(said)
    if rule is None:
        return f"the commit does not have it: {inside}. Commit it: git add {inside}"
    name = os.path.basename(rule["file"])
    return (
        f"{name} names it (line {rule['line']}: {rule['pattern']}), so the commit does not have it: "
        f"{inside}. Commit it: git add --force {inside}. "
        "Or have the tasks make it, or install it as a package"
    )
