"""Find garbage in a workspace and delete it.

A folder is first renamed into a scratch folder and deleted there, so it is never seen half deleted. A scratch
folder left by a crash is garbage itself, and the next `gc` deletes it.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.code import checkouts
from job_orchestration.code.snapshots import SCRATCH
from job_orchestration.runs import record_backup
from job_orchestration.runs.catalog import living_workers
from job_orchestration.workspace import durable, locks, temporary_files
from job_orchestration.workspace.naming import TokenName
from job_orchestration.workspace.safe_reads import names_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from job_orchestration.workspace.layout import Workspace

ABANDONED: Final = 86_400.0
"""Age in seconds after which a short-lived file is garbage, even if clocks differ."""
PROBE: Final = ".doctor-"
"""Start of the name of the file that `machine_check` writes to probe the disk."""
_BLOCK: Final = 512
"""Bytes of a block as counted by stat(2)."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def size_of(path: str) -> int:
    """Return the bytes that a file or a folder takes on the disk; a file with several names counts once."""
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
    """Return the folder of each snapshot, by commit."""
    folder = os.path.join(workspace.misc, "snapshots")
    return {name: os.path.join(folder, name) for name in names_in(folder) if _COMMIT.fullmatch(name)}


def bytecode(workspace: Workspace) -> str | None:
    """Return the bytecode cache, if there is one. Python writes missing files there again."""
    return workspace.bytecode if os.path.isdir(workspace.bytecode) else None


def abandoned(workspace: Workspace) -> list[str]:
    """Return scratch folders and temporary files left by processes that died."""
    places = [
        *(
            os.path.join(workspace.misc, n)
            for n in names_in(workspace.misc)
            if n.startswith((SCRATCH, PROBE))
        ),
    ]
    old_cache = os.path.join(workspace.misc, "digests")  # `Misc/summaries` until 2026-11-26; never read
    caches = [old_cache] if os.path.isdir(old_cache) else []
    written = temporary_files.find(workspace, runs=True)
    return caches + [path for path in places if _is_abandoned(path)] + written


def stale_heartbeats(workspace: Workspace) -> list[str]:
    """Return what workers that died long ago left of themselves, unless a token in Running names them.

    These are their heartbeats, and their copies of the record of the run that they held.
    """
    named = {name.worker for n in names_in(workspace.running) if (name := TokenName.parse(n)) is not None}
    copies = record_backup.folder_of(workspace)
    return [
        path
        for folder, ending in ((workspace.workers, ".json"), (copies, ""))
        for name in names_in(folder)
        if name.endswith(ending) and name.removesuffix(ending) not in named
        if _is_abandoned(path := os.path.join(folder, name))
    ]


def _is_abandoned(path: str) -> bool:
    with suppress(OSError):
        return time.time() - os.lstat(path).st_mtime > ABANDONED
    return False


def set_aside(workspace: Workspace, path: str) -> str:
    """Move a folder into a scratch folder in one step, and return the scratch folder.

    Raises:
        OSError: if it could not be moved; it is still in its place.
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
    """Delete a file or a folder; if that fails, the next `gc` deletes the rest."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
        if os.path.isdir(path):  # folders of a snapshot are read-only
            with suppress(OSError):
                checkouts.unlock_folders(path)
            shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            durable.unlink(path)


def working_folders() -> frozenset[str]:
    """Return the working directories of all processes on this machine that this user may inspect."""
    import psutil

    return frozenset(p.info["cwd"] for p in psutil.process_iter(["cwd"]) if p.info["cwd"])


def are_all_seen(workspace: Workspace) -> bool:
    """Return whether it is known of every living worker which snapshots it uses.

    Its fork servers lock them. Those of earlier releases do not: their working directory is looked at, which
    shows only on this machine.
    """
    import psutil

    for heartbeat in living_workers(workspace):
        if heartbeat.identity is not None:
            continue
        if heartbeat.hostname != socket.gethostname():
            return False
        try:
            psutil.Process(heartbeat.pid).cwd()
        except psutil.NoSuchProcess:
            continue
        except (psutil.Error, OSError):
            return False
    return True


def is_used(folder: str, working: frozenset[str], held: frozenset[int] | None) -> bool:
    """Return whether a snapshot is seen to be in use, by its lock or by a working directory; locks nothing.

    Args:
        folder: the snapshot.
        working: the working directories of processes.
        held: the inodes that are locked on this machine.
    """
    if any(path == folder or path.startswith(folder + os.sep) for path in working):
        return True
    with suppress(FileNotFoundError):
        return held is not None and os.stat(folder).st_ino in held
    return False


def set_unused_aside(workspace: Workspace, path: str) -> str | None:
    """Move a snapshot into a scratch folder, as `set_aside`; `None` if it is in use.

    The lock tells of processes in other PID namespaces and on other machines, too.
    """
    try:
        with locks.folder_lock(path, wait=False), checkouts.unlocked(path):  # moving it needs that right
            return set_aside(workspace, path)
    except BlockingIOError:
        return None
