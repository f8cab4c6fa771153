"""What a worker can give its runs: so many GPUs, processors and bytes, and whatever else it was told it has.

Runs that ask for nothing are not counted and not kept from anything.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from job_orchestration.files import account
from job_orchestration.model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from job_orchestration.files.workspace import Workspace
    from job_orchestration.rules.steering import Demand

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Share:
    """What one run has been given, as a context: leaving it gives it back, if its processes are gone."""

    descriptors: tuple[int, ...] = ()
    """Handed on to the processes of the run; what it was given is taken as long as one of them lives."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the run's tasks are told of it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


NOTHING: Final = Share()
"""The share of a run that asks for nothing."""


class Room:
    """What a worker, together with the others of its pool, can give.

    Args:
        workspace: where the pool's account is kept.
        pool: the pool's name; the worker's own when it works alone.
        given: the resources that it was told it has; processors and memory are found out.
        say: gets a sentence when runs are left for others.

    Raises:
        UsageError: when there are fewer devices than it was told.
    """

    def __init__(
        self, workspace: Workspace, pool: str, given: Mapping[str, int], say: Callable[[str], None]
    ) -> None:
        self._capacity = capacity(given)
        self._folder = account.folder_of(workspace, pool)
        self._account = account.Account(self._folder, self._capacity, devices(given))
        self._say = say
        self._left: set[Demand] = set()
        self._in_trouble = False

    def could(self, demand: Demand) -> bool:
        """Whether there would ever be enough; when not it is said, once."""
        lacking = [name for name, much in demand if much > self._capacity.get(name, 0)]
        if lacking and demand not in self._left:
            self._left.add(demand)
            there = ", ".join(f"{name}: {self._capacity.get(name, 0)}" for name in lacking)
            wanted = ", ".join(f"{name}: {much}" for name, much in demand)
            self._say(
                f"Runs that take {wanted} are left for other workers; here there is {there} (--resources)"
            )
        return not lacking

    def take(self, demand: Demand) -> Share | frozenset[str]:
        """What a run asks for, or the names of what there is too little of at the moment.

        What cannot be written down is not given out: then there is too little of everything.
        """
        if not demand:
            return NOTHING
        try:
            taken = self._account.take(demand)
        except OSError as error:
            if not self._in_trouble:
                self._say(
                    f"What runs take cannot be noted in {self._folder} ({error.strerror}): they wait for that"
                )
            self._in_trouble = True
            return frozenset(name for name, _ in demand)
        self._in_trouble = False
        if isinstance(taken, frozenset):
            return taken
        descriptor, names = taken
        return Share((descriptor,), {VISIBLE: ",".join(names)} if names else {})

    def close(self) -> None:
        """Take the account away: whoever shared it has ended."""
        account.close(self._folder)


def capacity(given: Mapping[str, int]) -> dict[str, int]:
    """How much there is of each resource."""
    found = {"cpus": os.cpu_count() or 1}
    with suppress(OSError, ValueError):
        found["memory"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {**found, **given}


def devices(given: Mapping[str, int]) -> list[str]:
    """The names of the GPUs to be given out: of those that this process may see, when that is restricted."""
    wanted = given.get("gpus", 0)
    visible = os.environ.get(VISIBLE)
    names = [str(n) for n in range(wanted)] if visible is None else list(filter(None, visible.split(",")))
    if len(names) < wanted:
        raise UsageError(
            f"There are not {wanted} GPUs: {VISIBLE} names {len(names)}",
            "Give --resources as many as there are",
        )
    return names[:wanted]
