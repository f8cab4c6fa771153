"""Reading what a token asks of the queue: its first two lines, and nothing of the rest."""

from __future__ import annotations

import os
from typing import Final

from job_orchestration.rules import steering

_HEAD: Final = 2048
_MOST: Final = 8 << 20


def read(path: str) -> steering.Wants:
    """What the token at a path asks for; nothing when it is gone, or no file of ours."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return steering.PLAIN
    try:
        head = os.read(descriptor, _HEAD)
        told = steering.is_told(head)
        if told is None:
            head = os.pread(descriptor, _MOST, 0)
            told = steering.is_told(head)
        return steering.from_token(head) if told else steering.PLAIN
    except OSError:
        return steering.PLAIN
    finally:
        os.close(descriptor)
