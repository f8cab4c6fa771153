"""What an unquoted scalar of YAML means: the core schema of YAML 1.2.

What is not null, a boolean or a number by these patterns is a text: ``no``, ``1:30``, ``12_000`` and dates
stay as they were written. A number that JSON cannot say is refused.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, TypeAlias

from job_orchestration.model.problem import quoted

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
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_BASES: Final[Mapping[str, int]] = {"0o": 8, "0x": 16}


def resolve(text: str) -> Scalar:
    """What an unquoted scalar means (YAML 1.2, core schema).

    Raises:
        ValueError: with a sentence, when it means a number that JSON cannot say.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        base = _BASES.get(text[:2])
        try:
            whole = int(text[2:], base) if base else int(text)
            str(whole)  # Python bounds a number's digits; whoever wrote this one down would meet the bound
        except ValueError:
            raise ValueError(f"the number {quoted(text, 20)} has too many digits") from None
        return whole
    if _FLOAT.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(f"the number {quoted(text, 20)} is too large")
        return number
    if _NO_NUMBER.fullmatch(text):
        raise ValueError(f"{text} is no number that JSON could keep")
    return text
