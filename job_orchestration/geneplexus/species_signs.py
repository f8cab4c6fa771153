"""Names of genes that show by their form which species they are of.

Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_FORMS: Final = tuple(
    (species, re.compile(form))
    for species, form in (
        ("Human", r"ENS[GTP]\d{11}|HGNC:\d+"),
        ("Mouse", r"ENSMUS[GTP]\d{11}|MGI:\d+|\d{7}[A-Z]\d\dRIK"),
        ("rat", r"ENSRNO[GTP]\d{11}|RGD:\d+"),
        ("Zebrafish", r"ENSDAR[GTP]\d{11}|ZDB-GENE-[0-9-]+|(?:SI|ZGC):[A-Z0-9.-]+"),
        ("Fly", r"FB(?:GN|TR|PP)\d{7}"),
        ("Worm", r"WBGENE\d{8}|CELE_[A-Z0-9.]+"),
        ("Yeast", r"Y[A-P][LR]\d{3}[WC](?:-[A-Z])?|SGD:S\d+|S00000\d{4}"),
        ("another species", r"ENS[A-Z]{3,4}[GTP]\d{11}"),
    )
)
_WORD = re.compile(r"[A-Za-z]{3,}[A-Za-z0-9]*")
_TITLE_CASE = re.compile(r"[A-Z][a-z]{2,}[a-z0-9]*")
_LOWER_CASE = re.compile(r"[a-z]{3,}[0-9]*[a-z]*")
_CASES: Final = {
    "Human": (re.compile(r"[A-Z]{3,}[A-Z0-9]*"), "Human"),
    "Mouse": (_TITLE_CASE, "Mouse or rat"),
    "Zebrafish": (_LOWER_CASE, "Zebrafish"),
}
_FEWEST: Final = 5
_MOST: Final = 0.8


def species_of(name: str) -> str:
    """The species that the form of a tidied name suggests; empty if it suggests none."""
    return next((species for species, form in _FORMS if form.fullmatch(name)), "")


def other_spelling(written: Iterable[str], species: str) -> tuple[str, str]:
    """The species that spells symbols as most of these are spelled, if it is not the given one.

    Names are looked up in any spelling, so ``Bbs1`` is found among human symbols too.

    Returns:
        The species in words and an example; two empty texts if nothing is odd.
    """
    words = [one for one in written if _WORD.fullmatch(one)]
    spelled = {name: [one for one in words if form.fullmatch(one)] for name, (form, _) in _CASES.items()}
    own = spelled.get(species)
    if own is None or len(words) < _FEWEST:
        return "", ""
    if species == "Human" and len(spelled["Mouse"]) >= _MOST * len(words):
        return _CASES["Mouse"][1], spelled["Mouse"][0]
    if species in {"Mouse", "Zebrafish"} and len(spelled["Human"]) >= _MOST * len(words):
        return _CASES["Human"][1], spelled["Human"][0]
    return "", ""
