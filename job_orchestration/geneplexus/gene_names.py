r"""Single names of a gene list: how they are tidied, which tokens are no names, and what was left out.

GenePlexus takes what it is given literally, and so loses ``" BBS2"``, ``"BBS4\r"``, ``"0583"``, ``"583.0"``
and ``"ENSG00000000419.14"`` without a word. Here they are tidied first.
Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

SEPARATOR: Final = re.compile(r"[\s,;]+")
CELL_SEPARATOR: Final = re.compile(r"[\s,;|]+|/{2,}")
"""Between the names in one cell of a table, as ``BBS1 /// BBS2``."""

_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"
_WHOLE = re.compile(r"0*([0-9]+?)(?:\.0*)?")
_NUMBER = re.compile(
    r"[-+]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)(?:e[-+]?[0-9]+)?%?|[-+]?inf(?:inity)?", re.IGNORECASE
)
_VERSIONED = re.compile(r"(ENS[A-Z]*[0-9]+)\.[0-9]+")
_MISSING = frozenset({"", "NA", "N/A", "#N/A", "#NA", "NAN", "NULL", "NONE", "-", "--", "---", ".", "?"})


class GenesetError(ValueError):
    """The text is no gene list; the message says what is wrong and what to do."""


class Line(NamedTuple):
    """A line of a text and its number, from 1."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class WrittenName:
    """A name of a gene list."""

    line: int
    written: str
    """The name as it is written."""

    @property
    def gene(self) -> str:
        """The tidied name."""
        return tidy(self.written)


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something in a gene list that no gene is trained on for."""

    line: int
    """Where it stands, from 1; 0 for a whole column."""
    name: str
    reason: str
    advice: str = ""
    """What it was, or what to do; may be empty."""


def tidy(name: str) -> str:
    """A name in upper case, without quotes, leading zeros, ``.0`` and the version of an Ensembl id."""
    name = name.strip().strip(_QUOTES).upper()
    if number := _WHOLE.fullmatch(name):
        return number[1]
    if versioned := _VERSIONED.fullmatch(name):
        return versioned[1]
    return name


def is_missing(tidied: str) -> bool:
    """Whether a tidied name means "missing", as ``NA`` does."""
    return tidied in _MISSING


def is_number(text: str) -> bool:
    """Whether a text is a number of any kind: ``12``, ``0.93``, ``1,5e-8``, ``12%``."""
    return bool(_NUMBER.fullmatch(text.strip()))


def is_whole(text: str) -> bool:
    """Whether a text may be an Entrez id: digits, as ``582`` or ``582.0``."""
    return bool(_WHOLE.fullmatch(text.strip()))
