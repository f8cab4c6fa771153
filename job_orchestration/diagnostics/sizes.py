"""Format amounts of bytes for people. Pure."""

from __future__ import annotations

from typing import Final

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")
_THOUSAND: Final = 1000


def text_of(number: float) -> str:
    """Format bytes with a decimal unit: ``512 B``, ``1.5 GB``, ``400 MB``."""
    unit = 0
    while number >= _THOUSAND and unit < len(_UNITS) - 1:
        number, unit = number / _THOUSAND, unit + 1
    return f"{number:.1f}".removesuffix(".0") + f" {_UNITS[unit]}"
