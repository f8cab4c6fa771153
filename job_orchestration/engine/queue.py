"""What there is to do: the waiting tokens in memory, fed by events and corrected by scans.

Which of them comes first is told by `engine.lineup`; here is how they are found.

Events only wake a worker and say what is new; they may be lost (an inotify queue overflows in a burst, a
network file system tells nothing of other hosts, a folder that was made anew is deaf). So every so often a
scan of the folder replaces the index, and while there is work at hand nobody watches at all: every claim
and every end of every worker would be an event to each of them. Nobody lists the folder for every claim:
with a hundred thousand tokens that alone would take hours.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from job_orchestration.engine.arrivals import Watches
from job_orchestration.engine.lineup import Lineup
from job_orchestration.files import journal, token
from job_orchestration.files.token import Token
from job_orchestration.rules.naming import TokenName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from watchdog.observers.api import BaseObserver

    from job_orchestration.files.workspace import Workspace
    from job_orchestration.rules.steering import Demand

logging.getLogger("watchdog").setLevel(logging.CRITICAL)
"""It warns of what it sees while it is being stopped; a watch that fails is made good by the scans."""

SCAN_EVERY: Final = 10.0
"""Seconds between two scans at the least; a scan that takes long is made more rarely."""
BUSY_AFTER: Final = 8
"""Tokens taken one after the other, after which a worker stops watching until it runs out of them."""
IDLE_AFTER: Final = 1.0
"""Seconds without a token after which a worker watches again; until then it looks, which is cheaper."""
AGAIN_AFTER: Final = 0.2
"""Seconds after which a token is tried again that somebody else had locked."""
LOOK_EVERY: Final = 0.05
"""Seconds between two such looks at the least."""
RUNNING_EVERY: Final = 1.0
"""Seconds between two looks at Running: nothing tells that a lock there has become free."""


class Wake:
    """A pipe that ends somebody's waiting: signals and events write to it."""

    def __init__(self) -> None:
        self.descriptor, self._end = os.pipe()
        for descriptor in (self.descriptor, self._end):
            os.set_blocking(descriptor, False)

    @property
    def signal_end(self) -> int:
        """The end that `signal.set_wakeup_fd` writes to."""
        return self._end

    def ring(self) -> None:
        """End the waiting, now or when it begins."""
        with suppress(BlockingIOError):  # full is as good as rung
            os.write(self._end, b"!")

    def clear(self) -> None:
        """Forget what was rung."""
        with suppress(BlockingIOError):
            while os.read(self.descriptor, 4096):
                pass


class FolderEvents(FileSystemEventHandler):
    """Names that appeared in some folders of a workspace, as far as the system tells.

    The workspace itself is watched too, since a folder that is removed and made anew is another one.
    """

    def __init__(self, workspace: Workspace, folders: Iterable[str], ring: Callable[[], None]) -> None:
        self._folders = tuple(folders)
        self._root = workspace.root
        self._ring = ring
        self._observer: BaseObserver = Observer()
        self._watches = Watches(self._observer, self)
        self.seen: deque[tuple[str, bool]] = deque(maxlen=100_000)
        """Paths that appeared, and whether they were renamed in; what overflows is found by a scan."""
        self.renewed = True
        """Whether a watched folder was made anew, so that a scan is due."""

    def start(self) -> None:
        """Begin to watch."""
        for folder in (self._root, *self._folders):
            self._watches.watch(folder)
        with suppress(OSError):  # no watches left on this system: scans alone must do
            self._observer.start()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Note a name that appeared, or that a folder did."""
        path = os.fsdecode(event.dest_path or event.src_path)
        if event.event_type not in {"created", "moved", "closed"}:
            return
        if path in self._folders:
            self._watches.watch(path)
            self.renewed = True
        elif os.path.dirname(path) in self._folders and not event.is_directory:
            self.seen.append((path, event.event_type == "moved"))
        else:
            return
        self._ring()

    def stop(self) -> None:
        """End the watching thread."""
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join()


class Queue:
    """The tokens that wait for a worker, the most urgent first, then the oldest.

    Args:
        workspace: where they lie.
        wake: rung when there may be something new.
        could: whether this worker could ever give what a run takes of its machine.
    """

    def __init__(
        self, workspace: Workspace, wake: Wake, could: Callable[[Demand], bool] = lambda _: True
    ) -> None:
        self._workspace = workspace
        self._could = could
        self._line = Lineup(workspace, could)
        self._delayed: dict[str, Token] = {}
        self._due: dict[str, float] = {}
        """When the waiting of each of those is over, by the monotonic clock."""
        self._unfit: dict[str, int] = {}
        self._scan_at = 0.0
        self._look_at = 0.0
        self._running_at = 0.0
        self._interrupted: deque[Token] = deque()
        self._wake = wake
        self._streak = 0
        self._taken_at = 0.0
        self._taken_before = 0.0
        self._events: FolderEvents | None = None
        self._watch()

    def close(self) -> None:
        """End the watching."""
        if self._events is not None:
            self._events.stop()
            self._events = None

    def _watch(self) -> None:
        self._streak = 0
        self._scan_at = 0.0  # what came before the watching began is found by a scan
        self._events = FolderEvents(self._workspace, (self._workspace.to_run,), self._wake.ring)
        self._events.start()

    def next(self) -> Token | None:
        """The token to be tried next: Running first, or interrupted runs would starve behind the queue."""
        self._take_events()
        now = time.monotonic()
        if now >= self._running_at:
            self._running_at = now + RUNNING_EVERY
            self._interrupted = deque(filter(self._may_be_taken, self._fit(self._running())))
        if self._interrupted:
            return self._interrupted.popleft()
        if now >= self._scan_at:
            self._scan()
        self._wake_delayed()
        found = self._line.pop()
        if found is None and self._events is None and now >= self._look_at:
            self._scan()
            found = self._line.pop()
        if found is not None:
            self._streak += 1
            self._taken_before, self._taken_at = self._taken_at, now
            if self._streak == BUSY_AFTER:
                self.close()
        return found

    def demand(self, found: Token) -> Demand:
        """What the run of a token takes of the machine that it runs on."""
        return self._line.wants(found).resources

    def no_room(self, found: Token, lacking: frozenset[str]) -> None:
        """Put a token back for which there is no room now.

        Args:
            found: the token.
            lacking: what there is too little of.
        """
        self._line.no_room(found, lacking)
        self._taken_at = self._taken_before

    def freed(self) -> None:
        """What a run of this worker took is free again."""
        self._line.freed()

    def completed(self, run: str) -> None:
        """A run of this worker has completed, so those that come after it may begin."""
        self._line.completed(run)

    def put_back(self, taken: Token) -> None:
        """Try a token once more in a moment, if it is still there: somebody may only be moving it here."""
        if taken.folder == self._workspace.to_run and os.path.lexists(taken.path):
            self._delayed[taken.filename] = taken
            self._due[taken.filename] = time.monotonic() + AGAIN_AFTER

    def set_aside(self, unfit: Token) -> None:
        """Leave a token that `ready` did not put there as it is, until it changes."""
        self._unfit[unfit.path] = unfit.mtime_ns

    def is_empty(self) -> bool:
        """Whether nothing waits and nothing runs: tokens that are held or unfit do not count."""
        self._scan()
        return not (self._line or self._delayed or any(map(self._counts, self._fit(self._running()))))

    def _running(self) -> list[Token]:
        return token.scan(self._workspace.running)

    def _counts(self, running: Token) -> bool:
        """Whether a run in Running is to be waited for: not one that is left for others to go on with."""
        demand = self.demand(running)
        return not demand or self._could(demand) or not token.is_free(running.path)

    def _may_be_taken(self, running: Token) -> bool:
        """Whether room is to be looked for: not if somebody works on it, nor if it is left for others."""
        demand = self.demand(running)
        return not demand or (self._could(demand) and token.is_free(running.path))

    def look_again_in(self) -> float:
        """Seconds after which something may have changed without an event; called before a rest."""
        now = time.monotonic()
        if self._events is None:
            if now - self._taken_at < IDLE_AFTER:
                return max(self._look_at - now, 0.0)
            self._watch()
        self._streak = 0
        dues = [self._scan_at - now, self._running_at - now]
        dues += [due - now for due in self._due.values()]
        beside = self._line.look_again_in()
        if beside is not None:
            dues.append(beside)
        return max(min(dues), 0.0)

    def _fit(self, tokens: Iterable[Token]) -> list[Token]:
        return [t for t in tokens if self._unfit.get(t.path) != t.mtime_ns]

    def _scan(self) -> None:
        started = time.monotonic()
        if self._events is not None:
            self._events.seen.clear()
            self._events.renewed = False
        self._line.clear()
        self._delayed.clear()
        for found in self._fit(token.scan(self._workspace.to_run)):
            self._add(found)
        self._due = {name: due for name, due in self._due.items() if name in self._delayed}
        now = time.monotonic()
        self._scan_at = now + max(SCAN_EVERY, 100 * (now - started))
        self._look_at = now + max(LOOK_EVERY, 20 * (now - started))

    def _take_events(self) -> None:
        if self._events is None:
            return
        if self._events.renewed:
            self._scan()
        while self._events.seen:
            path, _ = self._events.seen.popleft()
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
        if found.name.not_before is not None:
            self._delayed[found.filename] = found
            if found.filename not in self._due:
                self._due[found.filename] = time.monotonic() + self._wait_of(found)
        else:
            self._line.add(found)

    def _wake_delayed(self) -> None:
        if not self._delayed:
            return
        now = time.monotonic()
        for filename, found in list(self._delayed.items()):
            if self._due[filename] <= now:
                del self._delayed[filename], self._due[filename]
                self._line.add(found)

    def _wait_of(self, found: Token) -> float:
        """Seconds that a token has to wait, from when it is first seen.

        Its name tells a moment by the clock of that day; should the clock have been set since, nobody waits
        longer than was meant.
        """
        assert found.name.not_before is not None
        left = (datetime.fromisoformat(found.name.not_before) - datetime.now(UTC)).total_seconds()
        run = token.run_of(found.path)
        if run is None or not token.is_inside_output(run):
            return left
        meant = journal.wait_meant(self._workspace.run_folder(run))
        return left if meant is None else min(left, meant)
