"""Disks of a test's own: a file system in a file whose power can be cut, and a small one that gets full.

A cut takes what the disk holds at one moment. The file is copied while nothing stops the kernel from writing
back, so the copy is compared with the file when it is done: when both are equal, the copy is what the file
held at the moment between the two. Loop devices have no cache of their own; what was never sent to the disk
is not in the copy, and what was sent is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 60
"""Seconds that any of the commands below may take."""


class Kind(NamedTuple):
    """A kind of file system: how it is made, how big it is and how it is mounted."""

    make: tuple[str, ...]
    megabytes: int
    options: str = "loop"


KINDS = {
    "ext4": Kind(("mkfs.ext4", "-q", "-I", "256"), 192),
    "ext4 without ordering": Kind(
        ("mkfs.ext4", "-q", "-I", "256"), 192, "loop,data=writeback,noauto_da_alloc,commit=1"
    ),
    "xfs": Kind(("mkfs.xfs", "-q"), 320),
    "btrfs": Kind(("mkfs.btrfs", "-q"), 320),
}
PACKAGES = {"mkfs.ext4": "e2fsprogs", "mkfs.xfs": "xfsprogs", "mkfs.btrfs": "btrfs-progs"}


def call(*words: str | os.PathLike[str]) -> None:
    """Run a command that must succeed."""
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=LIMIT)
    if done.returncode:
        raise OSError(f"{words}: {done.stderr.strip()}")


def install(*programs: str) -> None:
    """Install what is missing, where that is possible: for the long forms."""
    missing = [p for p in programs if shutil.which(p) is None]
    if not missing or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "--yes", *(PACKAGES[p] for p in missing)]):
        subprocess.run(
            ["apt-get", "-qq", *words], check=False, env=environment, capture_output=True, timeout=600
        )


def why_not(kind: str, folder: Path) -> str | None:
    """Why there can be no disk of a kind on this machine."""
    program = KINDS[kind].make[0]
    if os.geteuid() != 0:
        return "only root can mount a file system"
    if shutil.which(program) is None:
        return f"{program} is not installed"
    disk = Disk(folder / "trial", kind)
    try:
        disk.make()
    except OSError as error:
        return f"this machine cannot mount {kind}: {error}"
    finally:
        disk.close()
    return None


class Disk:
    """A file system in a file, mounted at ``folder/disk``."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.kind = KINDS[kind]
        self.image = folder / "image"
        self.top = folder / "disk"
        self.top.mkdir(parents=True)

    def make(self) -> None:
        """Make it, empty, and mount it."""
        with self.image.open("wb") as file:
            file.truncate(self.kind.megabytes << 20)
        call(*self.kind.make, self.image)
        self.mount()

    def mount(self) -> None:
        """Mount what the image holds."""
        call("mount", "-o", self.kind.options, self.image, self.top)

    def unmount(self) -> None:
        """Unmount it; somebody who was killed a moment ago may still have it."""
        deadline = time.monotonic() + LIMIT
        while True:
            try:
                call("umount", self.top)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def copy(self) -> Path:
        """What the disk holds now, as another image."""
        copy = self.image.with_name("copy")
        deadline = time.monotonic() + LIMIT
        while True:
            copy.unlink(missing_ok=True)
            call("cp", "--sparse=auto", self.image, copy)
            same = subprocess.run(["cmp", "-s", self.image, copy], check=False, timeout=LIMIT)
            if same.returncode == 0:
                return copy
            assert time.monotonic() < deadline, "the disk never comes to rest"

    def become(self, copy: Path) -> None:
        """Go on with an image that was copied, as after a power cut."""
        self.unmount()
        copy.replace(self.image)
        self.mount()

    def close(self) -> None:
        """Unmount it, if it is mounted, and give its memory back."""
        if os.path.ismount(self.top):
            self.unmount()
        self.image.unlink(missing_ok=True)


class Memory:
    """A file system in memory, mounted at a folder: small enough to get full, or just fast.

    Args:
        folder: made if it is not there.
        options: as in ``size=4m,nr_inodes=2000``.
    """

    def __init__(self, folder: Path, options: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        call("mount", "-t", "tmpfs", "-o", options, "tmpfs", folder)

    def resize(self, options: str) -> None:
        """Give it other limits while it is used."""
        call("mount", "-o", f"remount,{options}", self.folder)

    def close(self) -> None:
        """Unmount it, with all that is in it."""
        deadline = time.monotonic() + LIMIT
        while os.path.ismount(self.folder):
            try:
                call("umount", self.folder)
            except OSError:
                assert time.monotonic() < deadline, f"{self.folder} is still in use"
                time.sleep(0.05)
