"""Keeping the digests of a workspace whole and small, by those who change it anyway: `ready` and `watch`.

Whether there is anything to do is told by two numbers that cost little: how many tokens lie in the folders,
and how many rows in the files. Only when they are far apart is all of it read. One at a time does that, and
each time only some journals are folded, so that nobody waits long for a cache.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.files import digests, durable, journal
from job_orchestration.files.history import read_settled
from job_orchestration.rules import summarizing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from job_orchestration.files.opening import Opened
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.run import Place

SHARE: Final = 100
"""The part of the time that upkeep may take: one in so many."""
MOST_FOLDS: Final = 5_000
"""Journals that are read in one go, which takes less than a second."""
_MOST_FILES: Final = 16
_SOME: Final = 100
"""Tokens without a row, or rows without a token, that are not worth the trouble."""


class Upkeep:
    """Looks after the digests of a workspace, more rarely the longer it takes."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._next = 0.0

    def __call__(self) -> None:
        """Do what is due; when it cannot be done nobody is the worse for it."""
        started = time.monotonic()
        if started < self._next:
            return
        with suppress(OSError):
            if is_due(self._workspace):
                rewrite(self._workspace)
        ended = time.monotonic()
        self._next = ended + max(SHARE * (ended - started), 1.0)


def note_opened(workspace: Workspace, name: str, runs: Iterable[Opened]) -> None:
    """Append the digests of some runs that were opened just now, as far as nobody has claimed them yet."""
    found = (_row_of_opened(workspace, run) for run in runs)
    digests.append(workspace, name, [row for row in found if row is not None])


def _row_of_opened(workspace: Workspace, opened: Opened) -> str | None:
    """The row of a run that is as it was opened: no attempt was there when its token had been looked at.

    Whoever claims it makes the attempt's journal file first.
    """
    with suppress(OSError):
        status = os.lstat(opened.path)
        if not os.path.lexists(journal.path_of(workspace.run_folder(opened.run), 1)):
            summary = summarizing.summary_of(opened.state)
            return digests.row_of(status, os.path.basename(opened.path), opened.run, summary)
    return None


def is_due(workspace: Workspace) -> bool:
    """Whether the digests are far from what the folders hold, as far as a count can tell."""
    tokens = sum(len(_listed(workspace.folders[place])) for place in digests.SETTLED)
    paths = digests.paths(workspace)
    rows = 0
    for path in paths:
        with suppress(OSError), open(path, "rb") as file:
            rows += file.read().count(b"\n")
    return len(paths) > _MOST_FILES or not tokens - _SOME <= rows <= 2 * tokens + _SOME


def rewrite(workspace: Workspace) -> None:
    """Put the digests of all tokens into one file, those that were missing included."""
    with _only_one(workspace) as mine:
        if not mine:
            return
        paths = digests.paths(workspace)
        known = digests.read(workspace)
        rows: list[str] = []
        left = MOST_FOLDS
        for place in digests.SETTLED:
            folder = workspace.folders[place]
            for filename in _listed(folder):
                path = os.path.join(folder, filename)
                with suppress(OSError):
                    old = known.get(digests.key_of(os.lstat(path)))
                    if old is not None and old[1] == filename:
                        rows.append(digests.text_of(old))
                    elif left > 0:
                        left -= 1
                        row = _row(workspace, place, path)
                        rows += [] if row is None else [row]
        target = os.path.join(digests.folder_of(workspace), f"all{digests.ENDING}")
        durable.write_view(target, digests.encode(rows))
        for path in paths:  # what their writers add from now on goes to new files
            if path != target:
                with suppress(OSError):
                    os.unlink(path)


def _row(workspace: Workspace, place: Place, path: str) -> str | None:
    """A token's row. The token is looked at before its journal: see `files.digests`."""
    with suppress(OSError):
        status = os.lstat(path)
        record = read_settled(workspace, place, path)
        if record is not None:
            run = None if record.former else record.run
            return digests.row_of(status, os.path.basename(path), run, record.summary if run else None)
    return None


def _listed(folder: str) -> list[str]:
    with suppress(OSError):
        return [name for name in os.listdir(folder) if name.endswith(".yaml")]
    return []


@contextmanager
def _only_one(workspace: Workspace) -> Iterator[bool]:
    """Whether nobody else is at it."""
    folder = digests.folder_of(workspace)
    with suppress(FileExistsError):
        os.mkdir(folder)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield True
            return
        yield False
    finally:
        os.close(descriptor)
