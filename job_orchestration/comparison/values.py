"""Differences between two values, as a person would list them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from job_orchestration.config.config import Json


@dataclass(frozen=True, slots=True)
class ValueChange:
    """One place in which two values differ."""

    name: str
    """Where: the keys with dots between them, and positions in brackets."""
    before: Json
    """`None` if it is absent as well as if it is null; `added` tells the two apart."""
    after: Json
    added: bool = False
    """Whether only the second value has it."""
    removed: bool = False
    """Whether only the first value has it."""

    @property
    def relative(self) -> float | None:
        """The change as a share of the first value; `None` if they are no finite numbers, or it is 0."""
        a, b = number(self.before), number(self.after)
        if a is None or b is None or a == 0:
            return None
        change = (b - a) / abs(a)
        return change if math.isfinite(change) else None

    def as_json(self) -> dict[str, Any]:
        """Return the change as ``diff --json`` has it."""
        found: dict[str, Any] = {"name": self.name, "before": self.before, "after": self.after}
        if self.added or self.removed:
            found["only_in"] = "after" if self.added else "before"
        if self.relative is not None:
            found["relative"] = self.relative
        return found


def changes(before: Mapping[str, Json], after: Mapping[str, Json], prefix: str = "") -> Iterator[ValueChange]:
    """Yield the differences between two mappings, in the order of the first and then the second one."""
    for key in dict.fromkeys((*before, *after)):
        name = f"{prefix}.{key}" if prefix else str(key)
        if key not in after:
            yield ValueChange(name, before[key], None, removed=True)
        elif key not in before:
            yield ValueChange(name, None, after[key], added=True)
        else:
            yield from _changes_of(before[key], after[key], name)


def _changes_of(before: Json, after: Json, name: str) -> Iterator[ValueChange]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from changes(before, after, name)
    elif (
        isinstance(before, list)
        and isinstance(after, list)
        and len(before) == len(after)
        and _is_deep(before)
    ):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _changes_of(one, other, f"{name}[{number}]")
    elif not are_same(before, after):
        yield ValueChange(name, before, after)


def _is_deep(values: list[Json]) -> bool:
    return any(isinstance(value, Mapping | list) for value in values)


def are_same(before: Json, after: Json) -> bool:
    """Whether two values are the same: NaN is the same as NaN, and ``1`` is not ``true`` nor ``"1"``."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return before.keys() == after.keys() and all(are_same(before[k], after[k]) for k in before)
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(are_same, before, after))
    if isinstance(before, float) and isinstance(after, float) and math.isnan(before) and math.isnan(after):
        return True
    if isinstance(before, bool) or isinstance(after, bool):
        return before is after
    return before == after


def number(value: object) -> float | None:
    """Return a value as a float; `None` if it is no number, or too large for one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None
