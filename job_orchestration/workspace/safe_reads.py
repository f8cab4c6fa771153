"""Bounded reads of files that other programs may be changing."""

from __future__ import annotations

import os
from typing import Final

_CHUNK: Final = 1 << 16


def whole(path: str) -> bytes:
    """Return all bytes of a file with few system calls, because this is done for every run."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, _CHUNK)
        while len(data) >= _CHUNK and (more := os.read(descriptor, len(data))):
            data += more
            if len(more) < _CHUNK:
                break
        return data
    finally:
        os.close(descriptor)


def names_in(folder: str) -> list[str]:
    """Return the sorted names in a folder; none if there is no such folder."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


READ_ONLY: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Flags: do not follow links, and do not wait for a FIFO without a writer."""


def read_bounded(descriptor: int, most: int) -> bytes:
    """Return the whole content, but at most one byte more than the limit."""
    chunks: list[bytes] = []
    rest = most + 1
    while rest > 0 and (chunk := os.read(descriptor, rest)):
        chunks.append(chunk)
        rest -= len(chunk)
    return b"".join(chunks)
