"""Options of a worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Options of a worker."""

    until_idle: bool = False
    """End if no run waits and none runs, instead of waiting for more."""
    seconds: float | None = None
    """Walltime in seconds: release unfinished runs and end by then. `None`: no limit."""
    resources: Mapping[str, int] = field(default_factory=dict)
    """Named resources that runs may be allocated, besides the machine's CPUs and memory."""
    pool: str | None = None
    """Name of the resource pool that it shares with other workers; `None` if it has one of its own."""
    only: frozenset[str] | None = None
    """The stems of the tokens that it takes; `None`: of all. With it, searches do not go on here."""
