"""What lies in a workspace and is of no use to anybody, and how it goes.

Nothing is ever half gone: a folder is first renamed into a scratch folder, where nobody looks for it, and
taken apart there. What a kill leaves of that is litter itself, for the next one who cleans.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.files import durable
from job_orchestration.files.code import SCRATCH
from job_orchestration.rules.naming import TokenName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from job_orchestration.files.workspace import Workspace

ABANDONED: Final = 86_400.0
"""Seconds after which nobody is still at work on what is made in minutes, whatever the clocks say."""
PROBE: Final = ".doctor-"
"""How the name of the file begins that is written to see how the disk does."""
_BLOCK: Final = 512
"""Bytes of what stat(2) calls a block."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_TEMPORARY: Final = re.compile(r".+\.tmp[0-9]+")


def size_of(path: str) -> int:
    """Bytes that a file or a folder takes on the disk; a file with several names counts once."""
    seen: set[tuple[int, int]] = set()
    return sum(_blocks(entry, seen) for entry in _below(path)) * _BLOCK


def _below(path: str) -> Iterator[str]:
    yield path
    if not os.path.islink(path):
        for folder, folders, files in os.walk(path):
            yield from (os.path.join(folder, name) for name in (*folders, *files))


def _blocks(path: str, seen: set[tuple[int, int]]) -> int:
    with suppress(OSError):
        status = os.lstat(path)
        identity = status.st_dev, status.st_ino
        if status.st_nlink == 1 or identity not in seen:
            seen.add(identity)
            return status.st_blocks
    return 0


def snapshots(workspace: Workspace) -> dict[str, str]:
    """The commit of each snapshot to its folder."""
    folder = os.path.join(workspace.misc, "snapshots")
    return {name: os.path.join(folder, name) for name in _names(folder) if _COMMIT.fullmatch(name)}


def bytecode(workspace: Workspace) -> str | None:
    """The cache of bytecode, where there is one. Python makes what it misses there anew."""
    return workspace.bytecode if os.path.isdir(workspace.bytecode) else None


def abandoned(workspace: Workspace) -> list[str]:
    """Scratch folders and temporary files whose makers died."""
    places = [
        *(os.path.join(workspace.misc, n) for n in _names(workspace.misc) if n.startswith((SCRATCH, PROBE))),
        *(os.path.join(workspace.workers, n) for n in _names(workspace.workers) if _TEMPORARY.fullmatch(n)),
    ]
    return [path for path in places if _is_abandoned(path)]


def stale_beats(workspace: Workspace) -> list[str]:
    """The beats of workers that died long ago; those that a token in Running names still tell who is gone."""
    named = {name.worker for n in _names(workspace.running) if (name := TokenName.parse(n)) is not None}
    return [
        path
        for name in _names(workspace.workers)
        if name.endswith(".json") and name.removesuffix(".json") not in named
        if _is_abandoned(path := os.path.join(workspace.workers, name))
    ]


def _is_abandoned(path: str) -> bool:
    with suppress(OSError):
        return time.time() - os.lstat(path).st_mtime > ABANDONED
    return False


def _names(folder: str) -> list[str]:
    with suppress(OSError):
        return sorted(os.listdir(folder))
    return []


def set_aside(workspace: Workspace, path: str) -> str:
    """Take a folder out of its place in one step; returns the scratch folder that holds it now.

    Raises:
        OSError: what the disk says; then it is still in its place.
    """
    scratch = tempfile.mkdtemp(prefix=SCRATCH, dir=workspace.misc)
    try:
        durable.rename_folder(path, os.path.join(scratch, os.path.basename(path)))
    except OSError:
        with suppress(OSError):
            os.rmdir(scratch)
        raise
    return scratch


def remove(path: str) -> None:
    """Take apart what nobody looks for any more; what cannot be removed now is litter for the next time."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            durable.unlink(path)
