"""How long still: from what tasks of the same method took, and from what a running task says of itself.

A duration that nobody knows yet is a handful of equally likely ones, the *draws*; the draws of a run are sums
of those of its tasks, and what is told of them are quantiles. Nothing is drawn by chance: the draws of a task
are the quantiles of what is known of it, in an order that is its own, so the same history tells the same.

What is known of a task:

* with eight durations or more of its method, those themselves; and when some number of the configs explains
  half of their variance or more (both as logarithms), a line through them and what lies around that line
* with fewer, a log-normal distribution, the wider the fewer they are; with none, nothing: "unknown"
* while it runs, what is left of those that are longer than it has run; or its own progress, once it tells

What all runs of a method have in common (its mean is not known exactly, and drifts) is one factor for all of
them in each draw, so that the sum over a long queue does not look surer than it is.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from math import exp, log, sqrt
from statistics import NormalDist, fmean, linear_regression, pstdev
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from job_orchestration.model.summary import RunSummary, TaskSummary

DRAWS: Final = 64
"""How many equally likely durations stand for one that is not known."""
LATEST: Final = 48
"""The finished tasks of a method that count: the latest ones, since machines and data change."""
ENOUGH: Final = 8
"""Durations from which on they speak for themselves."""
_FARTHEST: Final = 20_000
"""Runs that are looked through for a method that none of the later ones has."""
_SPREAD: Final = 0.4
"""The standard deviation of the logarithm that is taken for granted while little is known, …"""
_WEIGHT: Final = 4
"""… and how many durations that counts for."""
_EXPLAINS: Final = 0.5
_STEEPEST: Final = 4.0
"""The largest power of a size that a duration may grow with."""
_DRIFT: Final = 0.04
"""What the mean of a method may change by until the queue is empty, in parts of it."""
_TRUSTED: Final = 0.02
"""The progress from which on a task's own word counts more than what others took."""
_LEAST: Final = 1e-6
_MOST: Final = 1e9
"""Seconds between which durations are believed: clocks may jump, and journals may hold anything."""
_HIGHEST: Final = log(_MOST)
_NORMAL: Final = NormalDist()
_LIKELY: Final = tuple((k + 0.5) / DRAWS for k in range(DRAWS))
_STANDARD: Final = tuple(_NORMAL.inv_cdf(p) for p in _LIKELY)


def _shuffled(number: int) -> tuple[int, ...]:
    """All numbers below `DRAWS` in an order without a pattern, another for each number."""
    state, keys = number + 1, []
    for _ in range(DRAWS):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        keys.append(state >> 33)
    return tuple(sorted(range(DRAWS), key=keys.__getitem__))


_ORDERS: Final = tuple(map(_shuffled, range(61)))
"""What keeps the draws of two tasks, or of two runs, from going together."""

Draws: TypeAlias = tuple[float, ...]


class Span(NamedTuple):
    """Seconds that something takes: less than these one, five and nine times of ten."""

    p10: float
    p50: float
    p90: float


class Work(NamedTuple):
    """What a run has before it."""

    own: Draws
    """Seconds, by draw, without what it has in common with others."""
    common: Draws
    """The factors that it has in common with others, by draw."""

    def draw(self, k: int, number: int) -> float:
        """The seconds of draw `k` for the run of this number: others with the same work differ."""
        return self.own[_ORDERS[number % len(_ORDERS)][k]] * self.common[k]

    @property
    def span(self) -> Span:
        """How long it takes. What is in common is left out: of one run the draws of its own say enough."""
        return span_of(self.own)


class Present(NamedTuple):
    """How far the task is that runs now."""

    elapsed_s: float
    fraction: float | None
    """Between 0 and 1, when it tells."""
    age_s: float = 0.0
    """How long ago it told."""


def span_of(draws: Sequence[float]) -> Span:
    """The quantiles of equally likely durations."""
    ordered = sorted(draws)
    return Span(*(_quantile(ordered, p) for p in (0.1, 0.5, 0.9)))


class Past:
    """What tasks took.

    Args:
        runs: those that were ever claimed, the latest first; as many of them are read as are needed.
    """

    def __init__(self, runs: Iterable[RunSummary]) -> None:
        self._runs = islice(runs, _FARTHEST)
        self._found: defaultdict[str, list[tuple[float, Mapping[str, float]]]] = defaultdict(list)
        self._fits: dict[str, _Fit] = {}
        self._tasks: dict[str, tuple[TaskSummary, ...]] = {}
        self._works: dict[tuple[object, ...], Work | None] = {}

    def works(self, run: RunSummary, present: Present | None = None) -> Work | None:
        """What a run has before it; `None` when some task's method has no history, and it tells nothing.

        Args:
            run: the run.
            present: how far its running task is, when somebody works on it; else that task begins anew.
        """
        tasks = self._tasks.get(run.text)
        if tasks is None:
            tasks = self._tasks[run.text] = run.tasks
        if len(tasks) != run.task_count:
            return None
        left: list[tuple[TaskSummary, _Fit | None, float]] = []
        for task in tasks:
            if task.status != "finished":
                fit = self._fit_of(task.method)
                left.append((task, fit, 0.0 if fit is None else fit.level(_sizes(run, task))))
        if present is not None:
            return _sum(left, present)
        alike = tuple((task.method, level) for task, _, level in left)
        if alike not in self._works:
            self._works[alike] = _sum(left, None)
        return self._works[alike]

    def usual(self, method: str) -> float | None:
        """The median duration of a method."""
        fit = self._fit_of(method)
        return None if fit is None else fit.median

    def _fit_of(self, method: str) -> _Fit | None:
        known = self._found[method]
        if method not in self._fits and len(known) < LATEST:
            for run in self._runs:
                self._take(run)
                if len(known) >= LATEST:
                    break
        if method not in self._fits and known:
            self._fits[method] = _Fit(known[:LATEST])
        return self._fits.get(method)

    def _take(self, run: RunSummary) -> None:
        for task in run.tasks:
            if task.status == "finished" and task.duration_s is not None and task.duration_s >= 0:
                self._found[task.method].append((task.duration_s, _sizes(run, task)))


def _sum(left: Sequence[tuple[TaskSummary, _Fit | None, float]], present: Present | None) -> Work | None:
    own, common, means = [0.0] * DRAWS, [0.0] * DRAWS, 0.0
    for number, (task, fit, level) in enumerate(left):
        known = None if fit is None else fit.quantiles(level)
        if present is not None and task.status == "running":
            known = _left(known, present)
        if known is None:
            return None
        mean, doubt = fmean(known), 0.0 if fit is None else fit.doubt
        for k, at in enumerate(_ORDERS[number % len(_ORDERS)]):
            own[k] += known[at]
        for k, at in enumerate(_ORDERS[-1 - len(task.method) % len(_ORDERS)]):
            common[k] += mean * exp(doubt * _STANDARD[at])
        means += mean
    return Work(tuple(own), tuple(c / means if means > 0 else 1.0 for c in common))


class _Fit:
    """What is known of one method."""

    def __init__(self, past: Sequence[tuple[float, Mapping[str, float]]]) -> None:
        logs = [log(min(max(seconds, _LEAST), _MOST)) for seconds, _ in past]
        self.median = exp(sorted(logs)[len(logs) // 2])
        self.key, self._slope, self._level, rest = _best_line(logs, [sizes for _, sizes in past])
        centre = fmean(rest)
        spread = pstdev(rest)
        parts = [exp(min(r - centre, _HIGHEST)) for r in rest]
        self.doubt = min(pstdev(parts) / fmean(parts) / sqrt(len(rest)), 1.0) + _DRIFT
        if len(rest) >= ENOUGH:
            ordered = sorted(rest)
            self._rest = tuple(_quantile(ordered, p) for p in _LIKELY)
        else:
            square = (spread**2 * len(rest) + _WEIGHT * _SPREAD**2) / (len(rest) - 1 + _WEIGHT)
            wide = sqrt(square * (1 + 1 / len(rest)))
            self._rest = tuple(centre + wide * z for z in _STANDARD)

    def level(self, sizes: Mapping[str, float]) -> float:
        """The logarithm of what tasks of these sizes take, rounded so that like ones are the same."""
        if self.key is None:
            return 0.0
        size = sizes.get(self.key, 0.0)
        level = self._level + self._slope * log(size) if size > 0 else log(self.median)
        return round(level, 2)

    def quantiles(self, level: float) -> Draws:
        """Seconds that a task of this level takes, equally likely, in order."""
        return tuple(exp(min(level + rest, _HIGHEST)) for rest in self._rest)


def _best_line(
    logs: Sequence[float], sizes: Sequence[Mapping[str, float]]
) -> tuple[str | None, float, float, list[float]]:
    """The size that explains durations best, its line's slope and level, and what the line leaves."""
    best: tuple[str | None, float, float] = (None, 0.0, 0.0)
    most = _EXPLAINS * pstdev(logs) ** 2
    for key in sorted(set.intersection(*map(set, sizes))) if len(logs) >= ENOUGH else ():
        if len({s[key] for s in sizes}) < 3 or min(s[key] for s in sizes) <= 0:  # noqa: PLR2004  # a line has two
            continue
        at = [log(s[key]) for s in sizes]
        if pstdev(at) < _LEAST:
            continue
        slope, level = linear_regression(at, logs)
        explained = (slope * pstdev(at)) ** 2
        if explained > most and abs(slope) <= _STEEPEST:
            best, most = (key, slope, level), explained
    found, slope, level = best
    line = [0.0] * len(logs) if found is None else [level + slope * log(s[found]) for s in sizes]
    return found, slope, level, [y - x for y, x in zip(logs, line, strict=True)]


def _left(known: Draws | None, present: Present) -> Draws | None:
    """What is left of a task that runs."""
    elapsed, fraction = min(max(present.elapsed_s, 0.0), _MOST), present.fraction
    if fraction is not None and (fraction >= _TRUSTED or (known is None and fraction > 0)):
        age = min(max(present.age_s, 0.0), elapsed)
        rest = min((elapsed - age) * (1 - min(fraction, 1.0)) / fraction, _MOST)
        doubt = _SPREAD * (1 - fraction)
        return tuple(max(rest * exp(doubt * z) - age, 0.0) for z in _STANDARD)
    if known is None:
        return None
    longer = [seconds for seconds in known if seconds > elapsed]
    if len(longer) * 10 < DRAWS:  # later than nearly all: the longer it took, the longer it may still take
        return tuple(elapsed * _SPREAD * exp(z) / 2 for z in _STANDARD)
    return tuple(_quantile(longer, p) - elapsed for p in _LIKELY)


def _sizes(run: RunSummary, task: TaskSummary) -> Mapping[str, float]:
    own = (run.own_sizes or {}).get(task.id)
    return {**run.sizes, **own} if own else run.sizes


def _quantile(ordered: Sequence[float], p: float) -> float:
    """The value that a further one is below with probability `p`."""
    at = min(max(p * (len(ordered) + 1) - 1, 0.0), len(ordered) - 1.0)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])
