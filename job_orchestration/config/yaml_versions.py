"""Warn of unquoted words that YAML 1.1 and YAML 1.2 read differently.

PyYAML, and with it the first release, reads YAML 1.1: ``no`` is false, ``010`` is eight, ``12_000`` is a
number, and ``12:30:45`` is a number of seconds. `config.yaml_scalars` reads YAML 1.2. If a user moves a
config from one to the other, the experiment must not change silently.

Two differences cause no warning. ``1e-3`` is a text to PyYAML, and is always meant as a number. Keys are
texts here, ``on`` and ``1`` included. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.problems import Fault, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from job_orchestration.config.yaml_scalars import Scalar

_TRUTH: Final[Mapping[str, bool]] = {
    form: truth
    for word, truth in {"yes": True, "on": True, "no": False, "off": False}.items()
    for form in (word, word.capitalize(), word.upper())
}
_DATE: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?"
    r"(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::?[0-9]{2})?))?"
)
_MOST_CHARACTERS: Final = 40
"""Longest word that gets a warning; a longer run of digits is deliberate."""

_FIRST: Final = frozenset("+-.0123456789")
"""First characters of numbers and dates."""
_OTHERS: Final = "YAML 1.1 readers such as PyYAML and the first release"


def difference(text: str, here: Scalar) -> Fault | None:
    """Return the warning about an unquoted word if YAML 1.1 reads it differently, otherwise `None`.

    Args:
        text: the word as written.
        here: its value in YAML 1.2.
    """
    if text in _TRUTH:
        other = _truth(text)
        return _fault(text, here, other, f"Write {other} if you mean that, or '{text}' in quotes")
    if text[:1] not in _FIRST or len(text) > _MOST_CHARACTERS:
        return None
    if _DATE.fullmatch(text):
        return _fault(text, here, "a date", "Put it in quotes; the task can convert the text to a date")
    there = _number(text)
    if there is not None and there != here:
        kept = f"'{text}' in quotes" if isinstance(here, str) else f"{here}"
        return _fault(text, here, f"the number {there}", f"Write {there} if you mean that, or {kept}")
    if there is None and isinstance(here, int):
        todo = f"Write {here} if you mean the number, or '{text}' in quotes if you mean the text"
        return _fault(text, here, f"the text '{text}'", todo)
    return None


def _truth(text: str) -> str:
    return "true" if _TRUTH[text] else "false"


def _fault(text: str, here: Scalar, there: str, todo: str) -> Fault:
    meaning = f"the text {quoted(text)}" if isinstance(here, str) else f"the number {here}"
    return Fault(f"{text} is {meaning} here, and {there} to {_OTHERS}", todo)


def _number(text: str) -> int | float | None:
    """Return the number that PyYAML reads in a word by YAML 1.1; `None` if it reads none."""
    for pattern, value_of in _NUMBERS:
        if pattern.fullmatch(text):
            try:
                return value_of(text.replace("_", ""))
            except ValueError:  # a prefix followed only by underscores
                return None
    return None


def _sexagesimal(text: str) -> int | float:
    total: int | float = 0
    for part in text.lstrip("+-").split(":"):
        total = total * 60 + (float(part) if "." in part else int(part))
    return -total if text.startswith("-") else total


_NUMBERS: Final[tuple[tuple[re.Pattern[str], Callable[[str], int | float]], ...]] = (
    (re.compile(r"[-+]?0b[01_]+"), lambda text: int(text, 2)),
    (re.compile(r"[-+]?[1-9][0-9_]*|[-+]?0"), int),
    (re.compile(r"[-+]?0[0-7_]+"), lambda text: int(text, 8)),
    (re.compile(r"[-+]?0x[0-9a-fA-F_]+"), lambda text: int(text, 16)),
    (re.compile(r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*"), float),
    (re.compile(r"[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+"), _sexagesimal),
    (re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*"), _sexagesimal),
)
"""Patterns of numbers, each with its parser."""
