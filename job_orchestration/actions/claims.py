"""Claims that a command makes for a moment, to move a run that nobody is working on."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from job_orchestration.files import token
from job_orchestration.rules.naming import TokenName, worker_name

if TYPE_CHECKING:
    from job_orchestration.files.token import Claim, Token
    from job_orchestration.files.workspace import Workspace


def token_at(path: str) -> Token:
    """The token that lies at a path."""
    folder, filename = os.path.split(path)
    name = TokenName.parse(filename)
    assert name is not None, "a record of a run has a token's name"
    return token.Token(folder, filename, name, 0)


def claim(workspace: Workspace, path: str, verb: str) -> Claim | None:
    """Try to become the holder of the run whose token lies at a path.

    Args:
        workspace: with all its folders in place.
        path: where the token was seen.
        verb: stands where a worker's name has its random letters.

    Returns:
        The claim, or `None` when somebody else has the run or it has moved on.

    Raises:
        UnfitTokenError: the file is not what `ready` queued.
        OSError: what the disk says; nothing is locked then.
    """
    host = socket.gethostname()
    return token.claim(workspace, token_at(path), worker_name(host, os.getpid(), verb), host)
