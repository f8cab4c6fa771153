"""Resolve unquoted YAML scalars by the core schema of YAML 1.2.

A scalar that matches no pattern of null, a boolean or a number is a text: ``no``, ``1:30``, ``12_000`` and
dates stay as written. ``.nan`` and ``.inf`` are floats. Pure.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, TypeAlias

from job_orchestration.diagnostics.problems import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

Scalar: TypeAlias = "bool | int | float | str | None"

_WORDS: Final[Mapping[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_BASES: Final[Mapping[str, int]] = {"0o": 8, "0x": 16}


def resolve(text: str) -> Scalar:
    """Return the value of an unquoted scalar (YAML 1.2, core schema).

    Raises:
        ValueError: if the number is too large for the machine; the message is a sentence.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        base = _BASES.get(text[:2])
        try:
            whole = int(text[2:], base) if base else int(text)
            str(whole)  # raises if Python refuses to write so many digits
        except ValueError:
            raise ValueError(f"the number {quoted(text, 20)} has too many digits") from None
        return whole
    if _FLOAT.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(f"the number {quoted(text, 20)} is too large")
        return number
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text
