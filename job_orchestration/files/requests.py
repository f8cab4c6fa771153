"""Requests to whoever holds a run: a file in ``Misc/cancel/`` under the name that the token has in Running.

That name tells the attempt and its worker, so a request that comes late means nobody: the next attempt at
the run has another name, and finds no request for it. A holder looks for one file, which nearly always is
not there, and needs no listing, no lock and no clock.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.files import durable

if TYPE_CHECKING:
    from job_orchestration.files.workspace import Workspace

_MOST: Final = 500
"""Bytes of a reason that are kept."""


def _path(workspace: Workspace, token: str) -> str:
    return os.path.join(workspace.misc, "cancel", os.path.basename(token))


def ask(workspace: Workspace, token: str, reason: str) -> None:
    """Ask the holder of a token in Running to end the run; asking again changes nothing."""
    path = _path(workspace, token)
    durable.make_folder(os.path.dirname(path))
    with suppress(FileExistsError):
        durable.write_new(path, reason.encode()[:_MOST])
        durable.sync_folder(os.path.dirname(path))


def reason_for(workspace: Workspace, token: str) -> str | None:
    """Why the holder of a token was asked to end its run; `None` when nobody asked."""
    path = _path(workspace, token)
    if not os.path.lexists(path):
        return None
    with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read(_MOST)
    return ""


def settle(workspace: Workspace, token: str) -> None:
    """Take a request away: it was done, or the attempt that it meant is over."""
    with suppress(OSError):
        durable.unlink(_path(workspace, token))


def settle_late(workspace: Workspace) -> None:
    """Take away what was asked of attempts that are over, by somebody who was killed while waiting."""
    folder = os.path.join(workspace.misc, "cancel")
    with suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if not os.path.lexists(os.path.join(workspace.running, name)):
                settle(workspace, name)
