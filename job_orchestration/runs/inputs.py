"""The inputs of a run: what its files were when it began, and whether they have changed since.

``inputs`` in ``provenance.json`` has the digest of the contents and names the list of files in
``Misc/inputs``, which all runs with the same files share. The digest is one of paths and contents, not of
times: a file that was only touched is the same.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config import json_floats
from job_orchestration.diagnostics import secrets
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs import file_hashes, input_files, provenance_file, stored_lists
from job_orchestration.runs.opening import PROVENANCE
from job_orchestration.workspace import clock, durable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from job_orchestration.runs.file_hashes import FileHashes
    from job_orchestration.workspace.layout import Workspace

KEY: Final = "inputs"
MOST_CHANGES: Final = 100
"""Changed files of a run that are named."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file."""

    path: str
    """As the config writes it."""
    bytes: int
    mtime: str
    """UTC, ISO 8601."""
    sha256: str | None
    """`None` if it could not be read."""

    @property
    def shown(self) -> str:
        """The path as it is written down: a file may be named by a secret."""
        return shown(self.path)

    def as_json(self) -> dict[str, Any]:
        """Return the file as the list of inputs has it."""
        return {"path": self.shown, "bytes": self.bytes, "mtime": self.mtime, "sha256": self.sha256}


@dataclass(frozen=True)
class Inputs:
    """The input files at one moment."""

    files: tuple[InputFile, ...]
    """Sorted by path."""
    missing: tuple[str, ...] = ()
    """Patterns that name no file."""

    @cached_property
    def digest(self) -> str:
        """The digest of their paths and contents."""
        found = hashlib.sha256()
        for file in self.files:
            found.update(f"{file.sha256} {file.shown}\n".encode())
        for pattern in self.missing:
            found.update(f"missing {shown(pattern)}\n".encode())
        return found.hexdigest()

    @property
    def bytes(self) -> int:
        """Their size together."""
        return sum(file.bytes for file in self.files)

    @property
    def hashes(self) -> dict[str, str | None]:
        """The sha256 of each path."""
        return {file.shown: file.sha256 for file in self.files}


def shown(path: str) -> str:
    """Return a path as it is written down."""
    return escaped(secrets.masked(path))


def current(
    workspace: Workspace,
    patterns: Sequence[str],
    base: str,
    hashes: FileHashes | None = None,
    expect: Callable[[int], None] = lambda _: None,
) -> Inputs:
    """Return the inputs as they are now; a file is hashed only if its version is not known yet.

    Args:
        workspace: whose cache of hashes is used.
        patterns: the ``inputs`` of a config.
        base: where relative ones begin: the folder of ``Tasks.py`` in the run's snapshot.
        hashes: the hashes to use; default: those of the cache.
        expect: called with the number of bytes to hash, before they are.
    """
    hashes = hashes or file_hashes.FileHashes(workspace.hashes)
    found = input_files.find(patterns, base)
    expect(_bytes_to_hash(found.files.values(), hashes))
    try:
        files = tuple(_described(path, full, hashes) for path, full in found.files.items())
    finally:
        hashes.save()
    return Inputs(files, found.missing)


def _bytes_to_hash(paths: Any, hashes: FileHashes) -> int:
    missing = 0
    for path in paths:
        with suppress(OSError):
            version = file_hashes.version_of(os.stat(path))
            missing += 0 if hashes.known(version) else version.bytes
    return missing


def _described(path: str, full: str, hashes: FileHashes) -> InputFile:
    try:
        version, sha256 = hashes.of(full)
    except OSError:
        return InputFile(path, 0, "", None)
    moment = datetime.fromtimestamp(version.mtime_ns / 1e9, UTC).isoformat()
    return InputFile(path, version.bytes, moment, sha256)


def recorded(workspace: Workspace, provenance: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return the recorded inputs of a run, by path: ``bytes``, ``mtime`` and ``sha256``; empty if unknown."""
    about = (provenance or {}).get(KEY)
    listed = stored_lists.read(workspace.inputs, about.get("list")) if isinstance(about, dict) else None
    files = listed if isinstance(listed, list) else []
    return {str(f["path"]): f for f in files if isinstance(f, dict) and "path" in f}


def changes_of(provenance: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the changes of inputs that were noticed: ``path``, ``how``, ``noticed_at`` and ``task``."""
    about = (provenance or {}).get(KEY)
    found = about.get("changed", []) if isinstance(about, dict) else []
    return [c for c in found if isinstance(c, dict) and {"path", "how"} <= c.keys()]


def difference(before: Mapping[str, str | None], after: Mapping[str, str | None]) -> dict[str, str]:
    """Return how each file that differs has changed: ``changed``, ``gone`` or ``new``."""
    found = {}
    for path in sorted({*before, *after}):
        if path not in after:
            found[path] = "gone"
        elif path not in before:
            found[path] = "new"
        elif before[path] != after[path]:
            found[path] = "changed"
    return found


def note(workspace: Workspace, run_folder: str, inputs: Inputs, task: str | None = None) -> dict[str, str]:
    """Write the inputs of a run into its provenance, or how they differ from what it has.

    Args:
        workspace: the workspace.
        run_folder: the run's folder.
        inputs: as they are now.
        task: the task that has just ended; `None` if none has.

    Returns:
        How each file differs from what was recorded when the run began; nothing if that is now.

    Raises:
        OSError: the disk refuses.
    """
    whole = provenance_file.read(run_folder) or {}
    about = whole.get(KEY)
    if not isinstance(about, dict):
        listed = stored_lists.write(workspace.inputs, [file.as_json() for file in inputs.files])
        about = {
            "digest": inputs.digest,
            "list": listed,
            "files": len(inputs.files),
            "bytes": inputs.bytes,
            "missing": [shown(pattern) for pattern in inputs.missing],
            "recorded_at": clock.timestamp(),
        }
        _write(run_folder, {**whole, KEY: about})
        return {}
    if about.get("digest") == inputs.digest:
        return {}
    before = {path: file.get("sha256") for path, file in recorded(workspace, whole).items()}
    differing = difference(before, inputs.hashes)
    known = {(c["path"], c["how"]) for c in changes_of(whole)}
    at = clock.timestamp()
    new = [
        {"path": path, "how": how, "noticed_at": at, "task": task}
        for path, how in differing.items()
        if (path, how) not in known
    ]
    if new:
        changed = [*changes_of(whole), *new][:MOST_CHANGES]
        _write(run_folder, {**whole, KEY: {**about, "changed": changed}})
    return {str(change["path"]): str(change["how"]) for change in new}


def _write(run_folder: str, provenance: Mapping[str, Any]) -> None:
    data = json_floats.text_of(dict(provenance), indent=1, ensure_ascii=False) + "\n"
    path = os.path.join(run_folder, PROVENANCE)
    durable.replace(path, data.encode("utf-8", "backslashreplace"))
