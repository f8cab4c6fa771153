"""Copy the files of a checkpoint from one run to another: by reference if that is safe, otherwise by content.

A file system that can share the blocks of two files (Btrfs, XFS, bcachefs) does so; each copy can be changed
without the other. A hard link is one file with two names: a later task that appends to it changes both runs.
So only write-protected files are linked, and none by root, which may write these as well.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from typing import TYPE_CHECKING, Final

from job_orchestration.runs.events import OutputFile
from job_orchestration.workspace import safe_reads

if TYPE_CHECKING:
    from job_orchestration.runs.artifact_store import ArtifactStore
    from job_orchestration.runs.state import TaskState

_FICLONE: Final = 0x40049409
_ANY_WRITE: Final = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


class ChangedCheckpointError(Exception):
    """A file of a checkpoint is not what its journal says; the message is a phrase about it."""


def take(run_folder: str, task: TaskState, store: ArtifactStore) -> tuple[str | None, tuple[OutputFile, ...]]:
    """Copy the files of a finished task of another run, check them and put them in place in one step.

    Args:
        run_folder: the folder of that run.
        task: the task.
        store: where the files go; it has nothing yet.

    Returns:
        The folder's name and its files, as `ArtifactStore.commit`.

    Raises:
        ChangedCheckpointError: a file is missing or is not what it was; nothing was put in place.
        OSError: the disk refuses; what was copied so far is staged.
    """
    if task.folder is None:
        return None, ()
    source = os.path.join(run_folder, task.folder)
    for folder in _folders(source):
        os.makedirs(store.folder / folder, exist_ok=True)
    files = []
    for output in task.outputs:
        name = os.path.relpath(output.path, task.folder)
        files.append(OutputFile(name, output.bytes, output.sha256))
        _copy(os.path.join(source, name), str(store.path(name)), output)
    return store.commit(files)


def _folders(top: str) -> list[str]:
    """Return the folders below one, itself included, relative to it."""
    return [os.path.relpath(parent, top) for parent, _, _ in os.walk(top)] or ["."]


def _copy(source: str, target: str, wanted: OutputFile) -> None:
    try:
        with safe_reads.plain_file(source) as (descriptor, size):
            status = os.fstat(descriptor)
            if size != wanted.bytes:
                raise ChangedCheckpointError(f"{wanted.path} has another size")
            if not _link(source, target, status) and not _clone(descriptor, target):
                shutil.copyfile(source, target, follow_symlinks=False)
    except (FileNotFoundError, safe_reads.DamagedFileError) as error:
        raise ChangedCheckpointError(f"{wanted.path} is gone") from error
    with open(target, "rb") as copied:
        if hashlib.file_digest(copied, "sha256").hexdigest() != wanted.sha256:
            raise ChangedCheckpointError(f"{wanted.path} is not what it was")
    if not os.path.samestat(os.stat(target), status):
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.chmod(target, stat.S_IMODE(status.st_mode))


def _link(source: str, target: str, status: os.stat_result) -> bool:
    """Give a write-protected file a second name; return whether that was done."""
    if status.st_mode & _ANY_WRITE or os.geteuid() == 0:
        return False
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system, or too many names
        return False
    return True


def _clone(descriptor: int, target: str) -> bool:
    """Make a file that shares the blocks of another one; return whether the file system can do that."""
    with open(target, "xb") as file:
        try:
            fcntl.ioctl(file.fileno(), _FICLONE, descriptor)
        except OSError:
            return False
    return True
