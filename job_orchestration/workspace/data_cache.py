"""Keep what was parsed from large files in ``Misc/cache``, for all workers to map into memory.

An entry is named after what it holds, the version of its format, and the sha256 of the file that it was made
from, so one of other data or of another version is never found. It begins with the sha256 of all that
follows: an entry that was cut off or changed is made again. Nothing but time depends on it.

While an entry is made, its maker locks the folder, and others wait for it, but no longer than `PATIENCE`;
then they work without an entry.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from job_orchestration.workspace import durable, locks, safe_reads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PATIENCE: Final = 60.0
"""Seconds to wait for another maker."""
_LOOK_EVERY: Final = 0.05
_ALIGNED: Final = 64
"""Bytes; each part begins at a multiple."""
_DIGEST: Final = 65
"""Bytes of the first line: a sha256 as hex."""
_LARGEST: Final = (1 << 31) - (1 << 16)
"""Bytes that one `write` takes; what is larger is not kept."""
_NAME: Final = re.compile(r"[a-z-]+\.v[0-9]+\.[0-9a-f]{64}")

Part = memoryview
Made = tuple["Mapping[str, Any]", "Sequence[bytes | memoryview]"]
"""What an entry holds: values for its line of JSON, and parts."""


class Entry(NamedTuple):
    """An entry that was found whole."""

    about: Mapping[str, Any]
    parts: tuple[Part, ...]
    """Mapped and read-only: their memory is the page cache of the system."""


def name_of(kind: str, version: int, sha256: str) -> str:
    """Return the name of an entry.

    Args:
        kind: what it holds: small letters and hyphens.
        version: of the format.
        sha256: of the file that it is made from, as hex.
    """
    return f"{kind}.v{version}.{sha256}"


def found(folder: str, name: str) -> Entry | None:
    """Return an entry; `None` if there is none, or none that is whole."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        with safe_reads.plain_file(os.path.join(folder, name)) as (descriptor, size):
            mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
        whole = memoryview(mapped)
        if bytes(whole[:_DIGEST]) != _digest_of([whole[_DIGEST:]]):
            return None
        end = mapped.find(b"\n", _DIGEST)
        head = json.loads(bytes(whole[_DIGEST:end]))
        if head["name"] != name:
            return None
        parts, begin = [], end + 1
        for length in head["parts"]:
            parts.append(whole[begin : begin + length])
            begin = _aligned(begin + length)
        return Entry(head["about"], tuple(parts))
    return None


def _digest_of(pieces: Sequence[bytes | memoryview]) -> bytes:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest().encode() + b"\n"


def found_or_made(folder: str, name: str, make: Callable[[], Made]) -> Entry | None:
    """Return an entry, and make it if there is none.

    Args:
        folder: ``Misc/cache``.
        name: from `name_of`.
        make: gives what it holds; called under the lock of the folder.

    Returns:
        `None` if it could not be kept: the disk refuses, it is too large, or another process makes one for
        longer than `PATIENCE`.

    Raises:
        Exception: what `make` raises.
    """
    if (entry := found(folder, name)) is not None:
        return entry
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            durable.make_folder(folder)
            with locks.folder_lock(folder, wait=False):
                if (entry := found(folder, name)) is None:
                    store(folder, name, *make())
                    entry = found(folder, name)
                return entry
        except BlockingIOError:
            if time.monotonic() > deadline:
                return None
            time.sleep(_LOOK_EVERY)
            if (entry := found(folder, name)) is not None:
                return entry
        except OSError:
            return None


def store(folder: str, name: str, about: Mapping[str, Any], parts: Sequence[bytes | memoryview]) -> None:
    """Write an entry as one durable step, unless it is too large.

    Raises:
        OSError: the disk refuses.
    """
    head = json.dumps({"name": name, "about": about, "parts": [len(part) for part in parts]}).encode()
    line = head.ljust(_aligned(_DIGEST + len(head) + 1) - _DIGEST - 1) + b"\n"
    pieces = [line, *(piece for part in parts for piece in (part, bytes(_aligned(len(part)) - len(part))))]
    if _DIGEST + sum(map(len, pieces)) <= _LARGEST:
        durable.replace(os.path.join(folder, name), b"".join([_digest_of(pieces), *pieces]))


def _aligned(place: int) -> int:
    return -(-place // _ALIGNED) * _ALIGNED


def beyond(folder: str, limit: int) -> list[str]:
    """Return the paths of the entries that were made first, until the others take no more than a limit."""
    entries = []
    for name in safe_reads.names_in(folder):
        path = os.path.join(folder, name)
        with suppress(OSError):
            if _NAME.fullmatch(name):
                status = os.lstat(path)
                entries.append((status.st_mtime_ns, status.st_size, path))
    going, total = [], sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= limit:
            break
        going.append(path)
        total -= size
    return going
