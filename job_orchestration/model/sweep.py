"""A sweep: a family of runs that differ in a few parameters, and what its parameters may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.model.task import Json


@dataclass(frozen=True, slots=True)
class Trial:
    """Which of a sweep's runs a run is."""

    sweep: str
    """The sweep's name: the stem of the file that was dropped."""
    parameters: Mapping[str, Json]
    """Key of the config, or ``taskId.key``, to the value that this run has for it."""
    digest: str = ""
    """Equal for runs of one sweep that compute the same: what keeps a trial from being queued twice."""
    number: int | None = None
    """Its number in a search, from 1; `None` in a sweep whose trials were all known when it was readied."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values."""

    values: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Uniform:
    """Any number between two, each as likely; with `log`, each order of magnitude as likely."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True)
class Whole:
    """Any whole number from one to another, both included."""

    low: int
    high: int


Domain: TypeAlias = Choice | Uniform | Whole
"""What a parameter may be."""


@dataclass(frozen=True, slots=True)
class Search:
    """A sweep whose trials are proposed one after the other, in view of what became of those before."""

    method: str
    """``grid``, ``random`` or ``tpe``."""
    space: Mapping[str, Domain]
    metric: str
    """``taskId.key``: where in the task's return value the number stands; ``taskId`` alone is the value."""
    n: int
    """How many trials there are at the most."""
    maximize: bool = True
    seed: int = 0
    parallel: int = 4
    """How many trials wait or run at a time."""
    prune: bool = False
    """Whether a trial ends early when what it reports is worse than the median of the others."""


@dataclass(frozen=True, slots=True)
class Result:
    """What is known of one trial of a search."""

    number: int
    run: str
    parameters: Mapping[str, Json]
    value: int | float | None = None
    """The metric, as soon as its task has finished; `None` also when there is no number."""
    ended: bool = False
    complete: bool = False
    pruned: bool = False
    steps: Mapping[int, float] = field(default_factory=dict)
    """What it reported on its way: step to metric."""
