"""Map the names of a gene list to Entrez ids.

GenePlexus marks a name that stands for several genes as "not in the network" while it trains on all of them;
therefore genes are looked up here, by GenePlexus's own tables and in its own order, and the fate of every
name is reported. `gene_lists` reads the list.
Pure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from job_orchestration.geneplexus import spreadsheet_dates

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

KINDS = ("ENSG", "Symbol", "ENSP", "ENST")
"""Kinds of names, in the order in which GenePlexus looks them up: the first table with the name decides."""

_FEW_NUMBERS = 10
"""A list with fewer than one number in so many names is a list of symbols."""


def digest(genes: Iterable[str]) -> str:
    """The sha256 of a gene list, one name a line, as hex."""
    return hashlib.sha256("".join(f"{gene}\n" for gene in genes).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Identifiers:
    """How a species names its genes, as the data files tell."""

    known: frozenset[str]
    """Every Entrez id that the data know of."""
    entrez: Mapping[str, Sequence[str]]
    """Maps a name in upper case to Entrez ids."""
    names: Mapping[str, Sequence[str]]
    """Maps an Entrez id to the gene's full name."""

    @classmethod
    def of_tables(
        cls,
        to_entrez: Mapping[str, Mapping[str, Sequence[str]]],
        names: Mapping[str, Sequence[str]],
        known: Iterable[str],
    ) -> Identifiers:
        """Merge the tables of all `KINDS`, the first kind winning."""
        merged: dict[str, Sequence[str]] = {}
        for kind in reversed(KINDS):
            merged.update({name.upper(): ids for name, ids in to_entrez[kind].items()})
        return cls(frozenset(known), merged, names)

    def find(self, gene: str) -> tuple[str, ...]:
        """The Entrez ids that a tidied name stands for; none when it is not known."""
        if gene.isdigit():
            return (gene,) if gene in self.known else ()
        return tuple(dict.fromkeys(self.entrez.get(gene, ())))


@dataclass(frozen=True)
class MappedGeneset:
    """A gene list, and the fate of each of its names."""

    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """Each name with the Entrez ids it stands for."""
    network: frozenset[str]
    """The Entrez ids of the training network."""
    dates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The names that are a spreadsheet's dates, with the symbols that they may have been."""

    @cached_property
    def positives(self) -> tuple[str, ...]:
        """The Entrez ids to train on: in the network, each once, in order of first mention."""
        return tuple(dict.fromkeys(one for _, ids in self.rows for one in ids if one in self.network))

    @property
    def unmapped(self) -> tuple[str, ...]:
        """The names that no table knows."""
        return tuple(gene for gene, ids in self.rows if not ids)

    @property
    def ambiguous(self) -> dict[str, tuple[str, ...]]:
        """The names that stand for several genes; all of those are trained on, as in GenePlexus."""
        return {gene: ids for gene, ids in self.rows if len(ids) > 1}

    @property
    def not_in_network(self) -> tuple[str, ...]:
        """The names that are known, but none of whose genes is in the network."""
        return tuple(gene for gene, ids in self.rows if ids and not self.network.intersection(ids))

    @property
    def counts(self) -> dict[str, int]:
        """Count the names, and those of each fate; ``positives`` counts genes."""
        return {
            "input": len(self.rows),
            "mapped": len(self.rows) - len(self.unmapped),
            "unmapped": len(self.unmapped),
            "ambiguous": len(self.ambiguous),
            "not_in_network": len(self.not_in_network),
            "positives": len(self.positives),
        }


def map_genes(genes: Iterable[str], identifiers: Identifiers, network: Iterable[str]) -> MappedGeneset:
    """Find each gene of a tidied list among the identifiers and in the network.

    A name that a spreadsheet made a date of is no gene. The number of such a day may be an Entrez id, and is
    one in a list that has other numbers.
    """
    names = tuple(genes)
    serials = {gene for gene in names if spreadsheet_dates.is_serial(gene)}
    others = [gene for gene in names if gene not in serials]
    has_entrez = not others or _FEW_NUMBERS * sum(1 for gene in others if gene.isdigit()) >= len(others)
    rows, dates = [], {}
    for gene in names:
        ids = identifiers.find(gene)
        is_day = not has_entrez if gene in serials else not ids
        if is_day and (symbols := spreadsheet_dates.symbols_of(gene)):
            ids, dates[gene] = (), symbols
        rows.append((gene, ids))
    return MappedGeneset(tuple(rows), frozenset(network), dates)


def conversion_table(mapped: MappedGeneset, identifiers: Identifiers, net_type: str) -> list[dict[str, str]]:
    """GenePlexus's ``df_convert_out``, a row for each gene: an ambiguous name has several."""
    column = f"In {net_type}?"
    return [
        {
            "Original ID": given,
            "Entrez ID": one or "Could Not be mapped to Entrez",
            "Gene Name": ", ".join(identifiers.names.get(one, ())) or "N/A" if one else "None",
            column: "Y" if one in mapped.network else "N",
        }
        for given, ids in mapped.rows
        for one in ids or (None,)
    ]
