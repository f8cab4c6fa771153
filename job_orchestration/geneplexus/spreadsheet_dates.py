"""Gene symbols that a spreadsheet turned into dates, and what they were.

Excel and its like read ``SEPT1`` and ``MARCH2`` as days, and save ``1-Sep``, ``Mar-02``, ``2022-09-01`` or
the day's number, ``44805``. Some days may have been two symbols: ``2-Mar`` was ``MARCH2`` or ``MARC2``.
Pure.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Final

_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        (
            *("JAN", "FEB FEV FÉV", "MAR MRZ MÄR MARS", "APR AVR ABR", "MAY MAI MAG", "JUN GIU", "JUL LUG"),
            *("AUG AGO", "SEP SEPT SET", "OCT OKT OTT", "NOV", "DEC DEZ DIC DÉC"),
        ),
        1,
    )
    for name in names.split()
}
"""The months as spreadsheets shorten them, in several languages."""
_FAMILIES: Final[dict[int, tuple[tuple[str, str, int], ...]]] = {
    3: (("MARCH", "MARCHF", 11), ("MARC", "MTARC", 2)),
    9: (("SEPT", "SEPTIN", 14), ("SEP", "SELENOF", 15)),
    12: (("DEC", "DELEC", 2),),
    10: (("OCT", "", 11),),
    2: (("FEB", "", 2),),
    4: (("APR", "", 3),),
    11: (("NOV", "", 2),),
    6: (("JUN", "", 2),),
}
"""For each month: a symbol's letters, those of today's symbol if it is another, and its highest number."""
_RENAMED: Final = {"SEP15": "SELENOF", "DEC1": "DELEC1", "DEC2": "BHLHE41", "OCT4": "POU5F1", "NOV1": "CCN3"}
_WORDS = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DAY_MONTH = re.compile(rf"(0?[1-9]|[12][0-9]|3[01])[-./ ]({_WORDS})(?:[-./ ][0-9]{{2,4}})?")
_MONTH_DAY = re.compile(rf"({_WORDS})[-./ ](0?[1-9]|[12][0-9]|3[01])(?:[-./ ,]+[0-9]{{4}})?")
_ISO = re.compile(r"[12][0-9]{3}[-/.]([01]?[0-9])[-/.]([0-3]?[0-9])")
_SLASHED = re.compile(r"([0-3]?[0-9])([/.])([0-3]?[0-9])\2(?:[12][0-9])?[0-9]{2}")
_EPOCH: Final = date(1899, 12, 30)
_SERIALS: Final = range(36526, 54789)
"""The days of 2000 to 2049."""


def symbols_of(name: str) -> tuple[str, ...]:
    """What a tidied name was before a spreadsheet made a date of it; none if it is no such date.

    Returns:
        Each symbol it may have been, with today's symbol if that is another: ``SEPT1 (now SEPTIN1)``.
    """
    return tuple(dict.fromkeys(symbol for month, day in _days(name) for symbol in _symbols(month, day)))


def is_serial(name: str) -> bool:
    """Whether a tidied name is the number of a day that a gene symbol may have become."""
    return name.isdigit() and bool(symbols_of(name))


def _days(name: str) -> list[tuple[int, int]]:
    """The months and days that a name may mean."""
    if match := _DAY_MONTH.fullmatch(name):
        return [(_MONTHS[match[2]], int(match[1]))]
    if match := _MONTH_DAY.fullmatch(name):
        return [(_MONTHS[match[1]], int(match[2]))]
    if match := _ISO.fullmatch(name):
        return [(int(match[1]), int(match[2]))]
    if match := _SLASHED.fullmatch(name):
        one, other = int(match[1]), int(match[3])
        return [(other, one)] if match[2] == "." else [(one, other), (other, one)]
    if name.isdigit() and len(name) == 5 and int(name) in _SERIALS:  # noqa: PLR2004  a day of this age
        day = _EPOCH + timedelta(days=int(name))
        return [(day.month, day.day)]
    return []


def _symbols(month: int, day: int) -> list[str]:
    found = []
    for old, new, most in _FAMILIES.get(month, ()):
        if day > most or (old == "SEP" and day != most):
            continue
        symbol = f"{old}{day}"
        today = _RENAMED.get(symbol) or (f"{new}{day}" if new else symbol)
        found.append(symbol if today == symbol else f"{symbol} (now {today})")
    return found
