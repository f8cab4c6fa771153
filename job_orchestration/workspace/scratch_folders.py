"""Make a person's folder or archive beside the place where it goes, under another name until it is whole.

The folder in which it is made is locked by its process. If that is killed, the folder stays there without a
lock, and the next command that makes something beside it removes it.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.workspace import locks
from job_orchestration.workspace.safe_reads import names_in
from job_orchestration.workspace.temporary_files import ABANDONED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLONE: Final = "clone"
EXPORT: Final = "export"
ARCHIVE: Final = "archive"
_INSIDE: Final = frozenset({CLONE, EXPORT, ARCHIVE})
"""What such a folder may hold."""
_NAME: Final = re.compile(r"\..+\.making-[a-z0-9_]{8}", re.DOTALL)
_MOST_CHARACTERS: Final = 48
"""Of the name of what is made: a name has 255 bytes at the most."""


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """Make an empty folder in the folder of `target`; it is deleted at the end of the ``with`` block.

    Raises:
        OSError: it cannot be made.
    """
    parent = target.parent
    _collect(str(parent))
    name = target.name[:_MOST_CHARACTERS].rstrip(".")
    path = parent / tempfile.mkdtemp(prefix=f".{name}.making-", dir=parent)
    with ExitStack() as held:
        held.callback(shutil.rmtree, path, ignore_errors=True)
        with suppress(OSError):  # a file system without locks
            held.enter_context(locks.folder_lock(str(path), wait=False))
        yield path


def _collect(parent: str) -> None:
    """Remove what killed processes of this user left in a folder. Best effort: errors are ignored."""
    for name in names_in(parent):
        path = os.path.join(parent, name)
        if not _NAME.fullmatch(name):
            continue
        with suppress(OSError):
            if _may_be_ours(path):
                with locks.folder_lock(path, wait=False):
                    shutil.rmtree(path, ignore_errors=True)


def _may_be_ours(path: str) -> bool:
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return False
    inside = set(os.listdir(path))
    is_old = time.time() - status.st_mtime > ABANDONED
    return inside <= _INSIDE and (bool(inside) or is_old)  # an empty one may be about to be locked
