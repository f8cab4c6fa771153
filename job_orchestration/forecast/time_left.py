"""Estimate the work left of each run, and when the queue will be empty."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.runs.summaries import RunSummary, text_of_tasks
from job_orchestration.workspace.layout import ACTIVE_PLACES, Place
from job_orchestration.workspace.naming import TokenName

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from job_orchestration.forecast.task_durations import DurationHistory, Progress, Span, Work
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.workspace.layout import Workspace

_FARTHEST: Final = timedelta(days=365_000)
"""Limit of estimated times; the calendar ends."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """The estimate for the whole queue; `None` means unknown."""

    workers: int
    """Number of workers that are alive or hold a run, as far as known."""
    runs: int
    """Number of runs that wait, are interrupted, run, or are still to be opened by a search; without those
    that come after a held, failed or missing run, which start only after a user's action."""
    unknown: int
    """Number of these runs with a task whose method has no history."""
    work_s: float | None
    """Median of the total work of all other runs in seconds, for one worker."""
    work_p90_s: float | None
    """The 90 % quantile, here and below."""
    eta_s: float | None
    """Seconds until the last run ends with these workers; `None` without workers, or with an unknown run."""
    eta_p90_s: float | None
    eta_at: str | None
    """The same as a time: UTC, ISO 8601."""
    eta_p90_at: str | None


class TimeLeft:
    """Time left of runs and of the queue.

    Args:
        records: all records of the workspace.
        now: the current time.
        living: the names of the workers known to be alive; workers that hold a run are always counted.
        pending: the trials that searches still open.
        places: the place of each run, and of each search that runs come after; by default runs only.
    """

    def __init__(
        self,
        records: Sequence[RunRecord],
        now: datetime,
        living: Collection[str] = (),
        pending: Sequence[PendingTrials] = (),
        places: Mapping[str, Place] | None = None,
    ) -> None:
        self.now = now
        self._past_durations: DurationHistory | None = None
        self._records = records
        self.places = runs_in(records) if places is None else places
        self._workers = len({*living, *(r.held_by for r in records if r.held_by is not None)})
        self._works: dict[str, Work | None] = {}
        self._ends: dict[str, Span] = {}
        self._pending = pending
        self.forecast = self._simulate([r for r in records if r.place in ACTIVE_PLACES and r.run is not None])

    def work(self, record: RunRecord) -> Work | None:
        """Return the work left of a run; `None` if there is none, or it is unknown."""
        if record.place not in ACTIVE_PLACES or record.summary is None:
            return None
        if record.path not in self._works:
            self._works[record.path] = self._durations().work_left(
                record.summary, progress_of(record, self.now)
            )
        return self._works[record.path]

    def _work_of(self, one: PendingTrials) -> Work | None:
        return None if one.like is None else self._durations().work_left(one.like)

    def end(self, record: RunRecord) -> Span | None:
        """Return the seconds until a run ends, the wait for a worker included."""
        return self._ends.get(record.path)

    def median(self, method: str) -> float | None:
        """Return the median duration of a method; `None` if it has no history."""
        return self._durations().median(method)

    def at(self, seconds: float | None) -> str | None:
        """Return the time that many seconds from now."""
        return moment(self.now, seconds)

    def _durations(self) -> DurationHistory:
        """Return the history of durations; read on first use."""
        if self._past_durations is None:
            from job_orchestration.forecast.task_durations import DurationHistory

            self._past_durations = DurationHistory(_latest_first(self._records))
        return self._past_durations

    def _simulate(self, records: Sequence[RunRecord]) -> Forecast:
        never = _behind(records, lambda run: self.places.get(run) not in {*ACTIVE_PLACES, Place.COMPLETED})
        works = [(record, self.work(record)) for record in records if record.run not in never]
        known = [(record, work) for record, work in works if work is not None]
        later = [w for one in self._pending for w in [self._work_of(one)] * one.number]
        trials = [work for work in later if work is not None]
        runs = len(works) + len(later)
        unknown = runs - len(known) - len(trials)
        if not known:
            return Forecast(self._workers, runs, unknown, *(None,) * 6)
        from job_orchestration.forecast import queue_simulation

        total = queue_simulation.total([*(work for _, work in known), *trials])
        running = [(r, w) for r, w in known if r.held_by is not None]
        waiting = [(r, w) for r, w in known if r.held_by is None and r.place is not Place.RUNNING]
        waiting.sort(key=lambda found: _turn(found[0]))
        whole = None
        if self._workers:
            simulated = {r.run for r, _ in (*running, *waiting)}
            blocked = _behind(
                records, lambda run: run not in simulated and self.places.get(run) is not Place.COMPLETED
            )
            waiting = [found for found in waiting if found[0].run not in blocked]
            in_order = [*running, *waiting]
            numbers = {record.run: number for number, (record, _) in enumerate(in_order)}
            queue = [
                queue_simulation.Waiting(work, _delay(record, self.now), _numbers_of(record, numbers))
                for record, work in waiting
            ]
            queue += [queue_simulation.Waiting(work) for work in trials]
            simulation = queue_simulation.simulate([w for _, w in running], queue, self._workers)
            ends = zip(
                in_order, (*simulation.running, *simulation.waiting), strict=False
            )  # pending trials have no record
            self._ends = {record.path: end for (record, _), end in ends}
            whole = simulation.whole if len(in_order) + len(trials) == runs else None
        return Forecast(
            self._workers,
            runs,
            unknown,
            rounded(total.p50),
            rounded(total.p90),
            rounded(whole.p50) if whole else None,
            rounded(whole.p90) if whole else None,
            self.at(whole.p50) if whole else None,
            self.at(whole.p90) if whole else None,
        )


def runs_in(records: Iterable[RunRecord]) -> dict[str, Place]:
    """Map each run to its place."""
    return {record.run: record.place for record in records if record.run is not None}


def places_of(workspace: Workspace, records: Sequence[RunRecord]) -> dict[str, Place]:
    """Map each run to its place, and the folder of each search that runs may come after."""
    found = runs_in(records)
    if any(record.summary.after for record in records if record.summary is not None):
        from job_orchestration.search import searches

        for base, ended in searches.standing(workspace).items():
            found.setdefault(base, Place.COMPLETED if ended else Place.RUNNING)
    return found


def _after(record: RunRecord) -> Sequence[str]:
    """Return the runs that a waiting run comes after."""
    return record.summary.after if record.place is Place.TO_RUN and record.summary is not None else ()


def _behind(records: Iterable[RunRecord], is_meant: Callable[[str], bool]) -> set[str]:
    """Return the runs that come, directly or not, after a run for which `is_meant` is true."""
    followers: dict[str, list[str]] = {}
    for record in records:
        for run in _after(record):
            followers.setdefault(run, []).append(record.run or "")
    ahead = [run for run in followers if is_meant(run)]
    found: set[str] = set()
    while ahead:
        new = [run for run in followers.get(ahead.pop(), ()) if run not in found]
        found.update(new)
        ahead += new
    return found


def _turn(record: RunRecord) -> tuple[bool, int, str]:
    """Sort key of claims: interrupted runs first, then by priority, then by age."""
    summary = record.summary
    return (
        record.place is Place.TO_RUN,
        -summary.priority if summary else 0,
        (summary.readied_at if summary else None) or "",
    )


def _numbers_of(record: RunRecord, numbers: Mapping[str | None, int]) -> tuple[int, ...]:
    """Return the indices of the unfinished runs that a run comes after."""
    return tuple(numbers[run] for run in _after(record) if run in numbers)


def _latest_first(records: Sequence[RunRecord]) -> list[RunSummary]:
    """Return the summaries of all runs that were ever claimed, the latest first."""
    found = [s for r in records if (s := r.summary) is not None and s.started_at is not None]
    found.sort(key=lambda summary: summary.ended_at or summary.started_at or "", reverse=True)
    return found


def progress_of(record: RunRecord, now: datetime) -> Progress | None:
    """Return the progress of a run's running task; `None` if no task runs."""
    summary = record.summary
    if summary is None or record.place is not Place.RUNNING or summary.since is None:
        return None
    reported_at = record.heartbeat.at if record.heartbeat else None
    from job_orchestration.forecast.task_durations import Progress

    return Progress(seconds_since(summary.since, now), fraction_of(record), seconds_since(reported_at, now))


def seconds_since(moment: str | None, now: datetime) -> float:
    """Return the seconds since a time; at least 0, because clocks and heartbeats may be wrong."""
    with suppress(ValueError, TypeError):
        return max((now - datetime.fromisoformat(moment or "")).total_seconds(), 0.0)
    return 0.0


def fraction_of(record: RunRecord) -> float | None:
    """Return the progress that the running task reports, from 0 to 1."""
    heartbeat, summary = record.heartbeat, record.summary
    if heartbeat is None or summary is None or summary.since is None:
        return None
    if heartbeat.task != summary.task or heartbeat.done is None or not heartbeat.total:
        return None
    return round(min(max(heartbeat.done / heartbeat.total, 0.0), 1.0), 4)


def not_before(record: RunRecord) -> str | None:
    """Return the earliest time at which a run may be claimed; `None` if it has no delay."""
    name = _name(record)
    return None if name is None else name.not_before


def _name(record: RunRecord) -> TokenName | None:
    filename = os.path.basename(record.path)
    return TokenName.parse(filename) if record.place is Place.TO_RUN and "~" in filename else None


def _delay(record: RunRecord, now: datetime) -> float:
    until = not_before(record)
    return max((datetime.fromisoformat(until) - now).total_seconds(), 0.0) if until else 0.0


def moment(now: datetime, seconds: float | None) -> str | None:
    """Return the time that many seconds after `now`: UTC, ISO 8601, whole seconds."""
    if seconds is None:
        return None
    ahead = min(timedelta(seconds=min(seconds, 1e12)), _FARTHEST)
    return (now + ahead).astimezone(UTC).isoformat(timespec="seconds")


def rounded(seconds: float) -> float:
    """Round seconds for display."""
    return round(seconds, 1 if seconds >= 10 else 3)  # noqa: PLR2004  # below, the digits are the number


_NUMBERED: Final = re.compile(r"([0-9]{4,9})(?:,.*)?")


class PendingTrials(NamedTuple):
    """The trials that a search still opens."""

    like: RunSummary | None
    """The summary of one of its trials, reset to before its start; `None` if there is none."""
    number: int


def pending_trials(workspace: Workspace, records: Sequence[RunRecord]) -> list[PendingTrials]:
    """Return the trials that searches still open, without those that wait; nothing is changed or locked."""
    if not os.path.isdir(os.path.join(workspace.misc, "searches")):
        return []
    from job_orchestration.search import search_problems, searches

    names = [n for n in searches.active(workspace) if search_problems.read(workspace, n) is None]
    specs = [searches.read(workspace, name) for name in names]
    found = [_of_search(order.base, order.search.n, records) for order in specs if order is not None]
    return [one for one in found if one.number > 0]


def _of_search(base: str, trials: int, records: Sequence[RunRecord]) -> PendingTrials:
    opened, like = 0, None
    for record in records:
        folder, _, name = (record.run or "").rpartition("/")
        match = _NUMBERED.fullmatch(name) if folder == base else None
        if match is not None and record.summary is not None:
            opened, like = max(opened, int(match[1])), record.summary
    return PendingTrials(like and _reset(like), trials - opened)


def _reset(summary: RunSummary) -> RunSummary:
    tasks = [task._replace(status="waiting", duration_s=None) for task in summary.tasks]
    return summary._replace(text=text_of_tasks(tasks) or "")
