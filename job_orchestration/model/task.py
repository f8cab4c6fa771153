"""One entry of a config's ``tasks`` list."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What JSON can say: parameters, return values and everything else that outlives a process."""


def specs_of(values: Mapping[str, Json]) -> tuple[TaskSpec, ...]:
    """The tasks of a resolved config, in order; what was checked before is not checked again."""
    entries = values.get("tasks")
    found = [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    return tuple(TaskSpec(str(e.get("id")), str(e.get("method")), e) for e in found)


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task as its config asks for it: which class, under which id, with which parameters of its own."""

    id: str
    method: str
    parameters: Mapping[str, Json] = field(default_factory=dict)

    def merged_with(self, values: Mapping[str, Json]) -> dict[str, Json]:
        """The dict a task's constructor gets: all keys of the config, overlaid by the task's own."""
        return {**values, **self.parameters, "id": self.id, "method": self.method}
