"""Why runs do not run: no worker, no resources, runs that come first, a hold, a delay, a lock.

Made for readers, from the records of the catalog, the heartbeats of the workers, and the first lines of
tokens; nothing is locked. A heartbeat says what its worker can allocate. What is allocated follows from the
runs that the workers of its pool hold. The answer is that of a moment ago; the order of the queue decides.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from job_orchestration.diagnostics import sizes
from job_orchestration.runs import outlived_locks, token_header
from job_orchestration.workspace.layout import Place
from job_orchestration.workspace.naming import TokenName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from job_orchestration.config.scheduling import ResourceRequest
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.workspace.heartbeats import Heartbeat

_DETECTED: Final = ("cpus", "memory")
"""The resources that a worker detects."""
_MOST_NAMED: Final = 3
_LONGEST_ERROR: Final = 80


class Reason(NamedTuple):
    """One reason why a run does not run."""

    kind: str
    """``source``, ``unfit``, ``held``, ``delayed``, ``after``, ``interrupted``, ``lock``, ``lost``,
    ``no_worker``, ``no_worker_has``, ``resources``, ``behind``, ``busy`` or ``soon``."""
    text: str
    """A sentence without a full stop."""
    runs: tuple[str, ...] = ()
    """The runs that it waits for, or that hold what it needs."""
    resources: Mapping[str, int] = {}
    """The resources that are lacking: how much it asks for of each."""

    def as_json(self) -> dict[str, Any]:
        """Return the reason as ``--json`` prints it."""
        return {
            "kind": self.kind,
            "text": self.text,
            "runs": list(self.runs),
            "resources": dict(self.resources),
        }


class _Offer(NamedTuple):
    """What the workers of one pool can allocate."""

    hostname: str
    workers: frozenset[str]
    capacity: Mapping[str, int]
    taken: Counter[str]


class WaitingReasons:
    """The reasons of all runs at one moment.

    Args:
        records: all records of the workspace.
        workers: the last heartbeats of the workers that seem alive.
        places: the place of each run, and of each search that runs come after.
        searches: what keeps searches from going on, by name.
        now: the current time.
    """

    def __init__(
        self,
        records: Sequence[RunRecord],
        workers: Sequence[Heartbeat],
        places: Mapping[str, Place],
        searches: Mapping[str, str],
        now: datetime,
    ) -> None:
        self._records = {record.run: record for record in records if record.run is not None}
        self._workers = workers
        self._places = places
        self._searches = searches
        self._now = now
        waiting = [r for r in records if r.place in {Place.TO_RUN, Place.INTERRUPTED}]
        self._line = sorted((r for r in waiting if not self._is_set_aside(r)), key=_turn)
        self._rank = {record.path: rank for rank, record in enumerate(self._line)}
        self._requests: dict[str, ResourceRequest] = {}
        self._running = [r for r in records if r.place is Place.RUNNING]
        self._offers = self._offers_of(workers)
        self._first_short: dict[frozenset[str], dict[str, RunRecord]] = {}

    def of(self, record: RunRecord) -> tuple[Reason, ...]:
        """Return why a run does not run, the most important reason first; empty if it runs or has ended."""
        if record.place is Place.SOURCES:
            text = f"not queued: {record.error}" if record.error else "not checked yet; queue it with: ready"
            return (Reason("source", text),)
        if record.place is Place.RUNNING:
            return self._of_running(record)
        if record.place not in {Place.TO_RUN, Place.HELD, Place.INTERRUPTED}:
            return ()
        if record.error:
            return (Reason("unfit", record.error),)
        own = [*self._held(record), *self._after(record), *self._delayed(record)]
        return tuple(own or self._by_workers(record))

    # -- the run itself -----------------------------------------------------------------------------------

    def _of_running(self, record: RunRecord) -> tuple[Reason, ...]:
        """Return what holds the lock of a run whose worker is gone."""
        holders = outlived_locks.holders(record.path)
        if holders:
            named = outlived_locks.named_processes(holders)
            todo = " ".join(map(str, sorted(holders)))
            text = (
                f"its worker is dead, but {named} holds its lock; a worker ends it soon, or: kill -9 {todo}"
            )
            return (Reason("lock", text),)
        if record.held_by is None:
            name = TokenName.parse(os.path.basename(record.path))
            of_whom = f" {name.worker}" if name and name.worker else ""
            text = f"it is unknown whether its worker{of_whom} is alive, for it is on another machine"
            return (Reason("lost", text),)
        return ()

    def _held(self, record: RunRecord) -> list[Reason]:
        if record.place is not Place.HELD:
            return []
        since = ""
        with suppress(OSError):
            at = datetime.fromtimestamp(os.lstat(record.path).st_ctime, UTC)
            since = f" since {_local(at)}"
        return [Reason("held", f"held{since}; let it start with: release {record.run}")]

    def _after(self, record: RunRecord) -> list[Reason]:
        after = record.summary.after if record.summary is not None else ()
        left = [run for run in after if self._places.get(run) is not Place.COMPLETED]
        if record.place is Place.INTERRUPTED or not left:
            return []
        some = [f"{run} ({self._state_of(run)})" for run in left[:_MOST_NAMED]]
        more = f" and {len(left) - _MOST_NAMED} more" if len(left) > _MOST_NAMED else ""
        return [Reason("after", f"comes after {', '.join(some)}{more}", tuple(left))]

    def _state_of(self, run: str) -> str:
        if run in self._searches:
            return f"a search that does not go on: {self._searches[run].rstrip('.')}"
        place, record = self._places.get(run), self._records.get(run)
        if place is None:
            return "which is gone: this run will not start"
        if record is None:
            return "a search that goes on"
        words = {
            Place.FAILED: f"{record.end}: retry it, or this run will not start",
            Place.HELD: "held: this run will not start before it is released",
            Place.RUNNING: f"running on {record.held_by}" if record.held_by else "running",
            Place.TO_RUN: "waiting itself",
        }
        return words.get(place, str(place).replace("_", " "))

    def _delayed(self, record: RunRecord) -> list[Reason]:
        until = _not_before(record)
        if until is None or until <= self._now:
            return []
        summary = record.summary
        tried = ""
        if summary is not None and summary.try_number and summary.task:
            error = (summary.error or "").partition("\n")[0][:_LONGEST_ERROR]
            tried = f", for try {summary.try_number} of {summary.most_tries} of task {summary.task}"
            tried += f" ({error})" if error else ""
        return [Reason("delayed", f"waits until {_local(until)}{tried}")]

    def _is_set_aside(self, record: RunRecord) -> bool:
        return bool(self._after(record) or self._delayed(record) or record.error)

    # -- the workers --------------------------------------------------------------------------------------

    def _by_workers(self, record: RunRecord) -> list[Reason]:
        if not self._workers:
            return [Reason("no_worker", "there is no worker; start one with: work")]
        request = self._request_of(record)
        able = [offer for offer in self._offers if not _exceeds(request, offer.capacity)]
        knows = all(worker.resources is not None for worker in self._workers)
        if request and knows and not able:
            return [self._no_worker_has(request)]
        if request and knows and (lacking := self._lacking(record, request, able)):
            return [lacking]
        idle = [w for w in self._workers if w.run is None and (not able or _is_of(w, able))]
        ahead = self._rank.get(record.path, 0)
        if not idle:
            many = f"all {len(self._workers)} workers are" if len(self._workers) > 1 else "the worker is"
            before = f", and {_count(ahead, 'run')} will be started first" if ahead else ""
            return [Reason("busy", f"{many} busy{before}")]
        if record.place is Place.INTERRUPTED:
            return [Reason("interrupted", "its worker has ended; a worker is about to go on with it")]
        return [Reason("soon", "a worker is about to take it")]

    def _no_worker_has(self, request: ResourceRequest) -> Reason:
        most = {name: max((o.capacity.get(name, 0) for o in self._offers), default=0) for name, _ in request}
        lacking = {name: much for name, much in request if much > most[name]} or dict(request)
        parts = [
            f"{_amount(name, much)} (the most that one has is {_amount(name, most[name], bare=True)})"
            for name, much in lacking.items()
        ]
        named = [f"{name}={much}" for name, much in lacking.items() if name not in _DETECTED]
        todo = f"start one with: work --resources {','.join(named)}"
        if not named:
            todo = "start one on a larger machine, or let the config ask for less"
        return Reason("no_worker_has", f"no worker has {' and '.join(parts)}; {todo}", (), lacking)

    def _lacking(self, record: RunRecord, request: ResourceRequest, able: Sequence[_Offer]) -> Reason | None:
        """Return what is lacking in the pool that lacks least; `None` if a pool has all of it."""
        found: Reason | None = None
        for offer in able:
            free = {name: offer.capacity.get(name, 0) - offer.taken[name] for name, _ in request}
            lacking = {name: much for name, much in request if much > free[name]}
            if not lacking:
                return self._behind(record, request, offer)
            if found is None or len(lacking) < len(found.resources):
                found = self._shortage(lacking, free, offer)
        return found

    def _shortage(self, lacking: Mapping[str, int], free: Mapping[str, int], offer: _Offer) -> Reason:
        holders = tuple(
            str(r.run)
            for r in self._running
            if r.held_by in offer.workers and dict(self._request_of(r)).keys() & lacking.keys()
        )
        parts = [
            f"{_amount(name, much)}, of which {_amount(name, max(free[name], 0), bare=True)} of"
            f" {_amount(name, offer.capacity[name], bare=True)} is free on {offer.hostname}"
            for name, much in lacking.items()
        ]
        some = ", ".join(holders[:_MOST_NAMED])
        more = f" and {len(holders) - _MOST_NAMED} more" if len(holders) > _MOST_NAMED else ""
        held = f"; held by {some}{more}" if holders else ""
        return Reason("resources", f"needs {' and '.join(parts)}{held}", holders, lacking)

    def _behind(self, record: RunRecord, request: ResourceRequest, offer: _Offer) -> Reason | None:
        """Return the earlier run for which a resource that this one would take is kept."""
        first = self._short_in(offer)
        for name, _ in request:
            earlier = first.get(name)
            if earlier is not None and self._rank[earlier.path] < self._rank.get(record.path, 0):
                text = f"{earlier.run} has its turn first, and waits for {name}"
                return Reason("behind", text, (str(earlier.run),), dict(request))
        return None

    def _short_in(self, offer: _Offer) -> Mapping[str, RunRecord]:
        """Return the first run in the order that waits for each resource of a pool."""
        if offer.workers not in self._first_short:
            found: dict[str, RunRecord] = {}
            for record in self._line:
                request = self._request_of(record)
                if not _exceeds(request, offer.capacity):
                    for name, much in request:
                        if much > offer.capacity[name] - offer.taken[name]:
                            found.setdefault(name, record)
            self._first_short[offer.workers] = found
        return self._first_short[offer.workers]

    def _request_of(self, record: RunRecord) -> ResourceRequest:
        if record.path not in self._requests:
            self._requests[record.path] = token_header.read_requirements(record.path).resources
        return self._requests[record.path]

    def _offers_of(self, workers: Iterable[Heartbeat]) -> list[_Offer]:
        pools: dict[tuple[str, str], list[Heartbeat]] = {}
        for worker in workers:
            if worker.resources is not None:
                pools.setdefault((worker.hostname, worker.pool or worker.worker), []).append(worker)
        found = []
        for (hostname, _), members in pools.items():
            names = frozenset(worker.worker for worker in members)
            taken: Counter[str] = Counter()
            for record in self._running:
                if record.held_by in names:
                    taken.update(dict(self._request_of(record)))
            found.append(_Offer(hostname, names, members[0].resources or {}, taken))
        return found


def _exceeds(request: ResourceRequest, capacity: Mapping[str, int]) -> bool:
    return any(much > capacity.get(name, 0) for name, much in request)


def _is_of(worker: Heartbeat, offers: Iterable[_Offer]) -> bool:
    return any(worker.worker in offer.workers for offer in offers)


def _turn(record: RunRecord) -> tuple[bool, int, str]:
    """Sort key of claims: interrupted runs first, then by priority, then by age."""
    summary = record.summary
    priority = summary.priority if summary else 0
    return record.place is Place.TO_RUN, -priority, (summary.readied_at if summary else None) or ""


def _not_before(record: RunRecord) -> datetime | None:
    name = TokenName.parse(os.path.basename(record.path)) if record.place is Place.TO_RUN else None
    return datetime.fromisoformat(name.not_before) if name is not None and name.not_before else None


def _amount(name: str, much: int, *, bare: bool = False) -> str:
    value = sizes.text_of(much) if name == "memory" else str(much)
    return value if bare else f"{name}: {value}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _local(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"
