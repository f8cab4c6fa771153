"""Suggestions: "did you mean" for a name or a key that looks like a known one.

A name belongs to a closed set (commands, classes, runs), so an unknown name is certainly wrong, and the
nearest known names are suggested. An unknown key is usually right, because it belongs to a task, and users
stop reading warnings that are often wrong. So a known key is not suggested if it is present. A short one
(``seed``, ``name``, ``tags``) is suggested only for other capitals or underscores, because ``seeds``,
``names`` and ``tag`` may be keys of a task; a long one also if one or two letters are wrong. Pure.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

_SHORTEST: Final = 4
_LONG: Final = 7
_VERY_LONG: Final = 9
_NO_PARAMETER: Final = frozenset({"tasks", "method"})
"""Short keys that are unlikely names of a task's own parameters."""
_LETTERS_A_FAULT: Final = 3
"""A name may have one wrong letter in so many."""


def did_you_mean(names: Sequence[str]) -> str:
    """Return a question that suggests one or more names."""
    return f"Did you mean {' or '.join(names)}?"


# -- names ------------------------------------------------------------------------------------------------


def nearest_names(name: str, known: Iterable[str], most: int = 1) -> list[str]:
    """Return the known names nearest to a mistyped one, the nearest first.

    Args:
        name: what was typed; capitals, underscores and hyphens do not count.
        known: all names; there may be a hundred thousand.
        most: largest number of names to return.
    """
    bare = _bare(name)
    found: list[tuple[int, str]] = []
    for candidate in sorted(set(known)):
        other = _bare(candidate)
        tolerance = max(len(bare), len(other)) // _LETTERS_A_FAULT
        if len(found) == most:
            tolerance = min(tolerance, found[-1][0] - 1)
        letters = distance(bare, other, tolerance)
        if letters <= tolerance:
            found = sorted([*found, (letters, candidate)])[:most]
    return [candidate for _, candidate in found]


# -- keys -------------------------------------------------------------------------------------------------


def nearest_key(key: str, known: Sequence[str], present: Container[str]) -> str | None:
    """Return the known key that is most like a key and not present yet; `None` if there is none."""
    return next((candidate for candidate in _like(key, tuple(known)) if candidate not in present), None)


@lru_cache(maxsize=1024)  # a batch's configs have the same keys by the thousand
def _like(key: str, known: tuple[str, ...]) -> tuple[str, ...]:
    if key in known or (len(key) < _SHORTEST and key.lower() not in known):
        return ()
    bare = _bare(key)
    return tuple(candidate for candidate in known if _is_like(bare, candidate))


def _is_like(bare: str, candidate: str) -> bool:
    other, tolerance = _bare(candidate), tolerance_of(candidate)
    return bare == other or (bare[:1] == other[:1] and distance(bare, other, tolerance) <= tolerance)


def _bare(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "")


def tolerance_of(candidate: str) -> int:
    """Return the number of wrong letters with which a key is still suggested."""
    length = len(_bare(candidate))
    return (length >= _LONG or candidate in _NO_PARAMETER) + (length >= _VERY_LONG)


# -- letters ----------------------------------------------------------------------------------------------


def distance(one: str, other: str, most: int) -> int:
    """Return the number of letters to insert, delete, replace or swap to turn one text into the other.

    Args:
        one: a text.
        other: another one.
        most: limit of the count; if the distance is larger, any number above the limit is returned.
    """
    one, other = _without_common_ends(one, other)
    if abs(len(one) - len(other)) > most:
        return most + 1
    above: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, above, row = above, row, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(above[j] + 1, row[-1] + 1, above[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(*above, *row) > most:
            return most + 1
    return row[-1]


def _without_common_ends(one: str, other: str) -> tuple[str, str]:
    """Return two texts without their common beginning and end."""
    start, least = 0, min(len(one), len(other))
    while start < least and one[start] == other[start]:
        start += 1
    end = 0
    while end < least - start and one[-1 - end] == other[-1 - end]:
        end += 1
    return one[start : len(one) - end], other[start : len(other) - end]
