"""Regular expressions for misspellings of a key, for editors: they see what `suggestions` would ask about.

A pattern matches a part of what `suggestions.nearest_key` finds, never more: other capitals, underscores and
hyphens, and in a long key one letter that is wrong, missing, added or swapped with its neighbour. The
patterns mean the same in Python and in ECMAScript. Pure.
"""

from __future__ import annotations

import re
from typing import Final

from job_orchestration.diagnostics.suggestions import tolerance_of

_ANY: Final = "[A-Za-z0-9]"


def pattern_of(key: str) -> str:
    """Return a pattern that matches misspellings of a key, and not the key itself."""
    forms = [_with_other_capitals(key)]
    if tolerance_of(key) and key.isalnum():
        forms.append(key[0] + _with_one_fault(key[1:]))
    return f"^(?!{key}$)(?:{'|'.join(forms)})$"


def _with_other_capitals(key: str) -> str:
    letters = [f"[{c.lower()}{c.upper()}]" if c.isalpha() else c for c in re.sub("[_-]", "", key)]
    return "[_-]*".join(letters)


def _with_one_fault(rest: str) -> str:
    """Return a pattern of a text with one fault at any place; what precedes the fault is shared."""
    if not rest:
        return _ANY
    here = [f"{_ANY}{rest}", f"{_ANY}?{rest[1:]}"]
    if len(rest) > 1 and rest[0] != rest[1]:
        here.append(f"{rest[1]}{rest[0]}{rest[2:]}")
    return f"(?:{rest[0]}{_with_one_fault(rest[1:])}|{'|'.join(here)})"
