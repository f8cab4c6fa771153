"""Cancel requests to the holder of a run: a file in ``Misc/cancel/`` with the token's name in Running.

That name includes the attempt and the worker, so a late request has no effect: the next attempt has another
name. A holder checks for one file, which is nearly always missing, and needs no listing, lock or clock.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.workspace import durable
from job_orchestration.workspace.safe_reads import names_in

if TYPE_CHECKING:
    from job_orchestration.workspace.layout import Workspace

_MOST: Final = 500
"""Longest stored reason, in bytes."""


def _path(workspace: Workspace, token: str) -> str:
    return os.path.join(workspace.misc, "cancel", os.path.basename(token))


def ask(workspace: Workspace, token: str, reason: str) -> None:
    """Ask the holder of a token in Running to end the run; repeated requests change nothing."""
    path = _path(workspace, token)
    durable.make_folder(os.path.dirname(path))
    with suppress(FileExistsError):
        durable.write_new(path, reason.encode()[:_MOST])
        durable.sync_folder(os.path.dirname(path))


def reason_for(workspace: Workspace, token: str) -> str | None:
    """Return the reason of a cancel request for a token; `None` if there is no request."""
    path = _path(workspace, token)
    if not os.path.lexists(path):
        return None
    with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read(_MOST)
    return ""


def settle(workspace: Workspace, token: str) -> None:
    """Remove a request that was fulfilled, or whose attempt is over."""
    with suppress(OSError):
        durable.unlink(_path(workspace, token))


def settle_late(workspace: Workspace) -> None:
    """Remove requests for attempts that are over: their senders were killed while waiting."""
    folder = os.path.join(workspace.misc, "cancel")
    for name in names_in(folder):
        if not os.path.lexists(os.path.join(workspace.running, name)):
            settle(workspace, name)
