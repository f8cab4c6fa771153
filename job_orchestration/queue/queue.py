"""In-memory index of waiting tokens: updated by file events, corrected by periodic scans.

This module finds the tokens; `queue.scheduler` orders them.

File events are hints. They may be lost: an inotify queue overflows in a burst, a network file system reports
no changes of other machines, a watch on a folder that was made again is dead. So a scan of the folder
replaces the index every so often. A worker that has work does not watch at all, because each claim and each
end of every worker would be an event for all of them. Nor does it list the folder for each claim: with a
hundred thousand tokens that alone would take hours.
"""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final

from job_orchestration.queue.scheduler import Scheduler
from job_orchestration.runs import claims, journal, token, token_header
from job_orchestration.runs.token import Token
from job_orchestration.workspace import clock, folder_watcher
from job_orchestration.workspace.folder_watcher import FolderWatcher
from job_orchestration.workspace.naming import TokenName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from job_orchestration.config.config import Json
    from job_orchestration.config.scheduling import ResourceRequest
    from job_orchestration.processes.wakeup import WakeupPipe
    from job_orchestration.runs.state import RunState
    from job_orchestration.workspace.layout import Workspace

SCAN_EVERY: Final = 10.0
"""Seconds between two scans at the least; a scan that takes long is made more rarely."""
UNWATCHED_EVERY: Final = 2.0
"""The same while the system can watch no folder."""
WATCH_AGAIN: Final = 60.0
"""Seconds after which a worker that can watch no folder tries it again."""
BUSY_AFTER: Final = 8
"""Number of tokens in a row after which a worker stops watching until it runs out of them."""
IDLE_AFTER: Final = 1.0
"""Seconds without a token after which a worker watches again; until then it scans, which is cheaper."""
AGAIN_AFTER: Final = 0.2
"""Seconds after which a token that another process had locked is tried again."""
LOOK_EVERY: Final = 0.05
"""Seconds between two scans without a watch at the least."""
LEAVE_FOR: Final = 0.5
"""Seconds after which a run that could not be read is tried again; twice as many after each further time …"""
LONGEST_LEAVE: Final = 300.0
"""… up to this many."""
TRIES: Final = 4
"""Number of times after which a worker that ends when it is idle no longer waits for such a run."""
RUNNING_EVERY: Final = 1.0
"""Seconds between two scans of Running: no event reports that a lock there was released."""


class Queue:
    """The tokens that wait for a worker, ordered by priority, then age.

    Args:
        workspace: the workspace of the tokens.
        wake: rung by file events.
        could: whether this worker could ever allocate the resources of a run.
        look_at_held: called with the path of each token in Running that another process holds.
        say: called with one sentence if no folder can be watched.
        only: the stems of the tokens that count; all by default.
    """

    def __init__(
        self,
        workspace: Workspace,
        wake: WakeupPipe,
        could: Callable[[ResourceRequest], bool] = lambda _: True,
        look_at_held: Callable[[str], None] = lambda _: None,
        say: Callable[[str], None] = lambda _: None,
        *,
        only: frozenset[str] | None = None,
    ) -> None:
        self._workspace = workspace
        self._only = only
        self._could = could
        self._look_at_held = look_at_held
        self._scheduler = Scheduler(workspace, could)
        self._delayed: dict[str, Token] = {}
        self._due: dict[str, float] = {}
        """When each of those is due, by the monotonic clock."""
        self._unfit: dict[str, int] = {}
        self._left: dict[str, tuple[int, float]] = {}
        """Stem of a token whose run could not be read to how often that was so, and when to try it again."""
        self._scan_at = 0.0
        self._look_at = 0.0
        self._running_at = 0.0
        self._interrupted: deque[Token] = deque()
        self._wake = wake
        self._streak = 0
        self._taken_at = 0.0
        self._taken_before = 0.0
        self._say = say
        self._said_unwatched = False
        self._watched_at = 0.0
        self._watcher: FolderWatcher | None = None
        self._watch()

    def close(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None

    def _watch(self) -> None:
        self._streak = 0
        self._scan_at = 0.0  # a scan finds the tokens that came before the watch began
        self._watcher = FolderWatcher(self._workspace, (self._workspace.to_run,), self._wake.ring)
        self._watcher.start()
        self._watched_at = time.monotonic()
        if self._watcher.trouble and not self._said_unwatched:
            self._said_unwatched = True
            self._say(folder_watcher.sentence_about(self._watcher.trouble, UNWATCHED_EVERY))

    def next(self) -> Token | None:
        """The token to try next. Running comes first, or interrupted runs would starve behind the queue."""
        self._read_events()
        now = time.monotonic()
        if now >= self._running_at:
            self._running_at = now + RUNNING_EVERY
            self._interrupted = deque(filter(self._may_be_taken, self._fit(self._running())))
        if self._interrupted:
            return self._interrupted.popleft()
        if now >= self._scan_at:
            self._scan()
        self._wake_delayed()
        found = self._scheduler.pop()
        if found is None and self._watcher is None and now >= self._look_at:
            self._scan()
            found = self._scheduler.pop()
        if found is not None:
            self._streak += 1
            self._taken_before, self._taken_at = self._taken_at, now
            if self._streak == BUSY_AFTER:
                self.close()
        return found

    def resource_request(self, found: Token) -> ResourceRequest:
        """The resources that the run of a token needs."""
        return self._scheduler.requirements(found).resources

    def defer(self, found: Token, lacking: frozenset[str]) -> None:
        """Put back a token whose resources are lacking now.

        Args:
            found: the token.
            lacking: the names of the lacking resources.
        """
        self._scheduler.defer(found, lacking)
        self._taken_at = self._taken_before

    def freed(self) -> None:
        """Note that a run of this worker released its resources."""
        self._scheduler.freed()

    def completed(self, run: str) -> None:
        """Note that a run of this worker has completed, so that runs that come after it may begin."""
        self._scheduler.completed(run)

    def holds(self, state: RunState, loaded: Mapping[str, Mapping[str, Json]]) -> None:
        """Note what this worker has loaded for a run, so that runs that want the same come next."""
        self._scheduler.preference.holds(state, loaded)

    def put_back(self, taken: Token) -> None:
        """Try a token again in a moment, if it still exists: another process may only be moving it here."""
        if taken.folder == self._workspace.running:
            self._look_at_held(taken.path)
        if taken.folder == self._workspace.to_run and os.path.lexists(taken.path):
            self._delayed[taken.filename] = taken
            self._due[taken.filename] = time.monotonic() + AGAIN_AFTER

    def set_aside(self, unfit: Token) -> None:
        """Ignore a token that `ready` did not put there, until its file changes."""
        self._unfit[unfit.path] = unfit.mtime_ns

    def leave(self, unreadable: Token) -> bool:
        """Ignore a token whose run cannot be read for a growing time; return whether this is the first."""
        times, _ = self._left.get(unreadable.name.stem, (0, 0.0))
        wait = min(LEAVE_FOR * 2 ** min(times, 30), LONGEST_LEAVE)
        self._left[unreadable.name.stem] = times + 1, time.monotonic() + wait
        if unreadable.folder == self._workspace.to_run and os.path.lexists(unreadable.path):
            self._add(unreadable)
        return not times

    def claimed(self, found: Token) -> None:
        """Note that a run could be read and claimed."""
        self._left.pop(found.name.stem, None)

    @property
    def unreadable(self) -> int:
        """The number of tokens here whose runs could not be read when they were tried last."""
        return sum(found.name.stem in self._left for found in self._present()) if self._left else 0

    def _present(self) -> list[Token]:
        return [*self._running(), *token.scan(self._workspace.to_run)]

    def is_empty(self) -> bool:
        """Whether no run waits and none is running.

        Tokens that are held or unfit do not count, nor does a run that could not be read several times.
        """
        early = {stem for stem, (times, _) in self._left.items() if times < TRIES}
        if early and any(found.name.stem in early for found in self._present()):
            return False
        self._scan()
        waiting = [t for t in self._delayed.values() if t.name.stem not in self._left]
        return not (self._scheduler or waiting or any(map(self._counts, self._fit(self._running()))))

    def _running(self) -> list[Token]:
        return token.scan(self._workspace.running)

    def _counts(self, running: Token) -> bool:
        """Whether to wait for a run in Running: not for a free one that only another worker could resume."""
        if running.name.stem in self._left:
            return False
        request = self.resource_request(running)
        return not request or self._could(request) or not claims.is_free(running.path)

    def _may_be_taken(self, running: Token) -> bool:
        """Whether to try a run in Running: its lock is free, and this worker could allocate its resources."""
        if not self._is_due(running):
            return False
        request = self.resource_request(running)
        if not request:
            return True
        if not self._could(request):
            return False
        if claims.is_free(running.path):
            return True
        self._look_at_held(running.path)
        return False

    def look_again_in(self) -> float:
        """Seconds after which a scan is due without an event; call it before a rest."""
        now = time.monotonic()
        if self._watcher is None:
            if now - self._taken_at < IDLE_AFTER:
                return max(self._look_at - now, 0.0)
            self._watch()
        elif self._watcher.trouble and now - self._watched_at >= WATCH_AGAIN:
            self._watch()
        self._streak = 0
        dues = [self._scan_at - now, self._running_at - now]
        dues += [due - now for due in self._due.values()]
        dues += [due - now for _, due in self._left.values() if due > now]
        beside = self._scheduler.look_again_in()
        if beside is not None:
            dues.append(beside)
        return max(min(dues), 0.0)

    def _fit(self, tokens: Iterable[Token]) -> list[Token]:
        only = self._only
        if only is not None:
            tokens = (t for t in tokens if t.name.stem in only)
        return [t for t in tokens if self._unfit.get(t.path) != t.mtime_ns]

    def _is_due(self, found: Token) -> bool:
        """Whether to try a token now: its run could be read, or has been left alone for long enough."""
        return found.name.stem not in self._left or time.monotonic() >= self._left[found.name.stem][1]

    def _scan(self) -> None:
        started = time.monotonic()
        if self._watcher is not None:
            self._watcher.seen.clear()
            self._watcher.renewed = False
        self._scheduler.clear()
        self._delayed.clear()
        for found in self._fit(token.scan(self._workspace.to_run)):
            self._add(found)
        self._due = {name: due for name, due in self._due.items() if name in self._delayed}
        now = time.monotonic()
        is_unwatched = self._watcher is not None and self._watcher.trouble
        self._scan_at = now + max(UNWATCHED_EVERY if is_unwatched else SCAN_EVERY, 100 * (now - started))
        self._look_at = now + max(LOOK_EVERY, 20 * (now - started))

    def _read_events(self) -> None:
        if self._watcher is None:
            return
        if self._watcher.renewed:
            self._scan()
        while self._watcher.seen:
            path, _ = self._watcher.seen.popleft()
            folder, filename = os.path.split(path)
            name = TokenName.parse(filename)
            if folder != self._workspace.to_run or name is None:
                continue
            with suppress(FileNotFoundError):
                self._add_all(self._fit([Token(folder, filename, name, os.lstat(path).st_mtime_ns)]))

    def _add_all(self, tokens: Iterable[Token]) -> None:
        for found in tokens:
            self._add(found)

    def _add(self, found: Token) -> None:
        if found.name.held:
            return
        if not self._is_due(found):
            self._delayed[found.filename] = found
            self._due[found.filename] = self._left[found.name.stem][1]
            return
        if found.name.not_before is not None:
            self._delayed[found.filename] = found
            if found.filename not in self._due:
                self._due[found.filename] = time.monotonic() + self._wait_of(found)
        else:
            self._scheduler.add(found)

    def _wake_delayed(self) -> None:
        if not self._delayed:
            return
        now = time.monotonic()
        for filename, found in list(self._delayed.items()):
            if self._due[filename] <= now:
                del self._delayed[filename], self._due[filename]
                self._scheduler.add(found)

    def _wait_of(self, found: Token) -> float:
        """Seconds that a deferred token has to wait, from when it is first seen.

        Its name holds a moment by the clock at that time. If the clock was set since, the delay that the
        journal asks for limits the wait.
        """
        assert found.name.not_before is not None
        left = (datetime.fromisoformat(found.name.not_before) - clock.now()).total_seconds()
        run = token_header.run_of(found.path)
        if run is None or not claims.is_inside_output(run):
            return left
        try:
            meant = journal.requested_delay(self._workspace.run_folder(run))
        except OSError:
            return left  # its claim says what is wrong with it
        return left if meant is None else min(left, meant)
