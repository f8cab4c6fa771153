"""When each run of a queue ends: it is played, draw by draw, by as many workers as there are."""

from __future__ import annotations

import heapq
from collections import Counter
from math import sqrt
from statistics import fmean
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.rules.forecasting import DRAWS, Span, span_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.rules.forecasting import Work

MOST_PLAYED: Final = 256
"""Runs of a queue that are played one by one; of longer ones only the sums are."""


class Waiting(NamedTuple):
    """A run that waits for a worker."""

    work: Work
    delay_s: float = 0.0
    """Nobody takes it earlier."""


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
        waiting: what nobody works on, in the order in which it is taken up.
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
    for k in range(DRAWS):
        free = [work.draw(k, number) for number, work in enumerate(running)]
        free += [0.0] * (workers - len(free))
        heapq.heapify(free)
        last = max(free, default=0.0)
        for number, (work, delay) in enumerate(waiting):
            end = max(free[0], delay) + work.draw(k, number)
            heapq.heapreplace(free, end)
            ends[number].append(end)
            last = max(last, end)
        whole.append(last)
    return tuple(map(span_of, ends)), span_of(whole)


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
