"""`up`: `watch` and some workers in one command.

They are processes of their own, because each ends what is left of its own descendants. This one only starts
and hears them, and shows what they do.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from job_orchestration.actions import told
from job_orchestration.actions.live import LOOK_EVERY, SHARE, frame_of
from job_orchestration.actions.oncoming import oncoming
from job_orchestration.actions.outlook import places_of
from job_orchestration.actions.status import overview, waits_for
from job_orchestration.actions.work import Worked, arguments, shared
from job_orchestration.engine.pool import Pool
from job_orchestration.engine.room import capacity
from job_orchestration.files.history import History, living_workers
from job_orchestration.model.run import Place
from job_orchestration.rules.settings import settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from job_orchestration.actions.live import Frame
    from job_orchestration.files.history import RunRecord
    from job_orchestration.files.workspace import Workspace


def up(
    workspace: Workspace,
    say: Callable[[str], None],
    show: Callable[[Frame], None],
    *,
    workers: int = 1,
    until_idle: bool = False,
    resources: Mapping[str, int] | None = None,
) -> Worked:
    """Ready what is dropped and work it off, until a signal says to stop.

    Args:
        workspace: with all its folders in place.
        say: gets a line for each thing that happens.
        show: gets the state of the workspace, about once a second and once at the end.
        workers: how many.
        until_idle: end when nothing is left to be readied, nothing waits and nothing runs; what was refused
            does not count.
        resources: how much there is of what runs may take, besides processors and memory.

    Raises:
        UsageError: when there are fewer GPUs than it was told.
    """
    supervisor = _Supervisor(workspace, say, show, capacity(resources or {}))
    with shared(workspace, resources or {}) as words, Pool(supervisor.hear) as pool:
        pool.start("watch", "watch", "--json", "--workspace", workspace.root)
        for number in range(1, workers + 1):
            pool.start(f"worker {number}", *arguments(workspace, until_idle=False), *words)
        while pool.turn(supervisor.pause()):
            looked = supervisor.looks(pool)
            idle = looked and until_idle and supervisor.is_idle()
            if not pool.stopping and (idle or pool.codes("")):  # or one could not go on, and said why
                pool.stop()
        supervisor.looks(pool, now=True)
        trouble = not until_idle and not pool.interrupted
        return Worked(supervisor.saw_failures(), pool.interrupted, trouble=trouble)


class _Supervisor:
    """What `up` knows besides its processes."""

    def __init__(
        self,
        workspace: Workspace,
        say: Callable[[str], None],
        show: Callable[[Frame], None],
        capacity: Mapping[str, int],
    ) -> None:
        self._workspace = workspace
        self._capacity = capacity
        self._say = say
        self._show = show
        self._history = History(workspace)
        self._records: Sequence[RunRecord] = ()
        self._next = 0.0
        self._failed_before: frozenset[tuple[str, str]] | None = None
        self._refused: dict[str, tuple[int, int]] = {}
        """The names of refused drops, and their inodes and times when that was said."""

    def hear(self, label: str, line: str) -> None:
        """Take a line that one of the processes printed."""
        data = _parsed(line) if label == "watch" else None
        if data is None:
            self._say(f"{label}: {line}")
            return
        for refused in data["refused"]:
            self._refused[refused["file"]] = _identity(os.path.join(self._workspace.sources, refused["file"]))
        for sentence in told.lines_of(data):
            self._say(sentence)

    def pause(self) -> float:
        """Seconds until the next look."""
        return max(self._next - time.monotonic(), 0.0)

    def looks(self, pool: Pool, *, now: bool = False) -> bool:
        """Look at the workspace if it is time, and have it shown."""
        started = time.monotonic()
        if started < self._next and not now:
            return False
        self._records = self._history.records()
        living = [beat.worker for beat in living_workers(self._workspace)]
        coming = oncoming(self._workspace, self._records)
        places = places_of(self._workspace, self._records)
        found = overview(self._records, datetime.now(UTC), living, coming=coming, places=places)
        self._show(frame_of(self._workspace, found, pool.living("worker"), stopping=pool.stopping))
        if self._failed_before is None:
            self._failed_before = self._failed()
        ended = time.monotonic()
        self._next = ended + max(LOOK_EVERY, SHARE * (ended - started))
        return True

    def _failed(self) -> frozenset[tuple[str, str]]:
        failed = ((r.path, r.summary) for r in self._records if r.place is Place.FAILED)
        return frozenset((path, summary.ended_at or "") for path, summary in failed if summary is not None)

    def saw_failures(self) -> bool:
        """Whether runs gave up since the first look."""
        return bool(self._failed() - (self._failed_before or frozenset()))

    def is_idle(self) -> bool:
        """Whether, by the last look, nothing is left to do."""
        places = places_of(self._workspace, self._records)
        work = [r for r in self._records if self._is_work(r) and not waits_for(r, places)]
        return not any(r.held_by is not None or self._could(r) for r in work)

    def _could(self, record: RunRecord) -> bool:
        """Whether the workers here have enough of what a run takes."""
        demand = settings_of(record.state.values).resources if record.state is not None else ()
        return all(much <= self._capacity.get(name, 0) for name, much in demand)

    def _is_work(self, record: RunRecord) -> bool:
        if record.place is Place.SOURCES:
            known = self._refused.get(os.path.basename(record.path))
            return known is None or known != _identity(record.path)
        unfit = record.error is not None  # a worker has said beside it why it never runs
        return not (unfit or record.place in {Place.COMPLETED, Place.FAILED, Place.HELD})


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        data = json.loads(line)
    except ValueError:
        return None
    return data if isinstance(data, dict) and "refused" in data else None


def _identity(path: str) -> tuple[int, int]:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return 0, 0
    return status.st_ino, status.st_ctime_ns
