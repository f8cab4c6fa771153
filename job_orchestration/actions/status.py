"""`status`: who is where, and how long still."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.files.history import History
from job_orchestration.model.run import Place, Status, TaskStatus
from job_orchestration.rules import forecasting
from job_orchestration.rules.settings import settings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from job_orchestration.files.history import RunRecord
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.run import RunState

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


@dataclass(frozen=True, slots=True)
class Entry:
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
    """Seconds of work left, the waiting for a worker not counted."""
    outcome: str | None
    held_by: str | None
    """The worker that holds the run now."""
    waits_for: tuple[str, ...]
    """The runs that it comes after and that have not completed, each with its place when that is an end."""
    error: str | None

    def as_json(self) -> dict[str, Any]:
        """The entry as ``status --json`` shows it."""
        return {**asdict(self), "place": str(self.place)}


@dataclass(frozen=True, slots=True)
class Overview:
    """A workspace at one moment."""

    counts: Mapping[Place, int]
    """How many configs are in each place; every place has its number."""
    runs: tuple[Entry, ...]
    """What runs comes first, what has completed last; each group in the order in which it was readied."""

    def as_json(self) -> dict[str, Any]:
        """The overview as ``status --json`` shows it."""
        return {
            "counts": {str(place): n for place, n in self.counts.items()},
            "runs": [e.as_json() for e in self.runs],
        }


def status(workspace: Workspace, history: History | None = None) -> Overview:
    """Look at a workspace without changing it.

    Args:
        workspace: the one to look at.
        history: the reader of an earlier look, which remembers what has ended.
    """
    return overview((history or History(workspace)).records(), datetime.now(UTC))


def overview(records: Sequence[RunRecord], now: datetime) -> Overview:
    """What was found, in the words of ``status``."""
    usual = forecasting.usual_durations(r.state for r in records if r.state is not None)
    places = places_of(records)
    counts = Counter(r.place for r in records)
    runs = [entry(record, usual, now, places) for record in records]
    runs.sort(key=lambda e: (_ORDER.index(e.place), e.readied_at or "", e.run or e.config))
    return Overview({place: counts[place] for place in Place}, tuple(runs))


def places_of(records: Iterable[RunRecord]) -> dict[str, Place]:
    """Where each run is, by its name."""
    return {record.run: record.place for record in records if record.run is not None}


def waits_for(record: RunRecord, places: Mapping[str, Place]) -> tuple[str, ...]:
    """The runs that one which is not claimed yet comes after and that have not completed."""
    if record.state is None or record.place not in {Place.TO_RUN, Place.HELD}:
        return ()
    after = settings_of(record.state.values).after if "after" in record.state.values else ()
    left = {run: places.get(run) for run in after if places.get(run) is not Place.COMPLETED}
    words = {None: " (gone)", Place.FAILED: " (failed)", Place.HELD: " (held)"}
    return tuple(f"{run}{words.get(place, '')}" for run, place in left.items())


def entry(record: RunRecord, usual: Mapping[str, float], now: datetime, places: Mapping[str, Place]) -> Entry:
    """One run in the words of ``status``; ``places`` is where all runs are."""
    state = record.state
    current = state.current if state else None
    task = state.tasks[current] if state and current is not None else None
    fraction = _fraction(record, task.id) if task and task.status is TaskStatus.RUNNING else None
    return Entry(
        run=record.run,
        config=record.config,
        place=record.place,
        status=state.status.name if state else None,
        task=task.id if task else None,
        task_index=current,
        task_count=len(state.tasks) if state else None,
        attempt=(state.attempt or None) if state else None,
        worker=record.held_by or (state.worker if state else None),
        commit=state.code.commit if state and state.code else None,
        readied_at=state.readied_at if state else None,
        started_at=state.started_at if state else None,
        ended_at=state.ended_at if state else None,
        elapsed_s=_elapsed(record, now),
        progress=fraction,
        eta_s=_time_left(record, usual, now, fraction),
        outcome=state.outcome.value if state and state.outcome else None,
        held_by=record.held_by,
        waits_for=waits_for(record, places),
        error=record.error or (_error(state) if state else None),
    )


def _fraction(record: RunRecord, task: str) -> float | None:
    beat = record.beat
    if beat is None or beat.task != task or beat.done is None or not beat.total:
        return None
    return round(min(max(beat.done / beat.total, 0.0), 1.0), 4)


def _elapsed(record: RunRecord, now: datetime) -> float | None:
    state = record.state
    if state is None or state.started_at is None:
        return None
    began = datetime.fromisoformat(state.started_at)
    if state.ended_at is not None:
        until = datetime.fromisoformat(state.ended_at)
    elif record.place is Place.RUNNING:
        until = now
    else:
        return None
    return round(max((until - began).total_seconds(), 0.0), 3)  # a clock may have been set back since


def _time_left(
    record: RunRecord, usual: Mapping[str, float], now: datetime, fraction: float | None
) -> float | None:
    if record.state is None or record.place in {Place.COMPLETED, Place.FAILED}:
        return None
    present = now if record.place is Place.RUNNING else None
    return forecasting.time_left(record.state, usual, present, fraction)


def _error(state: RunState) -> str | None:
    return state.error or (state.reason if state.status is Status.FAILED else None)
