"""The token that clients show: a random text in ``Misc/serve/token``, which only the owner can read."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.errors import WorkspaceError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.workspace import durable, safe_reads

if TYPE_CHECKING:
    from job_orchestration.workspace.layout import Workspace

_FOLDER: Final = "serve"
_FILE: Final = "token"
_BYTES: Final = 32
_MOST: Final = 4096
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def path_of(workspace: Workspace) -> str:
    """Return the path of the token's file."""
    return os.path.join(workspace.misc, _FOLDER, _FILE)


def read_or_make(workspace: Workspace) -> str:
    """Return the token; make one if there is none.

    Raises:
        WorkspaceError: if others could read the file, or it is no plain file of ours.
    """
    path = path_of(workspace)
    durable.make_folder(os.path.dirname(path))
    if not os.path.lexists(path):
        with suppress(FileExistsError):  # another process has just made it
            durable.write_new(path, f"{secrets.token_urlsafe(_BYTES)}\n".encode(), mode=0o600)
            durable.sync_folder(os.path.dirname(path))
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & _OTHERS:
        raise WorkspaceError(
            f"{escaped(path)} may be read by others", f"Delete it, and a new one is made: rm {escaped(path)}"
        )
    token = safe_reads.whole(path, _MOST).decode("ascii", "replace").strip()
    if len(token) < _BYTES:
        raise WorkspaceError(f"{escaped(path)} holds no token", "Delete it, and a new one is made")
    return token
