"""A machine of our own: Debian's kernel and programs in QEMU, without KVM, for what this kernel cannot do.

The disk is made once by ``debootstrap`` and kept; it needs root and a Debian-like system, and takes some
minutes. A play is a folder that goes into the guest as a second disk and whose ``start`` is run there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
KEPT = Path(os.environ.get("SOAK_CACHE", Path(tempfile.gettempdir(), "job_orchestration_soak")), "guest")
TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "debootstrap": "debootstrap", "mke2fs": "e2fsprogs"}
SUITE = "bookworm"
PACKAGES = (
    "linux-image-cloud-amd64,nfs-kernel-server,nfs-common,rpcbind,netbase,"
    "python3,git,iproute2,kmod,procps,ca-certificates"
)
INIT = """#!/bin/sh
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sys /sys
mount -t tmpfs tmp /run
mount -t tmpfs tmp /tmp
mount -o remount,rw /
mkdir -p /play && tar xf /dev/vdb -C /play
cd /play && sh ./start
sync
echo o > /proc/sysrq-trigger
sleep 60
"""


def require_tools() -> None:
    """Install what is missing, where that can be done; skip the test where it cannot."""
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool, path=_path()) is None]
    if missing and os.getuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *missing]):
            subprocess.run(["apt-get", *words], env=environment, check=False, timeout=900)
    for tool, package in TOOLS.items():
        if shutil.which(tool, path=_path()) is None:
            pytest.skip(f"there is no {tool} (package {package}), and it could not be installed")
    if os.getuid() != 0 and not (KEPT / "root.img").exists():
        pytest.skip("only root can make the disk of the guest")


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _archive() -> list[str]:
    """Where this system has its own packages from; debootstrap's usual place when it does not say."""
    for path in (*Path("/etc/apt/sources.list.d").glob("*.sources"), Path("/etc/apt/sources.list")):
        if path.exists() and (
            found := re.search(r"^(?:URIs:|deb\s)\s*(https?://\S+)", path.read_text(), re.MULTILINE)
        ):
            return [found[1]]
    return []


def disk() -> Path:
    """The folder with the guest's disk, kernel and initial RAM disk; made when it is not there."""
    image = KEPT / "root.img"
    if image.exists():
        return KEPT
    KEPT.mkdir(parents=True, exist_ok=True)
    root = KEPT / "root"
    shutil.rmtree(root, ignore_errors=True)
    options = ("--variant=minbase", f"--include={PACKAGES}")
    made = subprocess.run(
        ["debootstrap", *options, SUITE, str(root), *_archive()],
        env={**os.environ, "PATH": _path()},
        check=False,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    if made.returncode != 0:
        pytest.skip(f"the guest could not be made: {made.stdout[-500:]}")
    init = root / "play-init"
    init.write_text(INIT)
    init.chmod(0o755)
    shutil.copy(next((root / "boot").glob("vmlinuz-*")), KEPT / "kernel")
    shutil.copy(next((root / "boot").glob("initrd.img-*")), KEPT / "initrd")
    half = KEPT / "half.img"
    command = ["mke2fs", "-q", "-t", "ext4", "-F", "-d", str(root), str(half), "2500M"]
    subprocess.run(command, env={**os.environ, "PATH": _path()}, check=True, timeout=900)
    half.rename(image)
    shutil.rmtree(root)
    return KEPT


def packages(folder: Path) -> None:
    """Put what the product needs into a folder, for the guest's Python."""
    needs = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["dependencies"]
    target = ("--target", str(folder), "--only-binary=:all:", "--platform", "manylinux2014_x86_64")
    python = ("--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "abi3")
    command = [sys.executable, "-m", "pip", "install", "--quiet", *target, *python, "--abi", "none", *needs]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        pytest.skip(f"the packages for the guest could not be had: {done.stderr[-500:]}")


def run(play: Path, *, limit: float, memory: int = 1536, kept_at: Path | None = None) -> str:
    """Boot the guest, run ``start`` of a play in it, and return what its console said.

    Args:
        play: the folder; it lies in ``/play`` there.
        limit: seconds after which the guest is ended.
        memory: of the guest, in MiB.
        kept_at: where the console is written while it talks.
    """
    kept = disk()
    with tempfile.TemporaryDirectory() as folder:
        tar = Path(folder, "play.tar")
        subprocess.run(["tar", "cf", str(tar), "-C", str(play), "."], check=True, timeout=120)
        command = [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"),
            *("-m", str(memory), "-nographic", "-no-reboot", "-net", "none"),
            *("-kernel", str(kept / "kernel"), "-initrd", str(kept / "initrd")),
            *("-append", "root=/dev/vda rw console=ttyS0 quiet no_timer_check panic=-1 init=/play-init"),
            *("-drive", f"file={kept / 'root.img'},format=raw,if=virtio,snapshot=on"),
            *("-drive", f"file={tar},format=raw,if=virtio,readonly=on"),
        ]
        console = Path(folder, "console") if kept_at is None else kept_at
        with console.open("wb") as said:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return console.read_text(errors="replace")
