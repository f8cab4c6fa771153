"""Simulate a queue: estimate when each run ends, with a given number of workers. Pure."""

from __future__ import annotations

import heapq
from collections import Counter
from math import sqrt
from statistics import fmean
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.forecast.task_durations import DRAWS, Span, span_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.forecast.task_durations import Work

MAX_SIMULATED: Final = 256
"""Longest queue that is simulated run by run; for longer ones sums are used."""


class Waiting(NamedTuple):
    """A waiting run."""

    work: Work
    delay_s: float = 0.0
    """Earliest start, in seconds from now."""
    after: tuple[int, ...] = ()
    """Indices of the runs that must end before it starts; running runs are numbered first, then waiting
    ones."""


class Simulation(NamedTuple):
    """The result of a simulation, in seconds from now."""

    running: tuple[Span, ...]
    """The end of each running run."""
    waiting: tuple[Span, ...]
    """The end of each waiting run."""
    whole: Span
    """The end of the last run."""


def simulate(running: Sequence[Work], waiting: Sequence[Waiting], workers: int) -> Simulation:
    """Simulate a queue until its last run ends.

    Args:
        running: the work left of the running runs.
        waiting: the waiting runs in the order of their claims. Their dependencies must be acyclic; they are
            ignored in queues longer than `MAX_SIMULATED`.
        workers: the number of workers, at least one.
    """
    now = tuple(work.span for work in running)
    if len(waiting) > MAX_SIMULATED:
        ends, whole = _flow(running, waiting, workers)
    else:
        ends, whole = _step(running, waiting, workers)
    return Simulation(now, ends, whole)


def total(works: Sequence[Work]) -> Span:
    """Return the total seconds of work."""
    return span_of(_sums(works))


def _step(running: Sequence[Work], waiting: Sequence[Waiting], workers: int) -> tuple[tuple[Span, ...], Span]:
    ends: list[list[float]] = [[] for _ in waiting]
    whole: list[float] = []
    followers: dict[int, list[int]] = {}
    for number, one in enumerate(waiting):
        for earlier in one.after:
            followers.setdefault(earlier, []).append(number)
    for k in range(DRAWS):
        begun = [work.draw(k, number) for number, work in enumerate(running)]
        ended = _one_draw(begun, waiting, followers, workers, k)
        for number, end in enumerate(ended):
            ends[number].append(end)
        whole.append(max([*begun, *ended], default=0.0))
    return tuple(map(span_of, ends)), span_of(whole)


def _one_draw(
    begun: Sequence[float],
    waiting: Sequence[Waiting],
    followers: Mapping[int, Sequence[int]],
    workers: int,
    k: int,
) -> list[float]:
    """Simulate one draw: each free worker takes the first run that may start; return the ends."""
    free = [*begun, *[0.0] * (workers - len(begun))]
    heapq.heapify(free)
    ends = [0.0] * len(waiting)
    missing = [len(one.after) for one in waiting]
    may_begin = [one.delay_s for one in waiting]
    soon: list[tuple[float, int]] = []
    """Heap of (earliest start, index) of the runs that may start later."""
    now = [n for n, one in enumerate(waiting) if not one.after and not one.delay_s]
    soon += [(one.delay_s, n) for n, one in enumerate(waiting) if not one.after and one.delay_s]
    heapq.heapify(soon)

    def has_ended(number: int, end: float) -> None:
        for follower in followers.get(number, ()):
            missing[follower] -= 1
            may_begin[follower] = max(may_begin[follower], end)
            if not missing[follower]:
                heapq.heappush(soon, (may_begin[follower], follower))

    for number, end in enumerate(begun):
        has_ended(number, end)
    while now or soon:
        at = free[0] if now else max(free[0], soon[0][0])
        while soon and soon[0][0] <= at:
            heapq.heappush(now, heapq.heappop(soon)[1])
        number = heapq.heappop(now)
        ends[number] = at + waiting[number].work.draw(k, number)
        heapq.heapreplace(free, ends[number])
        has_ended(len(begun) + number, ends[number])
    return ends


def _flow(running: Sequence[Work], waiting: Sequence[Waiting], workers: int) -> tuple[tuple[Span, ...], Span]:
    """Estimate the ends in a queue so long that all workers are busy until nearly its end."""
    marks = sorted({round(i * len(waiting) / MAX_SIMULATED) for i in range(1, MAX_SIMULATED + 1)})
    sums = _sums([*running])
    ends: list[Span] = []
    for salt, mark in enumerate(marks):
        part = _sums([w.work for w in waiting[len(ends) : mark]], salt)
        sums = [a + b for a, b in zip(sums, part, strict=True)]
        ends += [span_of([seconds / workers for seconds in sums])] * (mark - len(ends))
    tail = 1 - 1 / workers  # of the last run: the other workers are idle for part of it
    whole = (end + tail * last for end, last in zip(ends[-1], waiting[-1].work.span, strict=True))
    return tuple(ends), Span(*whole)


def _sums(works: Sequence[Work], salt: int = 0) -> list[float]:
    """Return draws of a sum of works: their own parts vary independently, the common factors together."""
    sums = [0.0] * DRAWS
    same = {id(work): work for work in works}  # most runs of a long queue share one work
    for number, (which, count) in enumerate(Counter(map(id, works)).items(), salt):
        work = same[which]
        mean, root = fmean(work.own), sqrt(count)
        for k in range(DRAWS):
            own = work.draw(k, number) / work.common[k]
            sums[k] += max(count * mean + root * (own - mean), 0.0) * work.common[k]
    return sums
