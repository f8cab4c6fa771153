"""What a captured commit consists of: who signs it, and which paths of a work tree it takes."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from job_orchestration.code import special_files
from job_orchestration.diagnostics.errors import CodeError
from job_orchestration.diagnostics.problems import named

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from job_orchestration.code.work_tree import WorkTree


def signature(date: str, author: str) -> dict[str, str]:
    """Return author and date of a captured commit: fixed, so that the same content is the same commit."""
    return {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", author), ("EMAIL", ""), ("DATE", f"@{date} +0000"))
    }


def is_there(top: Path, path: str) -> bool:
    """Return whether a path is to be captured: no folder, and not below a link to one."""
    full = os.path.join(top, path)
    folder = os.path.dirname(full)
    is_folder = os.path.isdir(full) and not os.path.islink(full)
    return os.path.lexists(full) and not is_folder and os.path.realpath(folder) == folder


def lines(paths: Iterable[str]) -> bytes:
    """Return paths as git reads them from a pipe, each ended by a null."""
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


def refuse_bulk(tree: WorkTree, limit: int) -> None:
    """Refuse changes that are too large to capture, or that hold other repositories.

    Args:
        tree: the dirty work tree.
        limit: bytes that a capture may hold.

    Raises:
        CodeError: if they are.
    """
    special_files.refuse_among(tree.top, tree.dirty)
    known = {module.folder for module in tree.submodules}
    nested = [
        path
        for path in tree.own_dirty
        if path not in known and (path.endswith("/") or os.path.lexists(tree.top / path / ".git"))
    ]
    if nested:  # git does not look into a repository inside the work tree
        raise not_captured(named(nested))
    sizes = {}
    for path in tree.dirty:
        with suppress(OSError):
            sizes[path] = (tree.top / path).lstat().st_size
    if sum(sizes.values()) > limit:
        biggest = sorted(sizes, key=sizes.__getitem__, reverse=True)
        shown = named(f"{path} ({sizes[path] / 1e6:.1f} MB)" for path in biggest)
        raise CodeError(
            f"The changes in {tree.top} come to {sum(sizes.values()) / 1e6:.0f} MB, more than the "
            f"{limit // 1_000_000} MB that a capture may hold: {shown}",
            "Let .gitignore name data and results, or commit the changes",
        )


def not_captured(names: str) -> CodeError:
    """Return the error about other repositories in a work tree."""
    return CodeError(
        f"The work tree holds other repositories, which are no submodules of its commit: {names}",
        "Add and commit them as submodules, let .gitignore name them, or keep them elsewhere",
    )
