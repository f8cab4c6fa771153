"""A config: one experiment, read and checked. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping


class Isolation(StrEnum):
    """The start of a run's process."""

    FORK = "fork"
    """A fork of the fork server, which has imported the tasks."""
    SPAWN = "spawn"
    """A fresh interpreter, for libraries that do not survive a fork."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a run. Times are in seconds, sizes in bytes; ``None`` means no limit."""

    max_attempts: int = 3
    """Number of tries of each task before the run gives up."""
    retry_delay: float = 0.0
    max_interruptions: int = 20
    """Number of interruptions since the last checkpoint that a run may have; one more is a crash loop."""
    isolation: Isolation = Isolation.FORK
    preload_keep: int = 1
    """Number of results of `preload` that a worker keeps in memory."""
    grace_time: float = 30.0
    """Time that a task has to end after SIGTERM."""
    timeout: float | None = None
    stall_timeout: float | None = None
    validation_timeout: float = 120.0
    """Time that the imports of the tasks may take before the run is queued, and its validation as well."""
    memory_limit: int | None = None
    log_limit: int = 100_000_000
    overwrite_output: bool = False
    ignore_dirty_check: bool = False
    ignored_files: tuple[str, ...] = ()
    """Patterns of untracked files that never count as uncommitted, beside those that hold everywhere."""
    seed: int | None = None
    reuse: bool = False
    """Whether leading tasks that are unchanged take the checkpoint of an earlier run."""
    metric_directions: tuple[tuple[str, str], ...] = ()
    """Figures that tasks return, each with ``maximize`` or ``minimize``: which way is better."""
    priority: int = 0
    """Waiting runs with a higher priority are claimed first."""
    after: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    """Dependencies, which must complete first: names of configs, or of runs once the config is resolved."""
    resources: tuple[tuple[str, int], ...] = ()
    """Resources that the run takes of its worker's machine, sorted by name; memory is in bytes."""


@dataclass(frozen=True, slots=True)
class Config:
    """A YAML document that passed all checks, except those that need git or the tasks' code."""

    name: str
    """The file's stem: ``a`` for ``a.yaml``."""
    values: Mapping[str, Json]
    """All keys of the document, ``tasks`` included, and the workspace's defaults, which they override."""
    tasks: tuple[TaskSpec, ...]
    output_dir: str
    """The template of the output folder, relative to ``Output/``."""
    path_to_tasks: str | None
    settings: Settings = field(default_factory=Settings)


Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""A JSON value: parameters, return values and everything else that outlives a process."""


def specs_of(values: Mapping[str, Json]) -> tuple[TaskSpec, ...]:
    """Return the tasks of a resolved config, in order, without checking them again."""
    entries = values.get("tasks")
    found = [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    return tuple(TaskSpec(str(e.get("id")), str(e.get("method")), e) for e in found)


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task of a config: its class, its id and its own parameters."""

    id: str
    method: str
    parameters: Mapping[str, Json] = field(default_factory=dict)

    @property
    def is_mapped(self) -> bool:
        """Whether it runs once for each of some elements; see `config.elements`."""
        return "foreach" in self.parameters or "argsList" in self.parameters

    def merged_with(self, values: Mapping[str, Json]) -> dict[str, Json]:
        """Return the dict for the task's constructor: the config's keys, overridden by the task's own."""
        return {**values, **self.parameters, "id": self.id, "method": self.method}
