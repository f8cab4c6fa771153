"""What is to come, seen from what was found: the work before each run, and when the queue will be empty."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from job_orchestration.model.run import Place
from job_orchestration.rules.naming import TokenName

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from job_orchestration.actions.oncoming import Oncoming
    from job_orchestration.files.history import RunRecord
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.summary import RunSummary
    from job_orchestration.rules.forecasting import Past, Present, Span, Work

_TO_COME: Final = frozenset({Place.TO_RUN, Place.RUNNING, Place.INTERRUPTED})
_FARTHEST: Final = timedelta(days=365_000)
"""How far ahead a moment is told; the calendar has an end."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """The queue as a whole. `None`: nobody knows."""

    workers: int
    """Those that live or hold a run, as far as anybody knows."""
    runs: int
    """How many are waiting, interrupted, worked on, or still to be opened by a search; left out are those
    that come after one that is held, failed or gone: they will not begin unless somebody does something."""
    unknown: int
    """How many of them have a task whose method has no history."""
    work_s: float | None
    """Seconds of work in all other runs, for one worker; less than that with a chance of one half."""
    work_p90_s: float | None
    """The same with a chance of nine in ten, and so below."""
    eta_s: float | None
    """Seconds until the last run ends, with these workers; `None` without any, or with an unknown run."""
    eta_p90_s: float | None
    eta_at: str | None
    """The same as moments: UTC, ISO 8601."""
    eta_p90_at: str | None


class Outlook:
    """What is to come of some records.

    Args:
        records: all that there are.
        now: the present.
        living: the names of the workers that are known to live; those that hold a run count in any case.
        coming: the trials that searches still open.
        places: where each run is, and each search that others come after; without it, runs alone.
    """

    def __init__(
        self,
        records: Sequence[RunRecord],
        now: datetime,
        living: Collection[str] = (),
        coming: Sequence[Oncoming] = (),
        places: Mapping[str, Place] | None = None,
    ) -> None:
        self.now = now
        self._past: Past | None = None
        self._records = records
        self.places = runs_in(records) if places is None else places
        self._workers = len({*living, *(r.held_by for r in records if r.held_by is not None)})
        self._works: dict[str, Work | None] = {}
        self._ends: dict[str, Span] = {}
        self._coming = coming
        self.forecast = self._play([r for r in records if r.place in _TO_COME and r.run is not None])

    def work(self, record: RunRecord) -> Work | None:
        """What a run has before it; `None`: nothing, or nobody knows."""
        if record.place not in _TO_COME or record.summary is None:
            return None
        if record.path not in self._works:
            self._works[record.path] = self._known().works(record.summary, present_of(record, self.now))
        return self._works[record.path]

    def _work_of(self, one: Oncoming) -> Work | None:
        return None if one.like is None else self._known().works(one.like)

    def end(self, record: RunRecord) -> Span | None:
        """Seconds until a run ends, the waiting for a worker included."""
        return self._ends.get(record.path)

    def usual(self, method: str) -> float | None:
        """The median duration of a method."""
        return self._known().usual(method)

    def at(self, seconds: float | None) -> str | None:
        """A moment that is so far ahead."""
        return moment(self.now, seconds)

    def _known(self) -> Past:
        """What tasks took; looked for when somebody asks, and then once."""
        if self._past is None:
            from job_orchestration.rules.forecasting import Past

            self._past = Past(_latest_first(self._records))
        return self._past

    def _play(self, records: Sequence[RunRecord]) -> Forecast:
        never = _behind(records, lambda run: self.places.get(run) not in {*_TO_COME, Place.COMPLETED})
        works = [(record, self.work(record)) for record in records if record.run not in never]
        known = [(record, work) for record, work in works if work is not None]
        later = [w for one in self._coming for w in [self._work_of(one)] * one.number]
        trials = [work for work in later if work is not None]
        runs = len(works) + len(later)
        unknown = runs - len(known) - len(trials)
        if not known:
            return Forecast(self._workers, runs, unknown, *(None,) * 6)
        from job_orchestration.rules import queueing

        total = queueing.total([*(work for _, work in known), *trials])
        running = [(r, w) for r, w in known if r.held_by is not None]
        waiting = [(r, w) for r, w in known if r.held_by is None and r.place is not Place.RUNNING]
        waiting.sort(key=lambda found: _turn(found[0]))
        whole = None
        if self._workers:
            told = {r.run for r, _ in (*running, *waiting)}
            untold = _behind(
                records, lambda run: run not in told and self.places.get(run) is not Place.COMPLETED
            )
            waiting = [found for found in waiting if found[0].run not in untold]
            playing = [*running, *waiting]
            numbers = {record.run: number for number, (record, _) in enumerate(playing)}
            queue = [
                queueing.Waiting(work, _delay(record, self.now), _numbers_of(record, numbers))
                for record, work in waiting
            ]
            queue += [queueing.Waiting(work) for work in trials]
            played = queueing.play([w for _, w in running], queue, self._workers)
            ends = zip(playing, (*played.running, *played.waiting), strict=False)  # trials are no runs yet
            self._ends = {record.path: end for (record, _), end in ends}
            whole = played.whole if len(playing) + len(trials) == runs else None
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
    """Where each run is, by its name."""
    return {record.run: record.place for record in records if record.run is not None}


def places_of(workspace: Workspace, records: Sequence[RunRecord]) -> dict[str, Place]:
    """Where each run is, by its name, and each search that others may come after, by its folder."""
    found = runs_in(records)
    if any(record.summary.after for record in records if record.summary is not None):
        from job_orchestration.files import searches

        for base, ended in searches.standing(workspace).items():
            found.setdefault(base, Place.COMPLETED if ended else Place.RUNNING)
    return found


def _after(record: RunRecord) -> Sequence[str]:
    """The runs that one which is not claimed yet comes after."""
    return record.summary.after if record.place is Place.TO_RUN and record.summary is not None else ()


def _behind(records: Iterable[RunRecord], is_meant: Callable[[str], bool]) -> set[str]:
    """The runs that come after one that is meant, or after one that does."""
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
    """The order in which workers take runs: what was interrupted first, then the urgent, then the oldest."""
    summary = record.summary
    return (
        record.place is Place.TO_RUN,
        -summary.priority if summary else 0,
        (summary.readied_at if summary else None) or "",
    )


def _numbers_of(record: RunRecord, numbers: Mapping[str | None, int]) -> tuple[int, ...]:
    """The numbers of those that a run comes after and that have not completed."""
    return tuple(numbers[run] for run in _after(record) if run in numbers)


def _latest_first(records: Sequence[RunRecord]) -> list[RunSummary]:
    """The summaries of all runs that were ever claimed, the latest first."""
    found = [s for r in records if (s := r.summary) is not None and s.started_at is not None]
    found.sort(key=lambda summary: summary.ended_at or summary.started_at or "", reverse=True)
    return found


def present_of(record: RunRecord, now: datetime) -> Present | None:
    """How far the running task of a run is, when somebody works on it."""
    summary = record.summary
    if summary is None or record.place is not Place.RUNNING or summary.since is None:
        return None
    told_at = record.beat.at if record.beat else None
    from job_orchestration.rules.forecasting import Present

    return Present(seconds_since(summary.since, now), fraction_of(record), seconds_since(told_at, now))


def seconds_since(moment: str | None, now: datetime) -> float:
    """Never less than 0: clocks may have been set, and of a beat nobody knows who wrote it."""
    with suppress(ValueError, TypeError):
        return max((now - datetime.fromisoformat(moment or "")).total_seconds(), 0.0)
    return 0.0


def fraction_of(record: RunRecord) -> float | None:
    """How far the running task says it is, from 0 to 1."""
    beat, summary = record.beat, record.summary
    if beat is None or summary is None or summary.since is None:
        return None
    if beat.task != summary.task or beat.done is None or not beat.total:
        return None
    return round(min(max(beat.done / beat.total, 0.0), 1.0), 4)


def not_before(record: RunRecord) -> str | None:
    """The moment before which nobody takes a run."""
    name = _name(record)
    return None if name is None else name.not_before


def _name(record: RunRecord) -> TokenName | None:
    filename = os.path.basename(record.path)
    return TokenName.parse(filename) if record.place is Place.TO_RUN and "~" in filename else None


def _delay(record: RunRecord, now: datetime) -> float:
    until = not_before(record)
    return max((datetime.fromisoformat(until) - now).total_seconds(), 0.0) if until else 0.0


def moment(now: datetime, seconds: float | None) -> str | None:
    """A moment that is so many seconds ahead: UTC, ISO 8601, whole seconds."""
    if seconds is None:
        return None
    ahead = min(timedelta(seconds=min(seconds, 1e12)), _FARTHEST)
    return (now + ahead).astimezone(UTC).isoformat(timespec="seconds")


def rounded(seconds: float) -> float:
    """Seconds with as many digits as anybody needs."""
    return round(seconds, 1 if seconds >= 10 else 3)  # noqa: PLR2004  # below, the digits are the number
