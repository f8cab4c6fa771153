"""Format a number with the noun that it counts. Pure."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 run`` or ``2 runs``.

    Args:
        number: how many.
        noun: its singular.
        plural: its plural; default: the singular and an s.
    """
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
