"""Samplers: propose the parameters of a search's next trial.

A sampler observes the results of all trials so far, then proposes the trial of a given number. The proposal
becomes a run before the next one is made. So if the process is killed, the next process creates another
sampler, lets it observe the same results, and continues. Pure.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Protocol

from job_orchestration.search import parameter_space
from job_orchestration.search.parameter_space import Choice

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.search.parameter_space import Domain
    from job_orchestration.search.search_settings import TrialResult


class Sampler(Protocol):
    """Proposes trials."""

    def observe(self, results: Sequence[TrialResult]) -> None:
        """Take the results of all trials so far into account, running ones included."""

    def ask(self, number: int) -> Mapping[str, Json] | None:
        """Return the parameters of the trial of a number, from 1; `None` if no trial is left."""


class GridSampler:
    """Proposes every combination of some values; the last parameter changes fastest.

    Args:
        space: the values of each parameter.
    """

    def __init__(self, space: Mapping[str, Domain]) -> None:
        self._values = {key: what.values for key, what in space.items() if isinstance(what, Choice)}
        assert len(self._values) == len(space), "a grid is of values"
        self._count = math.prod(map(len, self._values.values()))

    def __len__(self) -> int:
        return min(self._count, 2**63 - 1)  # what `len` can return

    def observe(self, results: Sequence[TrialResult]) -> None:
        """What became of the others changes nothing."""

    def ask(self, number: int) -> Mapping[str, Json] | None:
        """Return the combination of a number; `None` after the last one."""
        if number > self._count:
            return None
        rest, found = number - 1, {}
        for key, values in reversed(self._values.items()):
            rest, index = divmod(rest, len(values))
            found[key] = values[index]
        return {key: found[key] for key in self._values}


class RandomSampler:
    """Proposes random draws; each depends only on the seed and the trial's number.

    Args:
        space: the domain of each parameter.
        seed: another seed draws other trials.
    """

    def __init__(self, space: Mapping[str, Domain], seed: int) -> None:
        self._space = space
        self._seed = seed

    def observe(self, results: Sequence[TrialResult]) -> None:
        """What became of the others changes nothing."""

    def ask(self, number: int) -> Mapping[str, Json] | None:
        """Return the draw of a number."""
        return {
            key: parameter_space.at(what, parameter_space.fraction_of(self._seed, key, number))
            for key, what in self._space.items()
        }


def corners(space: Mapping[str, Domain]) -> list[Mapping[str, Json]]:
    """Return the points of a space that are checked before it is queued: its ends, and each choice once."""
    values = {key: _ends(what) for key, what in space.items()}
    most = max(map(len, values.values()), default=0)
    return [{key: found[i % len(found)] for key, found in values.items()} for i in range(most)]


def _ends(what: Domain) -> list[Json]:
    return list(what.values) if isinstance(what, Choice) else [what.low, what.high]


def best(results: Iterable[TrialResult], *, maximize: bool) -> TrialResult | None:
    """Return the trial with the best value; of equal ones the first."""
    sign = -1 if maximize else 1
    with_value = [r for r in results if r.value is not None]
    return min(with_value, key=lambda r: (sign * (r.value or 0), r.number), default=None)


def first(sampler: Sampler, most: int) -> list[Mapping[str, Json]]:
    """Return the first trials that a sampler proposes without results."""
    proposed = itertools.takewhile(lambda p: p is not None, map(sampler.ask, range(1, most + 1)))
    return [parameters for parameters in proposed if parameters is not None]
