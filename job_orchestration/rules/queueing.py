"""When each run of a queue ends: it is played, draw by draw, by as many workers as there are."""

from __future__ import annotations

import heapq
from collections import Counter
from math import sqrt
from statistics import fmean
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.rules.forecasting import DRAWS, Span, span_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.rules.forecasting import Work

MOST_PLAYED: Final = 256
"""Runs of a queue that are played one by one; of longer ones only the sums are."""


class Waiting(NamedTuple):
    """A run that waits for a worker."""

    work: Work
    delay_s: float = 0.0
    """Nobody takes it earlier."""
    after: tuple[int, ...] = ()
    """What must have ended before: the numbers of others, those that are worked on counted first."""


class Played(NamedTuple):
    """What came of it, in seconds from now."""

    running: tuple[Span, ...]
    """The end of each run that is worked on."""
    waiting: tuple[Span, ...]
    """The end of each of the others."""
    whole: Span
    """The end of the last one."""


def play(running: Sequence[Work], waiting: Sequence[Waiting], workers: int) -> Played:
    """Play a queue to its end.

    Args:
        running: what the workers have before them that hold a run.
        waiting: what nobody works on, the most urgent first. Each comes after nothing that waits in a
            circle, and a long queue is played without a look at what comes after what.
        workers: how many there are, one at least.
    """
    now = tuple(work.span for work in running)
    if len(waiting) > MOST_PLAYED:
        ends, whole = _flow(running, waiting, workers)
    else:
        ends, whole = _step(running, waiting, workers)
    return Played(now, ends, whole)


def total(works: Sequence[Work]) -> Span:
    """The seconds of all of it, one after the other."""
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
    """When each of those that wait ends in one draw: who has nothing to do takes the first that may begin."""
    free = [*begun, *[0.0] * (workers - len(begun))]
    heapq.heapify(free)
    ends = [0.0] * len(waiting)
    missing = [len(one.after) for one in waiting]
    may_begin = [one.delay_s for one in waiting]
    soon: list[tuple[float, int]] = []
    """From when on something may begin, and what."""
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
    """The same of a queue so long that all workers are busy nearly to its end."""
    marks = sorted({round(i * len(waiting) / MOST_PLAYED) for i in range(1, MOST_PLAYED + 1)})
    sums = _sums([*running])
    ends: list[Span] = []
    for salt, mark in enumerate(marks):
        part = _sums([w.work for w in waiting[len(ends) : mark]], salt)
        sums = [a + b for a, b in zip(sums, part, strict=True)]
        ends += [span_of([seconds / workers for seconds in sums])] * (mark - len(ends))
    tail = 1 - 1 / workers  # of the last run: while it goes on, the other workers run out of work
    whole = (end + tail * last for end, last in zip(ends[-1], waiting[-1].work.span, strict=True))
    return tuple(ends), Span(*whole)


def _sums(works: Sequence[Work], salt: int = 0) -> list[float]:
    """Draws of the sum of many: each differs in its own way, and all in what they have in common."""
    sums = [0.0] * DRAWS
    same = {id(work): work for work in works}  # most runs of a long queue share one
    for number, (which, count) in enumerate(Counter(map(id, works)).items(), salt):
        work = same[which]
        mean, root = fmean(work.own), sqrt(count)
        for k in range(DRAWS):
            own = work.draw(k, number) / work.common[k]
            sums[k] += max(count * mean + root * (own - mean), 0.0) * work.common[k]
    return sums
