"""Names of files that editors, systems and tools leave behind: they are no part of an experiment.

They never count as uncommitted, and `ready` passes over them in ConfigSources. Patterns are those of a
``.gitignore``: one with a slash at its end means a folder. `ignoredFiles` in ``workspace.yaml`` adds others.
Pure.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

IGNORED: Final = (
    *(".DS_Store", "._*", "Thumbs.db", "desktop.ini", ".directory", ".Trash-*/"),
    *("*.swp", "*.swo", "*~", ".#*", "[#]*[#]", ".vscode/", ".idea/", ".ipynb_checkpoints/"),
    *(".venv/", "__pycache__/", "*.pyc", ".pytest_cache/", ".mypy_cache/", ".ruff_cache/"),
    *(".nfs*", ".fuse_hidden*"),
)
"""Patterns that hold in every workspace."""


def is_ignored(name: str, more: Iterable[str] = (), *, folder: bool) -> bool:
    """Return whether a name, without a path, is one of those that are left behind.

    Args:
        name: the name of a file or a folder.
        more: further patterns; one with a slash inside is about a work tree and matches no name.
        folder: whether it is a folder.
    """
    patterns = (p for p in (*IGNORED, *more) if folder or not p.endswith("/"))
    return any(fnmatch.fnmatchcase(name, pattern.rstrip("/")) for pattern in patterns)
