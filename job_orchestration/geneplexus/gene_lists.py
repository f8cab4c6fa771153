r"""Read a gene list: a plain list, a table, a GMT file, or lines that begin with ``>``.

People paste gene lists out of papers, spreadsheets and databases. Names in a plain list are separated by
anything. Of a table only the gene column is read (`gene_tables`), and of a GMT file one gene set. Whatever
is left out is listed with its line and a reason.
Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from job_orchestration.geneplexus import gene_tables, gmt
from job_orchestration.geneplexus.gene_names import (
    SEPARATOR,
    Dropped,
    GenesetError,
    Line,
    WrittenName,
    is_missing,
    tidy,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Find = Callable[[str], tuple[str, ...]]

_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$")
_INVISIBLE = re.compile("[\ufeff\u200b\u200c\u200d\u2060]")
_SPACED_DATE = re.compile(r"(?<![\w.-])([0-9]{1,2})\. ?([^\W\d_]{3,9})\b\.?(?: [0-9]{4}\b)?")
_MIDNIGHT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]00:00(?::00(?:\.0+)?)?\b")
_SEQUENCE = re.compile(r"[A-Za-z*-]{20,}")


@dataclass(frozen=True, slots=True)
class GeneList:
    """The names of a gene list, tidied, each once, and what was left out."""

    names: tuple[WrittenName, ...]
    source: str
    """Place of the names in the text, for a sentence: ``a list``, ``column gene of 3 columns``."""
    dropped: tuple[Dropped, ...]
    title: str = ""
    """The name of the gene set, if the text gives one."""

    @property
    def genes(self) -> tuple[str, ...]:
        """The tidied names."""
        return tuple(name.gene for name in self.names)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of a config for the form of a list."""

    column: str | int | None = None
    """The gene column of a table: its title, or its number from 1."""
    gene_set: str | None = None
    """The gene set of a GMT file."""
    column_key: str = "geneColumn"
    gene_set_key: str = "genesetName"
    is_gmt: bool = False
    """Whether the name of the file says that it is a GMT file."""


ANY: Final = Wanted()


def read(value: object, find: Find = gene_tables.knows_nothing, wanted: Wanted = ANY) -> GeneList:
    """Read a gene list: tidied, in upper case, in its own order, each gene once.

    Args:
        value: a text, or a list of texts and whole numbers. Commas, semicolons, spaces, tabs and lines
            separate; quotes around a name go, an apostrophe inside stays (``5'-NT``); ``#`` begins a comment.
        find: gives the Entrez ids of a tidied name, for finding the gene column of a table.
        wanted: what the config says about the form.

    Raises:
        GenesetError: it is neither, an entry of the list is not a name, or the form leaves a choice that the
            config does not make.
    """
    if wanted.is_gmt and isinstance(value, str):
        return _of_gene_set(gmt.chosen(_sets_in(value), wanted.gene_set, wanted.gene_set_key))
    filled = _filled_lines(_text(value))
    sets = gmt.sets_of(filled, find, is_gmt=wanted.is_gmt)
    if sets is not None:
        return _of_gene_set(gmt.chosen(sets, wanted.gene_set, wanted.gene_set_key))
    if wanted.gene_set is not None:
        raise GenesetError(
            f"{wanted.gene_set_key} chooses a gene set of a GMT file, and this is none. Take the key out"
        )
    filled, dropped, title = _without_descriptions(filled, find)
    table = gene_tables.read(filled, find, wanted.column, wanted.column_key)
    if table is not None:
        return _gathered(
            table.names, f"column {table.column} of {table.count} columns", [*dropped, *table.dropped]
        )
    names, header = _listed(filled, find, wanted)
    return _gathered(names, "a list", [*dropped, *header], title)


def set_names(text: str) -> tuple[str, ...]:
    """Return the names of the gene sets in a GMT file.

    Raises:
        GenesetError: it has none.
    """
    return tuple(one.name for one in _sets_in(text))


@lru_cache(maxsize=2)
def _sets_in(text: str) -> tuple[gmt.GeneSet, ...]:
    """The gene sets of a GMT file; the runs of a batch choose from the same ones."""
    return tuple(gmt.sets_of(_filled_lines(_text(text)), gene_tables.knows_nothing, is_gmt=True) or ())


def _filled_lines(text: str) -> list[Line]:
    lines = (Line(number, line) for number, line in enumerate(text.splitlines(), 1))
    return [line for line in lines if line.text.strip()]


def _text(value: object) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, (list, tuple)):
        text = "\n".join(_entry(number, entry) for number, entry in enumerate(value, 1))
    else:
        raise GenesetError(
            f"A gene list is a text or a list of names, not {_kind(value)}. "
            "Write the names in one text, or as a YAML list"
        )
    text = _INVISIBLE.sub("", text)
    return _SPACED_DATE.sub(r"\1-\2", _MIDNIGHT.sub(r"\1", text))


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


def _of_gene_set(chosen: gmt.GeneSet) -> GeneList:
    names = [WrittenName(chosen.line, cell.strip()) for cell in chosen.cells if cell.strip()]
    found = _gathered(names, f"gene set {chosen.name} of a GMT file", [])
    return GeneList(found.names, found.source, found.dropped, chosen.name)


def _without_descriptions(lines: list[Line], find: Find) -> tuple[list[Line], list[Dropped], str]:
    """Lines whose ``>`` is stripped, without sequences and descriptions; and the title of an MSigDB list."""
    if not any(line.text.lstrip().startswith(">") for line in lines):
        return lines, [], ""
    kept: list[Line] = []
    dropped: list[Dropped] = []
    title, in_sequence = "", False
    for place, line in enumerate(lines):
        text = line.text.strip()
        if not text.startswith(">"):
            in_sequence = in_sequence or bool(_SEQUENCE.fullmatch(text))
            if in_sequence:
                dropped.append(Dropped(line.number, text, "a sequence"))
            else:
                kept.append(line)
            continue
        in_sequence = False
        name, _, rest = text.lstrip("> \t").partition(" ")
        if text[1:2].isspace() and rest:
            dropped.append(Dropped(line.number, text, "a description"))
            if place == 1 and kept and not find(tidy(kept[0].text)):
                title = kept.pop().text.strip()
                dropped.append(Dropped(lines[0].number, title, "the name of the gene set"))
            continue
        first, _, more = name.partition("|")
        kept.append(Line(line.number, first))
        if rest or more:
            dropped.append(Dropped(line.number, f"{more} {rest}".strip(), "a description"))
    return kept, dropped, title


def _listed(lines: list[Line], find: Find, wanted: Wanted) -> tuple[list[WrittenName], list[Dropped]]:
    """The names of a plain list, without comments and without a title such as ``gene`` in the first line."""
    bare = [Line(line.number, _COMMENT.sub("", line.text)) for line in lines]
    bare = [line for line in bare if line.text.strip()]
    header: list[Dropped] = []
    title = bare[0].text.strip() if bare else ""
    if len(bare) > 1 and gene_tables.is_title(title, wanted.column) and not find(tidy(title)):
        header, bare = [Dropped(bare[0].number, title, "the title of the column")], bare[1:]
    elif wanted.column not in {None, 1, "1"}:
        raise GenesetError(
            f"{wanted.column_key} is {wanted.column!r}, but the genes are a list and no table. "
            "Take the key out"
        )
    return [
        WrittenName(line.number, one) for line in bare for one in SEPARATOR.split(line.text) if one
    ], header


def _gathered(names: Iterable[WrittenName], source: str, dropped: list[Dropped], title: str = "") -> GeneList:
    """Keep each gene once; repeated and missing names are dropped."""
    first: dict[str, WrittenName] = {}
    for name in names:
        gene = name.gene
        if is_missing(gene):
            dropped.append(Dropped(name.line, name.written, "no name"))
        elif gene in first:
            dropped.append(Dropped(name.line, name.written, "repeated", f"first in line {first[gene].line}"))
        else:
            first[gene] = name
    return GeneList(tuple(first.values()), source, tuple(sorted(dropped, key=lambda one: one.line)), title)
