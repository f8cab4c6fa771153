"""Estimate task durations from earlier tasks of the same method and from reported progress.

An unknown duration is represented by equally likely values, the *draws*. The draws of a run are sums of its
tasks' draws; results are quantiles of them. No random numbers are used: the draws of a task are the quantiles
of its distribution in a fixed permutation, so the same history gives the same estimate.

The distribution of a task's duration:

* with eight durations of its method or more: those durations. If a number in the configs explains at least
  half of their variance (both as logarithms): a regression line and its residuals
* with fewer: a log-normal distribution, wider for fewer durations; with none: unknown
* while the task runs: the rest of those durations that exceed its elapsed time; or an extrapolation of its
  progress, if it reports any

The uncertainty that all runs of a method share (its mean is estimated, and drifts) is one factor per draw for
all of them, so that the sum over a long queue does not look more certain than it is. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from math import exp, log, sqrt
from statistics import NormalDist, fmean, linear_regression, pstdev
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from job_orchestration.runs.summaries import RunSummary, TaskSummary

DRAWS: Final = 64
"""Number of equally likely values that represent an unknown duration."""
LATEST: Final = 48
"""Number of finished tasks used per method: the latest ones, because machines and data change."""
ENOUGH: Final = 8
"""Number of durations from which on they are used as the distribution."""
_FARTHEST: Final = 20_000
"""Number of runs searched for a method."""
_SPREAD: Final = 0.4
"""Prior standard deviation of the logarithm, used while few durations are known, …"""
_WEIGHT: Final = 4
"""… and its weight as a number of durations."""
_EXPLAINS: Final = 0.5
"""Fraction of the variance that a number must explain to be used."""
_STEEPEST: Final = 4.0
"""Largest accepted exponent of a size."""
_DRIFT: Final = 0.04
"""Assumed relative drift of a method's mean until the queue is empty."""
_TRUSTED: Final = 0.02
"""Progress from which on it is preferred to earlier durations."""
_LEAST: Final = 1e-6
_MOST: Final = 1e9
"""Limits of accepted durations in seconds, because clocks may jump and journals may hold anything."""
_HIGHEST: Final = log(_MOST)
_NORMAL: Final = NormalDist()
_LIKELY: Final = tuple((k + 0.5) / DRAWS for k in range(DRAWS))
_STANDARD: Final = tuple(_NORMAL.inv_cdf(p) for p in _LIKELY)


def _shuffled(number: int) -> tuple[int, ...]:
    """Return a pseudo-random permutation of the numbers below `DRAWS`, different for each number."""
    state, keys = number + 1, []
    for _ in range(DRAWS):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        keys.append(state >> 33)
    return tuple(sorted(range(DRAWS), key=keys.__getitem__))


_PERMUTATIONS: Final = tuple(map(_shuffled, range(61)))
"""Decorrelate the draws of different tasks and runs."""

Draws: TypeAlias = tuple[float, ...]


class Span(NamedTuple):
    """Quantiles of a duration in seconds: the probability of less is 10 %, 50 % and 90 %."""

    p10: float
    p50: float
    p90: float


class Work(NamedTuple):
    """The work left of a run."""

    own: Draws
    """Seconds per draw, without the shared uncertainty."""
    common: Draws
    """Factors per draw that it shares with other runs."""

    def draw(self, k: int, number: int) -> float:
        """Return draw `k` in seconds for the run of this number; runs with equal work get different draws."""
        return self.own[_PERMUTATIONS[number % len(_PERMUTATIONS)][k]] * self.common[k]

    @property
    def span(self) -> Span:
        """The duration of this run alone; without the shared factors, which matter only for sums."""
        return span_of(self.own)


class Progress(NamedTuple):
    """The progress of the running task."""

    elapsed_s: float
    fraction: float | None
    """Between 0 and 1; `None` if it reports none."""
    age_s: float = 0.0
    """Seconds since the report."""


def span_of(draws: Sequence[float]) -> Span:
    """Return the quantiles of equally likely durations."""
    ordered = sorted(draws)
    return Span(*(_quantile(ordered, p) for p in (0.1, 0.5, 0.9)))


class DurationHistory:
    """Durations of earlier tasks, by method.

    Args:
        runs: all runs that were ever claimed, the latest first; read lazily.
    """

    def __init__(self, runs: Iterable[RunSummary]) -> None:
        self._runs = islice(runs, _FARTHEST)
        self._found: defaultdict[str, list[tuple[float, Mapping[str, float]]]] = defaultdict(list)
        self._fits: dict[str, _Fit] = {}
        self._tasks: dict[str, tuple[TaskSummary, ...]] = {}
        self._works: dict[tuple[object, ...], Work | None] = {}

    def work_left(self, run: RunSummary, progress: Progress | None = None) -> Work | None:
        """Estimate the work left of a run; `None` if a task has neither history nor progress.

        Args:
            run: the run.
            progress: the progress of its running task; if `None`, that task starts from the beginning.
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
        if progress is not None:
            return _sum(left, progress)
        alike = tuple((task.method, level) for task, _, level in left)
        if alike not in self._works:
            self._works[alike] = _sum(left, None)
        return self._works[alike]

    def median(self, method: str) -> float | None:
        """Return the median duration of a method; `None` if it has no history."""
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


def _sum(left: Sequence[tuple[TaskSummary, _Fit | None, float]], progress: Progress | None) -> Work | None:
    own, common, means = [0.0] * DRAWS, [0.0] * DRAWS, 0.0
    for number, (task, fit, level) in enumerate(left):
        known = None if fit is None else fit.quantiles(level)
        if progress is not None and task.status == "running":
            known = _left(known, progress)
        if known is None:
            return None
        mean, doubt = fmean(known), 0.0 if fit is None else fit.doubt
        for k, at in enumerate(_PERMUTATIONS[number % len(_PERMUTATIONS)]):
            own[k] += known[at]
        for k, at in enumerate(_PERMUTATIONS[-1 - len(task.method) % len(_PERMUTATIONS)]):
            common[k] += mean * exp(doubt * _STANDARD[at])
        means += mean
    return Work(tuple(own), tuple(c / means if means > 0 else 1.0 for c in common))


class _Fit:
    """The duration distribution of one method."""

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
        """Return the expected log duration for these sizes, rounded so that similar tasks share it."""
        if self.key is None:
            return 0.0
        size = sizes.get(self.key, 0.0)
        level = self._level + self._slope * log(size) if size > 0 else log(self.median)
        return round(level, 2)

    def quantiles(self, level: float) -> Draws:
        """Return equally likely durations in seconds at this level, in ascending order."""
        return tuple(exp(min(level + rest, _HIGHEST)) for rest in self._rest)


def _best_line(
    logs: Sequence[float], sizes: Sequence[Mapping[str, float]]
) -> tuple[str | None, float, float, list[float]]:
    """Find the size that explains the durations best; return it, slope, level and residuals."""
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


def _left(known: Draws | None, progress: Progress) -> Draws | None:
    """Estimate the time left of a running task."""
    elapsed, fraction = min(max(progress.elapsed_s, 0.0), _MOST), progress.fraction
    if fraction is not None and (fraction >= _TRUSTED or (known is None and fraction > 0)):
        age = min(max(progress.age_s, 0.0), elapsed)
        rest = min((elapsed - age) * (1 - min(fraction, 1.0)) / fraction, _MOST)
        doubt = _SPREAD * (1 - fraction)
        return tuple(max(rest * exp(doubt * z) - age, 0.0) for z in _STANDARD)
    if known is None:
        return None
    longer = [seconds for seconds in known if seconds > elapsed]
    if len(longer) * 10 < DRAWS:  # it exceeds nearly all: the estimate grows with the elapsed time
        return tuple(elapsed * _SPREAD * exp(z) / 2 for z in _STANDARD)
    return tuple(_quantile(longer, p) - elapsed for p in _LIKELY)


def _sizes(run: RunSummary, task: TaskSummary) -> Mapping[str, float]:
    own = (run.own_sizes or {}).get(task.id)
    return {**run.sizes, **own} if own else run.sizes


def _quantile(ordered: Sequence[float], p: float) -> float:
    """Interpolate the value that a further one is below with probability `p`."""
    at = min(max(p * (len(ordered) + 1) - 1, 0.0), len(ordered) - 1.0)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])
