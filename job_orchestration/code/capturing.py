"""What a captured commit consists of: who signs it, and which paths of a work tree it takes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


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
