"""Looking at a workspace with nothing but its files: a fault in the product's own reading hides nothing."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PLACES = ("ConfigSources", "ConfigsToRun", "Running", "Completed", "Failed")


def events(workspace: Path, run: str, kind: str | None = None) -> list[dict[str, object]]:
    """The events of a run in order, or only those of one kind."""
    files = sorted((workspace / "Output" / run / "journal").glob("*.jsonl"))
    found = [json.loads(line) for path in files for line in path.read_bytes().split(b"\n")[:-1] if line]
    return [e for e in found if kind in {None, e["event"]}]


def names(workspace: Path, place: str) -> list[str]:
    """The configs or tokens in one of the folders, by stem."""
    return sorted(p.name.partition("~")[0].removesuffix(".yaml") for p in (workspace / place).glob("*.yaml"))


def tree(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything in a folder that any change to it would change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_ino, status.st_mtime_ns, digest)
    return found
