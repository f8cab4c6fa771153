r"""A gene set: reading the list a person wrote, and finding its genes among the identifiers.

People paste gene lists out of papers, spreadsheets and databases. GenePlexus takes what it is given
literally, and so loses ``" BBS2"``, ``"BBS4\r"``, ``"0583"``, ``"583.0"`` and ``"ENSG00000000419.14"``
without a word. Here they are tidied first. It also marks a name that stands for several genes as "not in
the network" while it trains on all of them; therefore genes are looked up here, by GenePlexus's own
tables and in its own order, and every name's fate is told.

Pure: text and tables come in, values go out.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

KINDS = ("ENSG", "Symbol", "ENSP", "ENST")
"""Kinds of names, in the order in which GenePlexus looks them up: the first table with the name decides."""

_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$", re.MULTILINE)
_SEPARATOR = re.compile(r"[\s,;]+")
_INVISIBLE = re.compile("[\ufeff\u200b\u200c\u200d\u2060]")
_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"
_NUMBER = re.compile(r"0*([0-9]+?)(?:\.0*)?")
_VERSIONED = re.compile(r"(ENS[A-Z]*[0-9]+)\.[0-9]+")


class GenesetError(ValueError):
    """What was given is no gene list; the message is a sentence of what and one of what to do."""


def parse_genes(value: object) -> tuple[str, ...]:
    """Read a gene list: tidied, in upper case, in its own order, each gene once.

    Args:
        value: a text, or a list of texts and whole numbers. Commas, semicolons, spaces, tabs and lines
            separate; quotes around a name go, an apostrophe inside stays (``5'-NT``); ``#`` begins a comment.

    Raises:
        GenesetError: it is neither, or an entry of the list is not a name.
    """
    if isinstance(value, str):
        entries = [value]
    elif isinstance(value, (list, tuple)):
        entries = [_entry(number, entry) for number, entry in enumerate(value, 1)]
    else:
        raise GenesetError(
            f"A gene list is a text or a list of names, not {_kind(value)}. "
            "Write the names in one text, or as a YAML list"
        )
    names = (_tidy(name) for entry in entries for name in _split(entry))
    return tuple(dict.fromkeys(name for name in names if name))


def digest(genes: Iterable[str]) -> str:
    """The sha256 of a gene list, one name a line, as hex."""
    return hashlib.sha256("".join(f"{gene}\n" for gene in genes).encode()).hexdigest()


def _entry(number: int, entry: object) -> str:
    if isinstance(entry, str):
        return entry
    if isinstance(entry, bool) or not isinstance(entry, (int, float)) or entry != entry // 1:
        raise GenesetError(
            f"Entry {number} of the gene list is {_kind(entry)}, not a gene. "
            "Give symbols, Entrez numbers or Ensembl ids, in quotes where YAML reads something else"
        )
    return str(int(entry))


def _kind(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return "a mapping" if isinstance(value, dict) else f"a {type(value).__name__}"


def _split(text: str) -> list[str]:
    lines = "\n".join(_INVISIBLE.sub("", text).splitlines())
    return _SEPARATOR.split(_COMMENT.sub("", lines))


def _tidy(name: str) -> str:
    name = name.strip(_QUOTES).upper()
    if number := _NUMBER.fullmatch(name):
        return number[1]
    if versioned := _VERSIONED.fullmatch(name):
        return versioned[1]
    return name


@dataclass(frozen=True, slots=True)
class Identifiers:
    """How a species names its genes, as the data files tell."""

    known: frozenset[str]
    """Every Entrez id that the data know of."""
    entrez: Mapping[str, Sequence[str]]
    """Name in upper case to Entrez ids."""
    names: Mapping[str, Sequence[str]]
    """Entrez id to what the gene is called in full."""

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
    """A gene list, and what became of each name of it."""

    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """Each name with the Entrez ids it stands for."""
    network: frozenset[str]
    """The Entrez ids of the training network."""

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
        """How many names there were, and of each fate; ``positives`` counts genes."""
        return {
            "input": len(self.rows),
            "mapped": len(self.rows) - len(self.unmapped),
            "unmapped": len(self.unmapped),
            "ambiguous": len(self.ambiguous),
            "not_in_network": len(self.not_in_network),
            "positives": len(self.positives),
        }


def map_genes(genes: Iterable[str], identifiers: Identifiers, network: Iterable[str]) -> MappedGeneset:
    """Find each gene of a tidied list among the identifiers and in the network."""
    return MappedGeneset(tuple((gene, identifiers.find(gene)) for gene in genes), frozenset(network))


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
