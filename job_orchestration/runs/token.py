"""A run's token: its config file, whose folder is the run's place in its life."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from job_orchestration.workspace.naming import TokenName


@dataclass(frozen=True, slots=True)
class Token:
    """A token as found by a scan of its folder."""

    folder: str
    filename: str
    name: TokenName
    mtime_ns: int

    @property
    def path(self) -> str:
        """Its path at the time of the scan."""
        return os.path.join(self.folder, self.filename)


def scan(folder: str) -> list[Token]:
    """List the tokens in a folder, oldest first: the order in which `ready` queued them."""
    found: list[Token] = []
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return found
    with entries:
        for entry in entries:
            name = TokenName.parse(entry.name)
            if name is None:
                continue
            with suppress(FileNotFoundError):  # moved since the listing
                found.append(Token(folder, entry.name, name, entry.stat(follow_symlinks=False).st_mtime_ns))
    found.sort(key=lambda t: (t.mtime_ns, len(t.filename), t.filename))
    return found
