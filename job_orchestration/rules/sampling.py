"""Samplers: what proposes the parameters of a search's next trial.

A sampler is told everything that is known of the trials so far, and asked for one by its number. What it
answers is made a run before anybody asks for the next; so when its process is killed, whoever comes next
makes another sampler, tells it the same, and goes on.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Protocol

from job_orchestration.model.sweep import Choice
from job_orchestration.rules import domains

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from job_orchestration.model.sweep import Domain, Result
    from job_orchestration.model.task import Json


class Sampler(Protocol):
    """Proposes trials."""

    def tell(self, results: Sequence[Result]) -> None:
        """Take in what is known of all trials so far, those that still run included."""

    def ask(self, number: int) -> Mapping[str, Json] | None:
        """The parameters of the trial of a number, from 1; `None` when there is none left to try."""


class GridSampler:
    """Every combination of some values, the last parameter changing most quickly.

    Args:
        space: the values of each parameter.
    """

    def __init__(self, space: Mapping[str, Domain]) -> None:
        self._values = {key: what.values for key, what in space.items() if isinstance(what, Choice)}
        assert len(self._values) == len(space), "a grid is of values"

    def __len__(self) -> int:
        return math.prod(map(len, self._values.values()))

    def tell(self, results: Sequence[Result]) -> None:
        """What became of the others changes nothing."""

    def ask(self, number: int) -> Mapping[str, Json] | None:
        """The combination of a number."""
        if number > len(self):
            return None
        rest, found = number - 1, {}
        for key, values in reversed(self._values.items()):
            rest, index = divmod(rest, len(values))
            found[key] = values[index]
        return {key: found[key] for key in self._values}


class RandomSampler:
    """Draws, each of which depends on the seed and its number alone.

    Args:
        space: what each parameter may be.
        seed: another one draws other trials.
    """

    def __init__(self, space: Mapping[str, Domain], seed: int) -> None:
        self._space = space
        self._seed = seed

    def tell(self, results: Sequence[Result]) -> None:
        """What became of the others changes nothing."""

    def ask(self, number: int) -> Mapping[str, Json] | None:
        """The draw of a number."""
        return {
            key: domains.at(what, domains.share_of(self._seed, key, number))
            for key, what in self._space.items()
        }


def corners(space: Mapping[str, Domain]) -> list[Mapping[str, Json]]:
    """Where a space is tried out before anything of it is queued: its ends, and every choice once."""
    values = {key: _ends(what) for key, what in space.items()}
    most = max(map(len, values.values()), default=0)
    return [{key: found[i % len(found)] for key, found in values.items()} for i in range(most)]


def _ends(what: Domain) -> list[Json]:
    return list(what.values) if isinstance(what, Choice) else [what.low, what.high]


def best(results: Iterable[Result], *, maximize: bool) -> Result | None:
    """The trial with the best value; of equals the first."""
    sign = -1 if maximize else 1
    with_value = [r for r in results if r.value is not None]
    return min(with_value, key=lambda r: (sign * (r.value or 0), r.number), default=None)


def first(sampler: Sampler, most: int) -> list[Mapping[str, Json]]:
    """The first trials that a sampler proposes without knowing anything."""
    proposed = itertools.takewhile(lambda p: p is not None, map(sampler.ask, range(1, most + 1)))
    return [parameters for parameters in proposed if parameters is not None]
