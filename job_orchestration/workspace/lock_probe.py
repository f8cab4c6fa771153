"""Probe whether `flock` works on a file system, within and across machines.

All claims depend on `flock` refusing a second holder. A local file system and NFS version 4 do so. An NFS
mount with local locks (`nolock`) grants the same lock on two machines at once; FUSE and synchronised folders
give no guarantee. Workers do not start there. A trial lock on one machine cannot detect this, so the type of
the file system is checked first.
"""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import pwd
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.errors import WorkspaceError

if TYPE_CHECKING:
    from job_orchestration.workspace.layout import Workspace

_LOCAL: Final = frozenset(
    "ext2 ext3 ext4 xfs btrfs tmpfs ramfs zfs f2fs jfs reiserfs bcachefs overlay apfs hfs ufs".split()  # noqa: SIM905
)
_DROPBOX: Final = ".dropbox"
"""Files that mark a synchronised folder; a folder of this name in a home only holds settings."""
_SYNCHRONISED: Final = {
    _DROPBOX: "Dropbox",
    ".dropbox.cache": "Dropbox",
    ".stfolder": "Syncthing",
    ".SyncArchive": "Resilio Sync",
    ".nextcloudsync.log": "Nextcloud",
    ".owncloudsync.log": "ownCloud",
}
_MOVE: Final = "Move the workspace to a local disk or to an NFS version 4 mount"
_TODO: Final = {
    errno.EROFS: "Mount its file system for writing",
    errno.EACCES: "Give yourself the right to write there",
}
"""What to do about errors that say nothing of locks."""


def require_locks(workspace: Workspace) -> None:
    """Make sure that locks work in a workspace.

    Raises:
        WorkspaceError: if they may not; the message says how to mount, or where to move.
    """
    fault = fault_of_place(workspace.root)
    if fault is not None:
        raise WorkspaceError(*fault)
    fault = fault_of_locks(os.path.join(workspace.misc, "VERSION"))
    if fault is not None:
        raise WorkspaceError(*fault)


def fault_of_place(root: str) -> tuple[str, str] | None:
    """Return why the locks of a folder's file system cannot be trusted, and what to do; takes no lock."""
    trouble = fault_of_mount(mounts(), device_of(root))
    if trouble is not None:
        return f"{root} {trouble[0]}", trouble[1]
    service = _synchroniser(root)
    if service is not None:
        return f"{root} lies in a folder of {service}, which does not keep locks", _MOVE
    return None


def mounts() -> str:
    """Return the text of ``/proc/self/mountinfo`` (proc(5)); empty if the system is not Linux."""
    with (
        suppress(OSError),
        open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file,
    ):
        return file.read()
    return ""


def device_of(path: str) -> str:
    """Return ``MAJOR:MINOR`` of the file system of a path."""
    device = os.stat(path).st_dev
    return f"{os.major(device)}:{os.minor(device)}"


def fault_of_mount(mounts: str, device: str) -> tuple[str, str] | None:
    """Return what is wrong with the mount of a device, and what to do about it.

    Args:
        mounts: the text of ``/proc/self/mountinfo`` (proc(5)).
        device: ``MAJOR:MINOR``.

    Returns:
        `None` if its locks can be trusted, or nothing is known of it.
    """
    kind, options = mounted(mounts, device)
    if kind is None or kind in _LOCAL:
        return None
    if kind in {"nfs", "nfs4"}:
        if "nolock" in options or "local_lock=flock" in options or "local_lock=all" in options:
            what = "is on an NFS mount with local locks, which every machine grants to itself"
            return what, "Mount it with vers=4.2 and without nolock and local_lock"
        return None
    what = f"is on a file system of type {kind}, whose locks are not known to work between machines"
    return what, _MOVE


def mounted(mounts: str, device: str) -> tuple[str | None, set[str]]:
    """Return the type and the options of a device's mount; `None` as type if it is not listed."""
    for line in mounts.splitlines():
        mount, _, source = line.partition(" - ")
        fields, about = mount.split(), source.split()
        if len(fields) > 5 and fields[2] == device and len(about) > 2:  # noqa: PLR2004  # as proc(5) counts them
            return about[0], {*fields[5].split(","), *about[2].split(",")}
    return None, set()


def _synchroniser(root: str) -> str | None:
    folder = root
    while True:
        for name, service in _SYNCHRONISED.items():
            marker = os.path.join(folder, name)
            if os.path.lexists(marker) and not (name == _DROPBOX and os.path.isdir(marker)):
                return service
        if os.path.dirname(folder) == folder:
            return None
        folder = os.path.dirname(folder)


def fault_of_locks(path: str) -> tuple[str, str] | None:
    """Try to lock a file twice; return why its locks cannot be trusted, and what to do."""
    folder = os.path.dirname(path)
    first = second = -1
    try:
        first = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        second = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(first, fcntl.LOCK_SH)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
    except OSError as error:
        todo = _TODO.get(error.errno or 0, _MOVE)
        return f"Files in {folder} cannot be locked: {error.strerror}", todo
    finally:
        for descriptor in (first, second):
            if descriptor >= 0:
                os.close(descriptor)
    return f"A lock in {folder} was granted twice", _MOVE


def others_may_write(workspace: Workspace) -> str | None:
    """Return a warning if users other than the owner can write to the workspace, and so run code."""
    for folder in (workspace.root, *workspace.folders.values(), workspace.output, workspace.misc):
        status = os.stat(folder)
        if status.st_mode & 0o002:
            return f"Everybody may write to {folder}, and so run code as you: chmod go-w it."
        if status.st_mode & 0o020 and not _is_private_group(status.st_gid, status.st_uid):
            return f"The group of {folder} may write to it, and so run code as you: chmod g-w it."
    return None


def _is_private_group(group: int, owner: int) -> bool:
    """Return whether a group is a user's private group, as many systems create for each user."""
    with suppress(KeyError):
        found, name = grp.getgrgid(group), pwd.getpwuid(owner).pw_name
        return found.gr_name == name and set(found.gr_mem) <= {name}
    return False
