"""Tell a failure of one file or folder from one of the whole workspace or machine. Pure.

A loop over drops, runs, messages or trash entries goes on with the others if one of them cannot be read,
written or moved: it belongs to another user, its name is too long, something else has its name. It ends if no
other item could fare better: the disk is full or broken, or the machine has no descriptor left.
"""

from __future__ import annotations

import errno
import os
from typing import Final

SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
"""Errors of a machine that lacks descriptors, memory or processes."""
_OF_MACHINE: Final = SHORTAGES | {errno.EINTR}
_OF_DISK: Final = frozenset(
    {
        errno.EIO,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.ENOLCK,
    }
)
"""Errors of the disk or of the connection to it."""


def concerns_all(error: BaseException) -> bool:
    """Return whether an error met at one item would be met at every other."""
    return isinstance(error, OSError) and error.errno in _OF_MACHINE | _OF_DISK


def is_of_disk(number: int | None) -> bool:
    """Return whether this is the number of an error of the disk, or of the connection to it."""
    return number in _OF_DISK


def is_of_machine(error: OSError) -> bool:
    """Return whether the machine lacks something for the moment, whichever file it was met at."""
    return error.errno in _OF_MACHINE


def reason_of(error: BaseException, root: str = "") -> str:
    """Return an error's cause for a message, with the path that it names.

    Args:
        error: the error.
        root: a folder; a path below it is shown relative to it.
    """
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    cause = os.strerror(error.errno) if error.errno else str(error)
    paths = [os.fsdecode(p) for p in (error.filename, error.filename2) if isinstance(p, str | bytes)]
    shown = [os.path.relpath(p, root) if root and p.startswith(root + os.sep) else p for p in paths]
    return f"{shown[-1]}: {cause}" if shown else cause
