"""`status`: who is where, and how long still."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, NamedTuple, overload

from job_orchestration.actions import outlook, selection
from job_orchestration.actions.oncoming import Oncoming, oncoming
from job_orchestration.actions.outlook import Forecast, Outlook
from job_orchestration.files.history import History, living_workers
from job_orchestration.model.run import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from job_orchestration.actions.selection import Choice
    from job_orchestration.files.history import RunRecord
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.summary import RunSummary
    from job_orchestration.rules.forecasting import Span

_ORDER: Final = (
    Place.RUNNING,
    Place.INTERRUPTED,
    Place.TO_RUN,
    Place.HELD,
    Place.SOURCES,
    Place.FAILED,
    Place.COMPLETED,
)
"""What a person wants to see first."""
_RANK: Final = {place: rank for rank, place in enumerate(_ORDER)}
_SILENT: Final = "silent"
_SILENT_AFTER: Final = 5
"""How many times as long as its task usually takes a run may be quiet until that is pointed out."""
_SILENT_AT_LEAST: Final = 60.0
"""Seconds of quiet that nobody needs to hear of."""


class Entry(NamedTuple):
    """A config or a run in one line. `None`: there is no such thing, or nobody knows."""

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
    """Who holds, or last held, the run."""
    commit: str | None
    readied_at: str | None
    started_at: str | None
    ended_at: str | None
    """The times are UTC, ISO 8601."""
    elapsed_s: float | None
    """From the first claim to the end, or until now when somebody works on it."""
    progress: float | None
    """How far the running task is, from 0 to 1, when it tells."""
    eta_s: float | None
    """Seconds of work left, the waiting for a worker not counted; less with a chance of one half."""
    outcome: str | None
    held_by: str | None
    """The worker that holds the run now."""
    waits_for: tuple[str, ...]
    """The runs that it comes after and that have not completed, each with its place when that is an end."""
    error: str | None
    eta_p90_s: float | None
    """The same with a chance of nine in ten, and so below."""
    eta_at: str | None
    """When the run will have ended, the waiting for one of the living workers included: UTC, ISO 8601."""
    eta_p90_at: str | None
    note: str | None
    """``silent delayed lost``: what a person should know; the last when nobody knows of its worker."""

    def as_json(self) -> dict[str, Any]:
        """The entry as ``status --json`` shows it."""
        return {**self._asdict(), "place": self.place.value}


class Entries(Sequence[Entry]):
    """Entries that are made when they are looked at: of a hundred thousand, a person sees a few."""

    def __init__(self, records: Sequence[RunRecord], make: Callable[[RunRecord], Entry]) -> None:
        self.records = records
        self._make = make

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, at: int) -> Entry: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[Entry, ...]: ...

    def __getitem__(self, at: int | slice) -> Entry | tuple[Entry, ...]:
        if isinstance(at, slice):
            return tuple(map(self._make, self.records[at]))
        return self._make(self.records[at])


@dataclass(frozen=True, slots=True)
class Overview:
    """A workspace at one moment."""

    counts: Mapping[Place, int]
    """How many configs are in each place; every place has its number."""
    runs: Sequence[Entry]
    """What runs comes first, what has completed last; each group in the order in which it was readied."""
    forecast: Forecast
    """When all that waits or runs will have ended."""

    def as_json(self) -> dict[str, Any]:
        """The overview as ``status --json`` shows it."""
        return {
            "counts": {str(place): n for place, n in self.counts.items()},
            "forecast": asdict(self.forecast),
            "runs": [e.as_json() for e in self.runs],
        }


def status(
    workspace: Workspace, history: History | None = None, choice: Choice = selection.EVERYTHING
) -> Overview:
    """Look at a workspace without changing it.

    Args:
        workspace: the one to look at.
        history: the reader of an earlier look, which remembers what has ended.
        choice: which configs and runs are shown and counted.

    Raises:
        UsageError: when the choice names what is not there.
    """
    records = (history or History(workspace)).records()
    living = [beat.worker for beat in living_workers(workspace)]
    shown = selection.chosen(workspace, records, choice)
    coming, places = oncoming(workspace, records), outlook.places_of(workspace, records)
    return overview(records, datetime.now(UTC), living, shown, coming=coming, places=places)


def overview(
    records: Sequence[RunRecord],
    now: datetime,
    living: Collection[str] = (),
    shown: Sequence[RunRecord] | None = None,
    *,
    coming: Sequence[Oncoming] = (),
    places: Mapping[str, Place] | None = None,
) -> Overview:
    """What was found, in the words of ``status``.

    Args:
        records: what was found; the time left is that of all of it.
        now: the present.
        living: the names of the workers that are known to live.
        shown: what of it is shown and counted; all of it when `None`.
        coming: the trials that searches still open.
        places: where each run is, and each search that others come after.
    """
    shown = records if shown is None else shown
    ahead = Outlook(records, now, living, coming, places)
    counts = Counter(r.place for r in shown)
    ordered = sorted(shown, key=_place_in_list)
    return Overview(
        {place: counts[place] for place in Place},
        Entries(ordered, lambda record: entry(record, ahead)),
        ahead.forecast,
    )


def _place_in_list(record: RunRecord) -> tuple[int, str, str]:
    summary = record.summary
    return _RANK[record.place], (summary.readied_at if summary else None) or "", record.run or record.config


def waits_for(record: RunRecord, places: Mapping[str, Place]) -> tuple[str, ...]:
    """The runs that one which is not claimed yet comes after and that have not completed."""
    if record.summary is None or record.place not in {Place.TO_RUN, Place.HELD}:
        return ()
    left = {run: places.get(run) for run in record.summary.after if places.get(run) is not Place.COMPLETED}
    words = {None: " (gone)", Place.FAILED: " (failed)", Place.HELD: " (held)"}
    return tuple(f"{run}{words.get(place, '')}" for run, place in left.items())


def entry(record: RunRecord, ahead: Outlook) -> Entry:
    """One run in the words of ``status``."""
    summary = record.summary
    work = ahead.work(record)
    left: Span | None = work.span if work else None
    end = ahead.end(record)
    return Entry(
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
        progress=outlook.fraction_of(record),
        eta_s=outlook.rounded(left.p50) if left else None,
        outcome=summary.outcome if summary else None,
        held_by=record.held_by,
        waits_for=waits_for(record, ahead.places),
        error=record.error or (summary.error if summary else None),
        eta_p90_s=outlook.rounded(left.p90) if left else None,
        eta_at=ahead.at(end.p50) if end else None,
        eta_p90_at=ahead.at(end.p90) if end else None,
        note=_note(record, summary, ahead),
    )


def _elapsed(record: RunRecord, summary: RunSummary | None, now: datetime) -> float | None:
    if summary is None or summary.started_at is None:
        return None
    if summary.ended_at is not None:
        return summary.elapsed_s
    if record.place is not Place.RUNNING:
        return None
    return round(max((now - datetime.fromisoformat(summary.started_at)).total_seconds(), 0.0), 3)


def _note(record: RunRecord, summary: RunSummary | None, ahead: Outlook) -> str | None:
    if record.place is Place.TO_RUN:
        return "delayed" if outlook.not_before(record) else None
    if record.place is not Place.RUNNING or summary is None:
        return None
    if record.held_by is None:
        return "lost"
    return _SILENT if _is_silent(record, summary, ahead) else None


class SilentRuns:
    """Which runs are silent, for somebody who asks again and again: call it."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._history = History(workspace)

    def __call__(self) -> list[str]:
        """The names of the runs whose note says so."""
        runs = status(self._workspace, self._history).runs
        running = takewhile(lambda entry: entry.place is Place.RUNNING, runs)
        return [entry.run for entry in running if entry.note == _SILENT and entry.run is not None]


def _is_silent(record: RunRecord, summary: RunSummary, ahead: Outlook) -> bool:
    """Whether neither its log nor its progress told anything for much longer than its task usually takes."""
    if summary.since is None or summary.task_index is None or not summary.text:
        return False
    usual = ahead.usual(summary.tasks[summary.task_index].method)
    signs = [summary.since, record.logged_at, record.beat.moved_at if record.beat else None]
    quiet = min(outlook.seconds_since(sign, ahead.now) for sign in signs if sign is not None)
    return usual is not None and quiet > max(_SILENT_AFTER * usual, _SILENT_AT_LEAST)
