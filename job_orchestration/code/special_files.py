"""Refuse FIFOs, devices and sockets where git reads a file: it would wait for them, or read without end."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.errors import CodeError
from job_orchestration.diagnostics.problems import named

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_READ_BY_GIT: Final = (
    *("HEAD", "config", "index", "packed-refs", "info/exclude", "info/attributes", "shallow", "commondir"),
    *("objects/info/alternates", "objects/info/commit-graph"),
)
"""Files of a repository that git reads for nearly every command."""


def refuse_around(path: Path) -> None:
    """Look at what git reads first around a folder.

    Raises:
        CodeError: with the path of what is neither a file nor a folder.
    """
    for folder in (path, *path.parents):
        dot_git = folder / ".git"
        inside = [dot_git / name for name in _READ_BY_GIT] if dot_git.is_dir() else []
        for file in (dot_git, folder / ".gitignore", folder / ".gitattributes", *inside):
            if _is_special(file, follow=True):
                raise CodeError(
                    f"{file} is neither a file nor a folder, and git would wait for it", "Remove it"
                )
        if os.path.lexists(dot_git):
            return


def refuse_among(top: Path, names: Iterable[str]) -> None:
    """Look at the uncommitted files of a work tree that are to be captured.

    Args:
        top: the work tree.
        names: paths relative to it.

    Raises:
        CodeError: with the paths of those that no commit can hold.
    """
    special = [name for name in names if _is_special(top / name, follow=False)]
    if special:
        raise CodeError(
            f"The work tree holds what no commit can hold (FIFOs, devices, sockets): {named(special)}",
            "Remove them, or let .gitignore name them",
        )


def _is_special(path: Path, *, follow: bool) -> bool:
    try:
        mode = path.stat(follow_symlinks=follow).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))
