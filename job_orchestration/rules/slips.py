"""Slips: a key that looks like a known one that is not there.

Keys that nobody here knows belong to the tasks, so nearly every unknown key is meant. A warning must be
rarely wrong, or nobody reads the next one. Hence a known key that is there was not misspelt; short known
keys (``seed``, ``name``, ``tags``) are told from a task's own (``seeds``, ``names``, ``tag``) by nothing
but capitals and underscores; only long ones are recognised with a letter or two wrong.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

_SHORTEST: Final = 4
_LONG: Final = 7
_VERY_LONG: Final = 9
_NO_PARAMETER: Final = frozenset({"tasks", "method"})
"""Short, but nothing that a task would call a parameter of its own."""


def slip_for(key: str, known: Sequence[str], present: Container[str]) -> str | None:
    """The known key, not among those present, that ``key`` was probably meant to be."""
    return next((candidate for candidate in _like(key, tuple(known)) if candidate not in present), None)


@lru_cache(maxsize=1024)  # a batch's configs have the same keys by the thousand
def _like(key: str, known: tuple[str, ...]) -> tuple[str, ...]:
    if key in known or (len(key) < _SHORTEST and key.lower() not in known):
        return ()
    bare = _bare(key)
    return tuple(candidate for candidate in known if _is_like(bare, candidate))


def _is_like(bare: str, candidate: str) -> bool:
    other = _bare(candidate)
    return bare == other or (bare[:1] == other[:1] and distance(bare, other) <= _tolerance(candidate))


def _bare(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "")


def _tolerance(candidate: str) -> int:
    length = len(_bare(candidate))
    return (length >= _LONG or candidate in _NO_PARAMETER) + (length >= _VERY_LONG)


def distance(one: str, other: str) -> int:
    """How many letters to insert, take out, replace or swap with a neighbour lead from one to the other."""
    if abs(len(one) - len(other)) > 2:  # noqa: PLR2004 - more than any tolerance
        return abs(len(one) - len(other))
    rows = [list(range(len(other) + 1))]
    for i, letter in enumerate(one, 1):
        above, row = rows[-1], [i]
        for j, wanted in enumerate(other, 1):
            cost = min(above[j] + 1, row[-1] + 1, above[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]
