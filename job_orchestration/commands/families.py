"""Summarise sweeps and searches: the state of their trials, the best one, and the time left.

The trials of a sweep or a search are ordinary runs in one folder. A sweep is known by the names of its
trials' folders (``layers=1,lr=0.1``), so no journal is read for `status`; a search by its order.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from job_orchestration.workspace import naming
from job_orchestration.workspace.layout import ACTIVE_PLACES, FINAL_PLACES, Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.forecast.time_left import TimeLeft
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.search.search_settings import TrialResult
    from job_orchestration.search.searches import SearchOrder
    from job_orchestration.workspace.layout import Workspace

_MOST_SHOWN: Final = 5
"""Number of the best, and of the failed, trials that are listed."""


class Best(NamedTuple):
    """A trial with a value of the metric."""

    run: str
    value: float
    parameters: Mapping[str, Json]


class Standing(NamedTuple):
    """A search that has not ended, as `status` reads it."""

    name: str
    base: str
    trials: int
    metric: str
    best: Best | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Family:
    """A sweep or a search at one moment."""

    kind: str
    """``sweep`` or ``search``."""
    name: str
    """The name of the search, or of the sweep's config."""
    folder: str
    """The folder of the trials, relative to ``Output/``."""
    trials: int
    """Number of trials, with those that a search has yet to open."""
    opened: int
    ends: Mapping[str, int]
    """Number of trials that ended in each way: ``completed``, ``failed``, ``pruned``, ``cancelled``."""
    places: Mapping[str, int]
    """Number of opened trials in each place, without zeros."""
    method: str | None = None
    """How a search chooses; `None` for sweeps, as in the next fields."""
    metric: str | None = None
    direction: str | None = None
    best: Best | None = None
    """The best trial so far."""
    eta_s: float | None = None
    """Seconds until the last trial ends (median); `None` if nothing is left or it is unknown."""
    eta_p90_s: float | None = None
    problem: str | None = None
    """What keeps a search from going on; then nothing is known of its end."""
    leaders: tuple[Best, ...] = ()
    """The best trials, the best first; only for `show`."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Errors of failed trials, by run; only for `show`."""

    @property
    def ended(self) -> int:
        """Number of trials that have ended."""
        return sum(self.ends.values())

    def as_json(self) -> dict[str, Any]:
        """Return the family as ``show --json`` and ``status --json`` print it."""
        values = {name: getattr(self, name) for name in self.__slots__ if name not in {"leaders", "failed"}}
        best = None if self.best is None else self.best._asdict()
        return {
            **values,
            "ended": self.ended,
            "ends": dict(self.ends),
            "places": dict(self.places),
            "best": best,
        }


# -- for `status` -----------------------------------------------------------------------------------------


def standings(workspace: Workspace) -> list[Standing]:
    """Return the searches that have not ended, with the best trial that their view names."""
    if not os.path.isdir(os.path.join(workspace.misc, "searches")):
        return []
    from job_orchestration.search import searches

    found = [searches.read(workspace, name) for name in searches.active(workspace)]
    return [_standing(workspace, order) for order in found if order is not None]


def _standing(workspace: Workspace, order: SearchOrder) -> Standing:
    from job_orchestration.search import search_problems

    search, problem = order.search, search_problems.read(workspace, order.name)
    return Standing(order.name, order.base, search.n, search.metric, _viewed_best(workspace, order), problem)


def _viewed_best(workspace: Workspace, order: SearchOrder) -> Best | None:
    from job_orchestration.search import searches

    match searches.read_state(workspace, order).get("best"):
        case {"run": str(run), "value": int() | float() as value, "parameters": dict(parameters)}:
            return Best(run, value, parameters)
    return None


def active(
    records: Sequence[RunRecord], shown: Sequence[RunRecord], ahead: TimeLeft, found: Sequence[Standing]
) -> tuple[Family, ...]:
    """Return the sweeps and searches with something left to do, sorted by folder.

    Args:
        records: all records.
        shown: the records that are shown; a family is one of theirs.
        ahead: the forecast.
        found: the searches that have not ended.
    """
    of_searches = {standing.base: standing for standing in found}
    bases = {base for r in shown if r.place not in FINAL_PLACES and (base := _base_of(r, of_searches))}
    bases |= {base for base in of_searches if len(shown) == len(records) or _is_among(shown, base)}
    if not bases:
        return ()
    members: dict[str, list[RunRecord]] = {base: [] for base in bases}
    for record in records:
        base = record.run.rpartition("/")[0] if record.run else ""
        if base in members:
            members[base].append(record)
    made = []
    for base, trials in sorted(members.items()):
        standing = of_searches.get(base)
        if standing is not None:
            one = _search_with(_search(standing.name, base, trials, standing.trials, ahead), standing.problem)
            made.append(replace(one, metric=standing.metric, best=standing.best))
        elif len(trials) > 1:
            made.append(_sweep(base, trials, ahead))
    return tuple(made)


def _base_of(record: RunRecord, of_searches: Mapping[str, Standing]) -> str:
    base, _, name = (record.run or "").rpartition("/")
    return base if "=" in name or base in of_searches else ""


def _is_among(records: Iterable[RunRecord], base: str) -> bool:
    return any(r.run is not None and r.run.startswith(f"{base}/") for r in records)


def _sweep(base: str, members: Sequence[RunRecord], ahead: TimeLeft) -> Family:
    """Return the family of a sweep, or of a search before its own fields are set."""
    counts = Counter(r.place for r in members)
    ends = Counter(r.end for r in members if r.place is Place.FAILED) if counts[Place.FAILED] else Counter()
    ends["completed"] = counts[Place.COMPLETED]
    left = _left(members, ahead)
    return Family(
        "sweep",
        members[0].config if members else "",
        base,
        len(members),
        len(members),
        {end: ends[end] for end in ("completed", "failed", "pruned", "cancelled")},
        {str(place): n for place, n in counts.items() if n},
        eta_s=left and left[0],
        eta_p90_s=left and left[1],
    )


def _search(name: str, base: str, members: Sequence[RunRecord], trials: int, ahead: TimeLeft) -> Family:
    """Return the family of a search; trials that it has yet to open come last of all."""
    family = replace(_sweep(base, members, ahead), kind="search", name=name)
    if trials <= len(members):
        return family
    whole = ahead.forecast
    return replace(family, trials=trials, eta_s=whole.eta_s, eta_p90_s=whole.eta_p90_s)


def _left(members: Sequence[RunRecord], ahead: TimeLeft) -> tuple[float, float] | None:
    """Return the seconds until the last trial ends: median and 90th percentile."""
    spans = [ahead.end(r) for r in members if r.place in ACTIVE_PLACES]
    known = [span for span in spans if span is not None]
    if not known or len(known) < len(spans):
        return None
    return round(max(s.p50 for s in known), 3), round(max(s.p90 for s in known), 3)


# -- for `show` -------------------------------------------------------------------------------------------


def named(workspace: Workspace, records: Sequence[RunRecord], name: str, ahead: TimeLeft) -> Family | None:
    """Return the sweep or search of a name or folder; `None` if there is none, or it is the name of one run.

    Args:
        workspace: the workspace.
        records: all records.
        name: the folder of the trials (``Output/`` before it does not matter), or the name of a search or of
            the config of a sweep, with or without its ending.
        ahead: the forecast.
    """
    found = members(workspace, records, name)
    if found is None:
        return None
    trials, order = found
    if order is not None:
        return _searched(workspace, order, trials, ahead)
    if len(trials) < 2:  # noqa: PLR2004 - one trial is shown as a run
        return None
    return replace(_sweep(_base_of(trials[0], {}), trials, ahead), failed=_failed(trials))


def members(
    workspace: Workspace, records: Sequence[RunRecord], name: str
) -> tuple[list[RunRecord], SearchOrder | None] | None:
    """Return the trials of a sweep or search, and the order of a search; `None` if the name is of neither.

    Args:
        workspace: the workspace.
        records: all records.
        name: as for `named`.
    """
    from job_orchestration.search import searches

    folder, stem = name.rstrip("/").removeprefix("Output/"), naming.stem_of(name)
    if any(r.run == folder for r in records):
        return None
    order = searches.named(workspace, folder) or searches.named(workspace, stem)
    if order is not None:
        return [r for r in records if r.run and r.run.rpartition("/")[0] == order.base], order
    trials = [r for r in records if _base_of(r, {})]
    found = [r for r in trials if _base_of(r, {}) == folder] or [r for r in trials if r.config == stem]
    bases = {_base_of(r, {}) for r in found}
    others = any(r.config == stem and r not in found for r in records if r.run)
    return None if len(bases) != 1 or others else (found, None)


def _searched(
    workspace: Workspace, order: SearchOrder, members: Sequence[RunRecord], ahead: TimeLeft
) -> Family:
    from job_orchestration.search import search_problems, searches

    search = order.search
    trials = 0 if searches.has_ended(workspace, order.name) else search.n
    leaders = _leaders(searches.results(workspace, order), maximize=search.maximize)
    found = _search(order.name, order.base, members, trials, ahead)
    problem = search_problems.read(workspace, order.name) if trials else None
    return replace(
        _search_with(found, problem),
        method=search.method,
        metric=search.metric,
        direction="maximize" if search.maximize else "minimize",
        best=leaders[0] if leaders else None,
        leaders=leaders,
        failed=_failed(members),
    )


def _search_with(family: Family, problem: str | None) -> Family:
    return family if problem is None else replace(family, problem=problem, eta_s=None, eta_p90_s=None)


def _leaders(found: Iterable[TrialResult], *, maximize: bool) -> tuple[Best, ...]:
    made = [Best(r.run, r.value, r.parameters) for r in found if r.value is not None]
    made.sort(key=lambda best: -best.value if maximize else best.value)
    return tuple(made[:_MOST_SHOWN])


def _failed(members: Iterable[RunRecord]) -> dict[str, str]:
    failed = [r for r in members if r.place is Place.FAILED and r.end == "failed" and r.run]
    return {r.run or "": (r.summary.error if r.summary else None) or "" for r in failed[:_MOST_SHOWN]}
