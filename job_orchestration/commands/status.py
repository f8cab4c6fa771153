"""`status`: list runs with their state and time left."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, NamedTuple, overload

from job_orchestration.commands import families, selection
from job_orchestration.diagnostics.plurals import counted
from job_orchestration.diagnostics.problems import escaped, named
from job_orchestration.forecast import time_left
from job_orchestration.forecast.time_left import Forecast, PendingTrials, TimeLeft, pending_trials
from job_orchestration.runs import run_times, unreadable
from job_orchestration.runs.catalog import Catalog, living_workers
from job_orchestration.runs.events import INTENDED, Usage
from job_orchestration.workspace import clock
from job_orchestration.workspace.layout import FINAL_PLACES, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from job_orchestration.commands.families import Family
    from job_orchestration.commands.selection import Selection
    from job_orchestration.forecast.task_durations import Span
    from job_orchestration.queue.waiting_reasons import Reason, WaitingReasons
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.runs.summaries import RunSummary
    from job_orchestration.search.search_problems import SearchProblem
    from job_orchestration.workspace.layout import Workspace

_ORDER: Final = (
    Place.RUNNING,
    Place.INTERRUPTED,
    Place.TO_RUN,
    Place.HELD,
    Place.SOURCES,
    Place.FAILED,
    Place.COMPLETED,
)
"""Order of places in the list."""
_RANK: Final = {place: rank for rank, place in enumerate(_ORDER)}
_KEYS: Final = {"try_number": "try", "most_tries": "max_tries"}
"""Fields whose JSON key has another name."""
VERDICTS: Final = "verdicts.jsonl"
"""The file in ``Misc`` that lists the verdicts of verifications, if there are any."""
ENDS: Final = ("completed", "failed", "pruned", "cancelled")
"""How runs end."""
_SILENT: Final = "silent"
_SILENT_AFTER: Final = 5
"""A run is marked silent after this multiple of the usual duration of its task …"""
_SILENT_AT_LEAST: Final = 60.0
"""… but not before this many seconds."""


class StatusEntry(NamedTuple):
    """A config or a run as one line of the list. `None`: not applicable, or unknown."""

    run: str | None
    config: str
    place: Place
    status: str | None
    """The name of a `Status`."""
    task: str | None
    """The id of the first task without a checkpoint."""
    task_index: int | None
    """Its number, from 0."""
    task_count: int | None
    attempt: int | None
    worker: str | None
    """The worker that holds, or last held, the run."""
    commit: str | None
    readied_at: str | None
    started_at: str | None
    ended_at: str | None
    """The times are UTC, ISO 8601."""
    elapsed_s: float | None
    """Seconds of work: what its attempts took, the current one until now."""
    progress: float | None
    """Progress of the running task, from 0 to 1, if it reports any."""
    eta_s: float | None
    """Seconds of work left (median), without the time spent waiting for a worker."""
    outcome: str | None
    held_by: str | None
    """The worker that holds the run now."""
    waits_for: tuple[str, ...]
    """The dependencies that have not completed, marked ``(gone)``, ``(failed)`` or ``(held)`` if so."""
    error: str | None
    eta_p90_s: float | None
    """The same as a 90th percentile, also below."""
    eta_at: str | None
    """Expected end of the run, including the wait for one of the living workers: UTC, ISO 8601."""
    eta_p90_at: str | None
    note: str | None
    """``silent``, ``delayed``, ``lost`` (its worker is unknown) or ``unreadable``."""
    commits: Mapping[str, str] | None = None
    """The commit of each task, by task id, if the run continued in other code; otherwise `None`."""
    waiting_s: float | None = None
    """Seconds in the queue and between attempts, until now if it waits."""
    try_number: int | None = None
    """The try of the current task that runs, comes next, or was the last: from 1."""
    most_tries: int | None = None
    """How many tries a task has."""
    why: tuple[Reason, ...] | None = None
    """Why it does not run, the most important reason first; `None` without ``--why``."""
    verdict: str | None = None
    """``identical``, ``equal`` or ``different``: the last verdict on it and its original or rerun."""
    usage: Usage | None = None
    """What its finished tasks used; `None` if none has finished, or it was not recorded."""

    @property
    def state(self) -> str:
        """The place, or ``cancelled`` or ``pruned`` for a run in Failed that ended so."""
        if self.place is Place.FAILED and self.outcome in INTENDED:
            return str(self.outcome)
        return str(self.place)

    def as_json(self) -> dict[str, Any]:
        """Return the entry as ``status --json`` prints it."""
        found = {_KEYS.get(name, name): value for name, value in self._asdict().items()}
        why = None if self.why is None else [reason.as_json() for reason in self.why]
        used = None if self.usage is None else asdict(self.usage)
        return {**found, "place": self.place.value, "why": why, "usage": used}


class Entries(Sequence[StatusEntry]):
    """Lazy sequence of entries: of a hundred thousand, a terminal shows a few."""

    def __init__(self, records: Sequence[RunRecord], make: Callable[[RunRecord], StatusEntry]) -> None:
        self.records = records
        self._make = make

    def explained(self, reasons: WaitingReasons) -> Entries:
        """Return the same entries with the reasons why they do not run."""
        return Entries(self.records, lambda record: self._make(record)._replace(why=reasons.of(record)))

    def with_verdicts(self, workspace: Workspace) -> Entries:
        """Return the same entries with the verdicts of verifications."""
        from job_orchestration.comparison import verdicts

        listed = verdicts.listed(workspace)

        def make(record: RunRecord) -> StatusEntry:
            made = self._make(record)
            found = listed.get(made.run or "")
            is_its = found is not None and found.readied_at == made.readied_at
            return made._replace(verdict=found.verdict) if found and is_its else made

        return Entries(self.records, make)

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, at: int) -> StatusEntry: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[StatusEntry, ...]: ...

    def __getitem__(self, at: int | slice) -> StatusEntry | tuple[StatusEntry, ...]:
        if isinstance(at, slice):
            return tuple(map(self._make, self.records[at]))
        return self._make(self.records[at])

    def last_failures(self, most: int, after: str) -> tuple[StatusEntry, ...]:
        """Return the runs that failed last, the latest first; a run that was cancelled or pruned is none.

        Args:
            most: maximum number of them.
            after: only those that ended after this time: UTC, ISO 8601.
        """
        import heapq

        failed = (r for r in self.records if r.end == "failed" and r.summary is not None)
        timed = ((r.summary.ended_at or "", at, r) for at, r in enumerate(failed) if r.summary is not None)
        recent = (one for one in timed if one[0] > after)
        return tuple(self._make(record) for _, _, record in heapq.nlargest(most, recent))


@dataclass(frozen=True, slots=True)
class Overview:
    """State of a workspace at one moment."""

    counts: Mapping[Place, int]
    """Number of configs and runs in each place, with zeros."""
    runs: Sequence[StatusEntry]
    """Running ones first, completed ones last; each group in the order of `readied_at`."""
    forecast: Forecast
    """When all waiting and running work is expected to end."""
    ends: Mapping[str, int] = field(default_factory=dict)
    """Number of runs that completed, failed, were cancelled and were pruned, with zeros."""
    searches: Sequence[SearchProblem] = ()
    """The searches that do not go on, and why."""
    hint: str | None = None
    """One sentence: that failed runs could go on in newer code."""
    families: Sequence[Family] = ()
    """The sweeps and searches with something left to do."""
    undelivered: int = 0
    """Number of messages that were given up."""
    is_explained: bool = False
    """Whether the entries say why they do not run."""
    refused: int = 0
    """Number of configs in ConfigSources that were refused."""

    def as_json(self) -> dict[str, Any]:
        """Return the overview as ``status --json`` prints it."""
        return {
            "counts": {str(place): n for place, n in self.counts.items()},
            "ends": dict(self.ends),
            "searches": [one.as_json() for one in self.searches],
            "undelivered": self.undelivered,
            "refused": self.refused,
            "forecast": asdict(self.forecast),
            "families": [family.as_json() for family in self.families],
            "runs": [e.as_json() for e in self.runs],
        }


def status(
    workspace: Workspace,
    catalog: Catalog | None = None,
    choice: Selection = selection.EVERYTHING,
    *,
    why: bool = False,
) -> Overview:
    """Return the state of a workspace. Changes nothing.

    Args:
        workspace: the workspace to read.
        catalog: the catalog of an earlier call, which caches ended runs.
        choice: the configs and runs to show and count.
        why: whether to find out why runs do not run.

    Raises:
        UsageError: if the selection names an unknown run or key.
    """
    records = (catalog or Catalog(workspace)).records()
    living = [heartbeat.worker for heartbeat in living_workers(workspace)]
    shown = selection.chosen(workspace, records, choice)
    coming, places = pending_trials(workspace, records), time_left.places_of(workspace, records)
    searches = families.standings(workspace)
    found = overview(records, clock.now(), living, shown, coming=coming, places=places, searches=searches)
    if os.path.exists(os.path.join(workspace.misc, VERDICTS)) and isinstance(found.runs, Entries):
        found = replace(found, runs=found.runs.with_verdicts(workspace))
    if why and isinstance(found.runs, Entries):
        reasons = reasons_of(workspace, records, places)
        found = replace(found, runs=found.runs.explained(reasons), is_explained=True)
    return replace(
        found,
        hint=_newer_code(workspace, shown),
        searches=stuck_searches(workspace),
        undelivered=_undelivered(workspace),
    )


def reasons_of(
    workspace: Workspace, records: Sequence[RunRecord], places: Mapping[str, Place]
) -> WaitingReasons:
    """Return what tells why each of the runs does not run."""
    from job_orchestration.queue.waiting_reasons import WaitingReasons

    searches = dict(stuck_searches(workspace))
    return WaitingReasons(records, living_workers(workspace), places, searches, clock.now())


def _undelivered(workspace: Workspace) -> int:
    """Return the number of messages that were given up; nothing is imported where there are none."""
    if not os.path.isdir(os.path.join(workspace.outbox, "undelivered")):
        return 0
    from job_orchestration.notifications import outbox

    return len(outbox.undelivered(workspace))


def stuck_searches(workspace: Workspace) -> Sequence[SearchProblem]:
    """Return the searches that do not go on, and why."""
    if not os.path.isdir(os.path.join(workspace.misc, "searches")):
        return ()
    from job_orchestration.search import search_problems

    return search_problems.all_of(workspace)


def _newer_code(workspace: Workspace, records: Sequence[RunRecord]) -> str | None:
    """Say that failed runs could go on in newer code; `None` if there is none."""
    failed = [r.summary for r in records if r.place is Place.FAILED and r.summary is not None]
    pairs = [(s.failed_in, s.commit) for s in failed if s.failed_in and s.commit]
    if not pairs:
        return None
    from pathlib import Path

    from job_orchestration.code import newer_commits
    from job_orchestration.code.snapshots import CodeStore

    trees = newer_commits.newer_trees(CodeStore(Path(workspace.misc)), reversed(pairs))
    runs = sum(top in trees and commit != trees[top] for top, commit in pairs)
    if not runs:
        return None
    count = counted(runs, "failed run has", "failed runs have")
    where = escaped(named(trees))
    return f"{count} newer code in {where}; to go on in it: job-orchestration retry RUN --commit HEAD"


def overview(
    records: Sequence[RunRecord],
    now: datetime,
    living: Collection[str] = (),
    shown: Sequence[RunRecord] | None = None,
    *,
    coming: Sequence[PendingTrials] = (),
    places: Mapping[str, Place] | None = None,
    searches: Sequence[families.Standing] = (),
) -> Overview:
    """Build the overview from records of the catalog.

    Args:
        records: all records; the forecast covers all of them.
        now: the current time.
        living: names of the workers known to be alive.
        shown: the records to show and count; `None` for all.
        coming: the trials that searches have yet to open.
        places: the place of each run, and of each search that runs depend on.
        searches: the searches that have not ended.
    """
    shown = records if shown is None else shown
    ahead = TimeLeft(records, now, living, coming, places)
    counts = Counter(r.place for r in shown)
    ends = Counter(
        r.end if r.place is Place.FAILED else "completed" for r in shown if r.place in FINAL_PLACES
    )
    ordered = sorted(shown, key=_place_in_list)
    return Overview(
        {place: counts[place] for place in Place},
        Entries(ordered, lambda record: entry(record, ahead)),
        ahead.forecast,
        {end: ends[end] for end in ENDS},
        families=families.active(records, shown, ahead, searches),
        refused=sum(r.place is Place.SOURCES and r.error is not None for r in shown),
    )


def _place_in_list(record: RunRecord) -> tuple[int, int, str, str]:
    summary = record.summary
    end = ENDS.index(record.end or "failed") if record.place is Place.FAILED else 0
    return (
        _RANK[record.place],
        end,
        (summary.readied_at if summary else None) or "",
        record.run or record.config,
    )


def waits_for(record: RunRecord, places: Mapping[str, Place]) -> tuple[str, ...]:
    """Return the dependencies of a waiting or held run that have not completed."""
    if record.summary is None or record.place not in {Place.TO_RUN, Place.HELD}:
        return ()
    left = {run: places.get(run) for run in record.summary.after if places.get(run) is not Place.COMPLETED}
    words = {None: " (gone)", Place.FAILED: " (failed)", Place.HELD: " (held)"}
    return tuple(f"{run}{words.get(place, '')}" for run, place in left.items())


def entry(record: RunRecord, ahead: TimeLeft) -> StatusEntry:
    """Return the entry of one config or run."""
    summary = record.summary
    work = ahead.work(record)
    left: Span | None = work.span if work else None
    end = ahead.end(record)
    return StatusEntry(
        run=record.run,
        config=record.config,
        place=record.place,
        status=summary.status if summary else None,
        task=summary.task if summary else None,
        task_index=summary.task_index if summary else None,
        task_count=summary.task_count if summary else None,
        attempt=(summary.attempt or None) if summary else None,
        worker=record.held_by or (summary.worker if summary else None),
        commit=summary.commit if summary else None,
        readied_at=summary.readied_at if summary else None,
        started_at=summary.started_at if summary else None,
        ended_at=summary.ended_at if summary else None,
        elapsed_s=_elapsed(record, summary, ahead.now),
        progress=time_left.fraction_of(record),
        eta_s=time_left.rounded(left.p50) if left else None,
        outcome=summary.outcome if summary else None,
        held_by=record.held_by,
        waits_for=waits_for(record, ahead.places),
        error=error_of(record),
        eta_p90_s=time_left.rounded(left.p90) if left else None,
        eta_at=ahead.at(end.p50) if end else None,
        eta_p90_at=ahead.at(end.p90) if end else None,
        note=_note(record, summary, ahead),
        commits=summary.commits if summary else None,
        waiting_s=_waiting(record, summary, ahead.now),
        try_number=summary.try_number if summary else None,
        most_tries=summary.most_tries if summary else None,
        usage=_usage(summary),
    )


def error_of(record: RunRecord) -> str | None:
    """Return why a config was refused, or why a run failed, was cancelled or waits for its next try."""
    summary = record.summary
    return record.error or (summary.error if summary and record.place is not Place.RUNNING else None)


def _usage(summary: RunSummary | None) -> Usage | None:
    if summary is None or summary.usage is None:
        return None
    cpu, peak, read, written = summary.usage
    numbers = [None if number is None else int(number) for number in (read, written)]
    return Usage(float(cpu or 0), int(peak or 0), *numbers)


def _elapsed(record: RunRecord, summary: RunSummary | None, now: datetime) -> float | None:
    if summary is None or summary.started_at is None:
        return None
    if summary.ended_at is not None:
        return summary.elapsed_s
    if record.place is not Place.RUNNING:
        return None
    return round((summary.elapsed_s or 0.0) + run_times.between(summary.working_since, now), 3)


def _waiting(record: RunRecord, summary: RunSummary | None, now: datetime) -> float | None:
    if summary is None or record.place is Place.INTERRUPTED:  # unknown since when
        return None
    return round(summary.waited_s + run_times.between(summary.waiting_since, now), 3)


def _note(record: RunRecord, summary: RunSummary | None, ahead: TimeLeft) -> str | None:
    if record.unreadable is not None:
        return unreadable.NOTE
    if record.place is Place.TO_RUN:
        return "delayed" if time_left.not_before(record) else None
    if record.place is not Place.RUNNING or summary is None:
        return None
    if record.held_by is None:
        return "lost"
    return _SILENT if _is_silent(record, summary, ahead) else None


class SilentRuns:
    """Callable that returns the silent runs; keeps a catalog between calls."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._catalog = Catalog(workspace)

    def __call__(self) -> list[str]:
        """Return the names of the silent runs."""
        runs = status(self._workspace, self._catalog).runs
        running = takewhile(lambda entry: entry.place is Place.RUNNING, runs)
        return [entry.run for entry in running if entry.note == _SILENT and entry.run is not None]


def _is_silent(record: RunRecord, summary: RunSummary, ahead: TimeLeft) -> bool:
    """Return whether log and progress have been quiet for much longer than the task usually takes."""
    if summary.since is None or summary.task_index is None or not summary.text:
        return False
    usual = ahead.median(summary.tasks[summary.task_index].method)
    signs = [summary.since, record.logged_at, record.heartbeat.moved_at if record.heartbeat else None]
    quiet = min(time_left.seconds_since(sign, ahead.now) for sign in signs if sign is not None)
    return usual is not None and quiet > max(_SILENT_AFTER * usual, _SILENT_AT_LEAST)
