"""Where things are kept, and where the measured work is done."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("BENCH_CACHE") or TOP / ".bench").absolute()
"""Environments and what was measured; may be deleted at any time."""
DATA = Path(os.environ.get("GENEPLEXUS_DATA") or TOP.parent / "shared" / "geneplexus_data").absolute()
MEMORY = Path("/dev/shm")
DISK = Path(os.environ.get("BENCH_DISK") or CACHE / "space").absolute()

PLACES = ("tmpfs", "disk")


@contextmanager
def space(where: str) -> Iterator[Path]:
    """An empty folder in memory or on the disk, gone afterwards.

    Its path is short, because the sockets of some tools lie in it.
    """
    parent = MEMORY if where == "tmpfs" and MEMORY.is_dir() else DISK
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="b", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
