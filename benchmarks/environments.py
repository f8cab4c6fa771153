"""The environment of each peer: its own, made when first needed, from PyPI and Debian packages alone."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.places import CACHE

if TYPE_CHECKING:
    from benchmarks.shape import Peer

LIMIT = 900
"""Seconds that an installation may take."""


class NotInstalledError(Exception):
    """A peer could not be installed here; the text says why."""


def programs_of(peer: Peer) -> Path:
    """The folder of a peer's programs; installs it when that has not been done.

    Raises:
        NotInstalledError: when that failed, now or before.
    """
    if peer.ours:
        return Path(sys.executable).parent
    folder, said = _folder_of(peer), _said_of(peer)
    if not said.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        print(f"   installing {peer.name}", flush=True)
        said.write_text(_install(peer, folder))
    if fault := fault_of(peer):
        raise NotInstalledError(fault)
    return folder / "bin"


def fault_of(peer: Peer) -> str:
    """Return why a peer could not be installed; empty if it was installed or never tried."""
    said = _said_of(peer)
    return said.read_text() if said.exists() else ""


def _folder_of(peer: Peer) -> Path:
    name = re.sub(r"\W+", "-", " ".join((*peer.packages, *peer.debian))) or "bare"
    return CACHE / "environments" / name


def _said_of(peer: Peer) -> Path:
    return _folder_of(peer).with_suffix(".txt")


def _install(peer: Peer, folder: Path) -> str:
    """Install a peer; returns what went wrong, or nothing."""
    try:
        _run([sys.executable, "-m", "venv", str(folder)])
        if peer.packages:
            pip = [
                str(folder / "bin" / "python"),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]
            _run([*pip, *peer.packages])
        for package in peer.debian:
            _unpack(package, folder)
        if peer.repair is not None:
            peer.repair(folder)
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "").strip().splitlines()
        return f"{error.cmd[0]} failed: {lines[-1] if lines else error.returncode}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return ""


def _unpack(package: str, folder: Path) -> None:
    """Unpack a Debian package beside the environment, and put its programs among the environment's."""
    away = folder / "debian"
    away.mkdir(exist_ok=True)
    _run(["apt-get", "download", package], cwd=away)
    for archive in away.glob("*.deb"):
        _run(["dpkg-deb", "--extract", str(archive), str(away)])
        archive.unlink()
    for program in (away / "usr" / "bin").iterdir():
        target = folder / "bin" / program.name
        if not target.exists():
            target.symlink_to(program)


def _run(words: list[str], cwd: Path | None = None) -> None:
    subprocess.run(words, cwd=cwd, check=True, capture_output=True, text=True, timeout=LIMIT)
