"""Format durations for people. Pure."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_FINE: Final = 10
"""Seconds; shorter durations have a decimal."""
_COARSE: Final = 100
"""Seconds; longer durations omit seconds in estimates and in the live view."""


def text_of(seconds: float, *, coarse: bool = False) -> str:
    """Format seconds in the two largest units, without zeros: ``8.3 s``, ``12 m 5 s``, ``3 h``, ``2 d 4 h``.

    Args:
        seconds: the duration; not negative.
        coarse: whether to leave out decimals, and seconds from 100 seconds on: ``8 s``, ``12 m``.
    """
    if seconds < _FINE and not coarse:
        return f"{round(seconds, 1):g} s"
    step = 60 if coarse and seconds >= _COARSE else 1
    whole = round(seconds / step) * step
    for (unit, size), (below, smaller) in pairwise(_UNITS):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"
