r"""Store a GenePlexus object in one file: a line of JSON about it, then its pickle.

A pickle is bound to the versions of the libraries that wrote it, and a model to the parameters and data it
was made with. So both stand in front as the *fingerprint*, in the same file, and the one rename that puts
the file in place commits both. A file whose fingerprint or checksum differs is not unpickled at all.
Files come only from the run's own folder: a pickle from somewhere else could do anything.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import pickle
import platform
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

LIBRARIES = ("geneplexus", "numpy", "pandas", "scikit-learn", "scipy", "networkx")
"""Libraries that a model's figures and its pickle depend on."""


class CheckpointError(Exception):
    """The file cannot be used here; the message says why."""


def versions() -> dict[str, str]:
    """The versions of Python and of all `LIBRARIES`."""
    return {
        "python": platform.python_version(),
        **{name: version_of(name) for name in LIBRARIES},
    }


@lru_cache
def version_of(library: str) -> str:
    """The installed version of a library; found once in a process and the forks of it."""
    return importlib.metadata.version(library)


def fingerprint(parameters: dict[str, Any]) -> dict[str, Any]:
    """The versions and parameters that a model depends on, with a digest of the parameters."""
    text = json.dumps(parameters, sort_keys=True, ensure_ascii=False)
    return {"versions": versions(), "parameters": hashlib.sha256(text.encode()).hexdigest()}


def pack(model: object, mark: dict[str, Any], record: dict[str, Any]) -> bytes:
    """Serialise a model with its fingerprint and the record of how it was made."""
    body = pickle.dumps(model, protocol=pickle.HIGHEST_PROTOCOL)
    head = {"fingerprint": mark, "record": record, "sha256": hashlib.sha256(body).hexdigest()}
    return json.dumps(head).encode() + b"\n" + body


def unpack(data: bytes, mark: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the model in a file's content, and its record.

    Raises:
        CheckpointError: it is damaged, or was made with other versions or parameters.
    """
    line, _, body = data.partition(b"\n")
    try:
        head = json.loads(line)
        differing = _differences(head["fingerprint"], mark)
        whole = hashlib.sha256(body).hexdigest() == head["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError("it is damaged") from error
    if differing:
        raise CheckpointError(f"it was made with {differing}")
    if not whole:
        raise CheckpointError("it is damaged")
    return pickle.loads(body), head["record"]  # noqa: S301  our own run's file; its checksum and versions are checked


def replace(path: Path, data: bytes) -> None:
    """Replace a file atomically: after a power cut the old or the new one is there, whole."""
    temporary = path.with_name(f"{path.name}.part")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _differences(stored: dict[str, Any], now: dict[str, Any]) -> str:
    old, new = stored["versions"], now["versions"]
    parts = [
        f"{name} {old.get(name, 'absent')} (here {new.get(name, 'absent')})"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    if stored["parameters"] != now["parameters"]:
        parts.append("other parameters, genes or data")
    return ", ".join(parts)
