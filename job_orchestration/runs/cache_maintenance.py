"""Maintain the summary cache: `ready` and `watch` keep it complete and small.

Two cheap counts decide whether work is due: the tokens in the folders, and the rows in the cache. The cache
is rewritten only if they are far apart. One process rewrites at a time, and a rewrite folds a limited number
of journals, so that it takes less than a second.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.runs import journal, summaries, summary_cache
from job_orchestration.runs.catalog import read_settled
from job_orchestration.workspace import durable, locks
from job_orchestration.workspace.layout import SETTLED_PLACES
from job_orchestration.workspace.safe_reads import names_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from job_orchestration.runs.opening import Opened
    from job_orchestration.workspace.layout import Place, Workspace

PAUSE_FACTOR: Final = 100
"""A pass is followed by a pause of this many times its duration, and of one second at least."""
MOST_FOLDS: Final = 5_000
"""Journals folded in one rewrite, which takes less than a second."""
_MOST_FILES: Final = 16
"""Files from which on they are merged."""
_TOLERANCE: Final = 100
"""Missing or superfluous rows that do not justify a rewrite."""


class CacheMaintenance:
    """Runs cache maintenance at intervals that grow with its duration."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._next = 0.0

    def __call__(self) -> None:
        """Rewrite the cache if that is due. Best effort: errors are ignored."""
        started = time.monotonic()
        if started < self._next:
            return
        with suppress(OSError):
            if is_due(self._workspace):
                rewrite(self._workspace)
        ended = time.monotonic()
        self._next = ended + max(PAUSE_FACTOR * (ended - started), 1.0)


def note_opened(workspace: Workspace, name: str, runs: Iterable[Opened]) -> None:
    """Cache the summaries of newly opened runs that no worker has claimed yet."""
    found = (_row_of_opened(workspace, run) for run in runs)
    summary_cache.append(workspace, name, [row for row in found if row is not None])


def _row_of_opened(workspace: Workspace, opened: Opened) -> str | None:
    """Make the row of a run that has not been claimed since it was opened; otherwise `None`.

    The token's status is read before the check for a first attempt, whose journal file precedes the claim's
    rename of the token.
    """
    with suppress(OSError):
        status = os.lstat(opened.path)
        if not os.path.lexists(journal.path_of(workspace.run_folder(opened.run), 1)):
            summary = summaries.summary_of(opened.state)
            return summary_cache.row_of(status, os.path.basename(opened.path), opened.run, summary)
    return None


def is_due(workspace: Workspace) -> bool:
    """Return whether the cache's row count differs much from the number of tokens, or it has many files."""
    tokens = sum(len(_tokens_in(workspace.folders[place])) for place in SETTLED_PLACES)
    paths = summary_cache.paths(workspace)
    rows = 0
    for path in paths:
        with suppress(OSError), open(path, "rb") as file:
            rows += file.read().count(b"\n")
    return len(paths) > _MOST_FILES or not tokens - _TOLERANCE <= rows <= 2 * tokens + _TOLERANCE


def rewrite(workspace: Workspace) -> None:
    """Merge the cache into one file and add missing summaries, as far as `MOST_FOLDS` allows."""
    with _only_one(workspace) as mine:
        if not mine:
            return
        paths = summary_cache.paths(workspace)
        known = summary_cache.read(workspace)
        rows: list[str] = []
        left = MOST_FOLDS
        for place in SETTLED_PLACES:
            folder = workspace.folders[place]
            for filename in _tokens_in(folder):
                path = os.path.join(folder, filename)
                with suppress(OSError):
                    old = known.get(summary_cache.key_of(os.lstat(path)))
                    if old is not None and old[1] == filename:
                        rows.append(summary_cache.text_of(old))
                    elif left > 0:
                        left -= 1
                        row = _row(workspace, place, path)
                        rows += [] if row is None else [row]
        target = os.path.join(summary_cache.folder_of(workspace), f"all{summary_cache.ENDING}")
        durable.write_view(target, summary_cache.encode(rows))
        for path in paths:  # their writers append to new files from now on
            if path != target:
                with suppress(OSError):
                    os.unlink(path)


def _row(workspace: Workspace, place: Place, path: str) -> str | None:
    """Make a token's row. The token's status is read before its journal: see `runs.summary_cache`."""
    with suppress(OSError):
        status = os.lstat(path)
        record = read_settled(workspace, place, path)
        if record is not None and record.unreadable is None:
            run = None if record.is_first_release else record.run
            return summary_cache.row_of(status, os.path.basename(path), run, record.summary if run else None)
    return None


def _tokens_in(folder: str) -> list[str]:
    return [name for name in names_in(folder) if name.endswith(".yaml")]


@contextmanager
def _only_one(workspace: Workspace) -> Iterator[bool]:
    """Try to lock the cache; yield whether this process has the lock."""
    folder = summary_cache.folder_of(workspace)
    with suppress(FileExistsError):
        os.mkdir(folder)
    with ExitStack() as held:
        try:
            held.enter_context(locks.folder_lock(folder, wait=False))
            is_ours = True
        except BlockingIOError:
            is_ours = False
        yield is_ours
