"""A config: one experiment as its author wrote it, after reading and checking."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.model.task import Json, TaskSpec


class Isolation(StrEnum):
    """How a run gets a process of its own."""

    FORK = "fork"
    """A fork of the warm host that has imported the tasks already."""
    SPAWN = "spawn"
    """A fresh interpreter, for libraries that do not survive a fork."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run is to be treated. Times are in seconds, sizes in bytes; ``None`` means no limit."""

    max_attempts: int = 3
    """Tries that each task gets before the run gives up."""
    retry_delay: float = 0.0
    max_interruptions: int = 20
    """How often a run may be interrupted since its last checkpoint before it counts as a crash loop."""
    isolation: Isolation = Isolation.FORK
    grace_time: float = 30.0
    """How long a task may go on after a polite stop."""
    timeout: float | None = None
    stall_timeout: float | None = None
    memory_limit: int | None = None
    log_limit: int = 100_000_000
    overwrite_output: bool = False
    ignore_dirty_check: bool = False
    seed: int | None = None
    priority: int = 0
    """Of the runs that wait, those with a higher one are claimed first."""
    after: tuple[str, ...] = ()
    """What must have completed before: names of configs, or of runs once the config is resolved."""
    resources: tuple[tuple[str, int], ...] = ()
    """What the run takes of its worker's machine, sorted by name; memory is in bytes."""


@dataclass(frozen=True, slots=True)
class Config:
    """One YAML document that passed all checks which need neither git nor the tasks' code."""

    name: str
    """The file's stem: ``a`` for ``a.yaml``."""
    values: Mapping[str, Json]
    """Every key of the document, over the workspace's defaults; ``tasks`` included."""
    tasks: tuple[TaskSpec, ...]
    output_dir: str
    """The template of the output folder, relative to ``Output/``."""
    path_to_tasks: str | None
    settings: Settings = field(default_factory=Settings)
