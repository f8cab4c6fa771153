"""List everything in a gene list that is not trained on, with the reason, and warn about it.

Pure.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.problems import named
from job_orchestration.geneplexus import species_signs
from job_orchestration.geneplexus.gene_names import Dropped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.geneplexus.gene_lists import GeneList
    from job_orchestration.geneplexus.geneset import MappedGeneset
    from job_orchestration.geneplexus.settings import Choice

_DATE: Final = "a spreadsheet's date"
_UNKNOWN: Final = "not known"
_OUTSIDE: Final = "not in the network"
_OTHER_SPECIES: Final = "of another species"
_NO_NAME: Final = "no name"
_LOOKED_UP: Final = (_DATE, _UNKNOWN, _OUTSIDE, _OTHER_SPECIES)
"""Reasons that names of genes have, and no other part of a list."""


def dropped(
    genes: GeneList, mapped: MappedGeneset, choice: Choice, elsewhere: Mapping[str, str]
) -> list[Dropped]:
    """List everything that no gene is trained on for, in the order of the lines.

    Args:
        genes: the list.
        mapped: its names, looked up.
        choice: the species and network.
        elsewhere: the species that other tables of the data know a name of.
    """
    found = list(genes.dropped)
    fates = {
        name: _fate(name, mapped, choice, elsewhere) for name in (*mapped.unmapped, *mapped.not_in_network)
    }
    found += [Dropped(one.line, one.written, *fates[one.gene]) for one in genes.names if one.gene in fates]
    return sorted(found, key=lambda one: one.line)


def _fate(name: str, mapped: MappedGeneset, choice: Choice, elsewhere: Mapping[str, str]) -> tuple[str, str]:
    if name in mapped.dates:
        return _DATE, f"was {' or '.join(mapped.dates[name])}"
    if name in mapped.not_in_network:
        return _OUTSIDE, f"known for {choice.sp_trn}, but not in {choice.net_type}"
    species = elsewhere.get(name) or species_signs.species_of(name)
    if species and species != choice.sp_trn:
        return _OTHER_SPECIES, f"a name of {species}"
    return _UNKNOWN, f"no table of {choice.sp_trn} has it"


def counts(found: list[Dropped]) -> dict[str, int]:
    """Count them by reason."""
    return dict(Counter(one.reason for one in found))


def sentences(genes: GeneList, found: list[Dropped], choice: Choice) -> list[str]:
    """Return warnings about a list."""
    said = []
    of: dict[str, list[Dropped]] = {
        reason: [one for one in found if one.reason == reason] for reason in _LOOKED_UP
    }
    if dates := of[_DATE]:
        names = named(f"{one.name} {one.advice}" for one in dates)
        said.append(
            f"{_many(dates)} {_are(dates)} made of gene symbols by a spreadsheet and not trained on: "
            f"{names}. Write the symbols again, and format the column as text."
        )
    if strangers := of[_OTHER_SPECIES]:
        names = named(f"{one.name} ({one.advice})" for one in strangers)
        said.append(
            f"{_many(strangers)} {_are(strangers)} of another species than {choice.sp_trn}, and not trained "
            f"on: {names}. Set sp_trn, or give the {choice.sp_trn} orthologs."
        )
    if unknown := of[_UNKNOWN]:
        said.append(
            f"{_many(unknown)} of {len(genes.names)} {_are(unknown)} not known for {choice.sp_trn}, and not "
            f"trained on: {named(one.name for one in unknown)}. Look for misspelt and outdated names."
        )
    if empty := [one for one in found if one.reason == _NO_NAME]:
        lines = named(f"line {one.line}" for one in empty)
        said.append(f"{len(empty)} {'places hold' if len(empty) > 1 else 'place holds'} no gene: {lines}.")
    species, example = species_signs.other_spelling((one.written for one in genes.names), choice.sp_trn)
    if species:
        said.append(
            f"The symbols are spelled as those of {species} ({example}), and are read as {choice.sp_trn} "
            f"symbols with the same letters. Set sp_trn, or give the {choice.sp_trn} orthologs."
        )
    return said


def _many(some: list[Dropped]) -> str:
    return f"{len(some)} name{'s' if len(some) > 1 else ''}"


def _are(some: list[Dropped]) -> str:
    return "are" if len(some) > 1 else "is"
