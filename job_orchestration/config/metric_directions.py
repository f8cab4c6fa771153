"""Which way is better for a figure that tasks return, as ``metricDirections`` of a config says it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from job_orchestration.config.config import Json

KEY: Final = "metricDirections"
DIRECTIONS: Final = ("maximize", "minimize")
"""The words of a search."""


def parse(value: Json) -> tuple[tuple[str, str], ...] | None:
    """Return the direction of each figure, sorted by name; ``None`` if invalid."""
    if not isinstance(value, dict) or not all(value):
        return None
    found = [(name, word) for name, word in value.items() if isinstance(word, str) and word in DIRECTIONS]
    return tuple(sorted(found)) if len(found) == len(value) else None


def is_highest_best(values: Mapping[str, Json], column: str) -> bool | None:
    """Return whether a config says that the highest value of a figure is the best; `None` if it does not say.

    Args:
        values: the config.
        column: the figure's name in `results`, such as ``train.loss``; a config may name its last parts.
    """
    stated = dict(parse(values.get(KEY)) or ())
    parts = column.split(".")
    for first in range(len(parts)):
        word = stated.get(".".join(parts[first:]))
        if word is not None:
            return word == DIRECTIONS[0]
    return None


def agreed(configs: Iterable[Mapping[str, Json]], column: str) -> bool | None:
    """Return the same of several configs; `None` if none says it, or two disagree."""
    said = {found for values in configs if (found := is_highest_best(values, column)) is not None}
    return said.pop() if len(said) == 1 else None
