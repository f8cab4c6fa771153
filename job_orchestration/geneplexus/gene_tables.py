"""Tables with a gene column: CSV, TSV and columns between blanks, with or without a line of titles.

The gene column is found by its title, or else by what stands in it: most of it are names that the data
know, and no column of numbers is taken where another one has such names. If two columns would do and tell
of different genes, the config has to say which is meant. No other column is read.
Pure.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.suggestions import did_you_mean, nearest_names
from job_orchestration.geneplexus.gene_names import (
    CELL_SEPARATOR,
    Dropped,
    GenesetError,
    Line,
    WrittenName,
    is_missing,
    is_number,
    is_whole,
    tidy,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Find = Callable[[str], tuple[str, ...]]

_TITLES: Final = (
    *("gene", "genes", "genesymbol", "genesymbols", "symbol", "symbols", "hgncsymbol", "mgisymbol", "hgnc"),
    *("approvedsymbol", "officialsymbol", "externalgenename", "associatedgenename", "genename", "genenames"),
    *("entrez", "entrezid", "entrezgene", "entrezgeneid", "entrezids", "ncbigene", "ncbigeneid", "geneid"),
    *(
        "geneids",
        "ensembl",
        "ensemblid",
        "ensemblgene",
        "ensemblgeneid",
        "ensg",
        "ensgid",
        "ensemblproteinid",
    ),
    *("ensp", "enst", "locus", "locustag", "targetgene", "proteinid", "protein", "target", "id", "ids"),
    *("identifier", "name", "names"),
)
"""Titles of gene columns without blanks and signs; the first that a table has is read."""
_WEAK: Final = frozenset({"id", "ids", "identifier", "name", "names", "target", "protein", "locus"})
"""Titles that other columns have as well."""
_DELIMITERS: Final = ("\t", ";", ",", "|")
"""Separators; blanks separate columns if none of these does."""
_PREAMBLE: Final = 20
"""Maximum number of lines above the titles."""
_SAMPLE: Final = 2000
"""Number of rows read to find the gene column."""
_REGULAR, _MOST, _HALF = 0.7, 0.8, 0.5


@dataclass(frozen=True, slots=True)
class GeneColumn:
    """The names of the gene column of a table."""

    column: str
    """Its title, or its number from 1."""
    count: int
    """How many columns the table has."""
    names: tuple[WrittenName, ...]
    dropped: tuple[Dropped, ...]


@dataclass(frozen=True, slots=True)
class _Table:
    titles: tuple[str, ...]
    """Empty if the table has none."""
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    """The number of the line, and a cell for each column."""
    above: tuple[Line, ...]
    """The lines above the first row."""
    regular: float
    """The share of all lines that have as many cells as the table is wide."""
    even: bool
    """Whether all rows do."""

    @property
    def width(self) -> int:
        return len(self.rows[0][1])

    def label(self, column: int) -> str:
        """Name of a column in a sentence."""
        return (self.titles[column] if self.titles else "") or str(column + 1)


def knows_nothing(_: str) -> tuple[str, ...]:
    """Find no name; used if the data are not available."""
    return ()


def is_title(text: str, wanted: str | int | None) -> bool:
    """Whether a text in the first line is the title of a gene column."""
    return _bare(text) in _TITLES or (isinstance(wanted, str) and _bare(text) == _bare(wanted) != "")


def read(lines: Sequence[Line], find: Find, wanted: str | int | None, key: str) -> GeneColumn | None:
    """The gene column of a text; `None` if the text is no table.

    Args:
        lines: the lines with text in them.
        find: gives the Entrez ids of a tidied name.
        wanted: the title of the gene column or its number from 1, if the config names it.
        key: where the config may name it.

    Raises:
        GenesetError: there is no such column, or several columns could be meant.
    """
    found = [table for one in _DELIMITERS if (table := _table(lines, one, find, wanted))]
    if not found and (table := _table(lines, None, find, wanted)):
        found = [table]
    options = [(table, [_Profile(table, column, find) for column in range(table.width)]) for table in found]
    # A decimal comma or a cell with several names may look like a delimiter too.
    options.sort(key=lambda one: (max(profile.single for profile in one[1]), one[0].regular), reverse=True)
    for table, profiles in options:
        if wanted is not None:
            return _taken(table, _named_column(table, wanted, key))
        if table.titles or not _is_list(table, profiles):
            if find is knows_nothing and not table.titles:
                return _taken(table, next((one.column for one in profiles if not one.is_number), 0))
            return _taken(table, _found_column(table, profiles, key))
    return None


# -- rows --


def _table(
    lines: Sequence[Line], delimiter: str | None, find: Find, wanted: str | int | None
) -> _Table | None:
    comments = [line for line in lines if line.text.lstrip().startswith("#")]
    content = [line for line in lines if not line.text.lstrip().startswith("#")]
    rows = _split(content, delimiter)
    width = Counter(len(cells) for _, cells in rows).most_common(1)[0][0] if rows else 0
    if width < 2 or len(rows) < 2:  # noqa: PLR2004  less is a list
        return None
    titles, begin = _titles(rows, width, find, wanted)
    above = [line for line, _ in zip(content, rows, strict=False)][:begin]
    if not titles and comments and comments[-1].number < content[0].number:
        (_, cells), *_ = _split([Line(comments[-1].number, comments[-1].text.lstrip("# "))], delimiter)
        if len(cells) == width and any(_bare(cell) in _TITLES for cell in cells):
            titles, above = cells, [comments[-1]]
    body = rows[begin:]
    regular = sum(1 for _, cells in body if len(cells) == width)
    if not body or regular < _REGULAR * len(body):
        return None
    filled = tuple((number, (*cells, *[""] * width)[:width]) for number, cells in body)
    even = regular == len(body)
    used = [column for column in range(width) if any(cells[column].strip() for _, cells in filled)]
    if len(used) < 2 and not titles:  # noqa: PLR2004  names with a delimiter behind each
        return None
    regular_part = sum(1 for _, cells in rows if len(cells) == width) / len(rows)
    return _Table(tuple(title.strip() for title in titles), filled, tuple(above), regular_part, even)


def _split(lines: Sequence[Line], delimiter: str | None) -> list[tuple[int, tuple[str, ...]]]:
    if delimiter is None:
        return [(line.number, tuple(line.text.split())) for line in lines]
    if any('"' in line.text for line in lines):
        reader = csv.reader((f"{line.text}\n" for line in lines), delimiter=delimiter, skipinitialspace=True)
        rows, before = [], 0
        try:
            for cells in reader:
                rows.append((lines[before].number, tuple(cells)))
                before = reader.line_num
        except csv.Error:
            pass  # a cell without an end: the quotes are no quotes
        else:
            return rows
    return [(line.number, tuple(line.text.split(delimiter))) for line in lines]


def _titles(
    rows: Sequence[tuple[int, tuple[str, ...]]], width: int, find: Find, wanted: str | int | None
) -> tuple[tuple[str, ...], int]:
    """The titles of the columns, none if there are none, and the number of the first row below them."""
    for place, (_, cells) in enumerate(rows[:_PREAMBLE]):
        if len(cells) not in {width, width - 1} or any(is_number(cell) for cell in cells):
            continue
        if not any(is_title(cell, wanted) for cell in cells) or any(find(tidy(cell)) for cell in cells):
            continue
        return _padded(cells, width), place + 1
    first = rows[0][1]
    if len(first) not in {width, width - 1} or any(is_number(cell) or find(tidy(cell)) for cell in first):
        return (), 0
    # A line of words above columns of numbers is one of titles, whatever the words are.
    titles, body = _padded(first, width), [cells for _, cells in rows[1:] if len(cells) == width]
    if any(
        titles[column].strip() and body and all(is_number(cells[column]) for cells in body)
        for column in range(width)
    ):
        return titles, 1
    return (), 0


def _padded(cells: tuple[str, ...], width: int) -> tuple[str, ...]:
    """Titles for all columns: R writes none above the names of the rows."""
    return cells if len(cells) == width else ("", *cells)


# -- columns --


class _Profile:
    """Return the cells of a column."""

    def __init__(self, table: _Table, column: int, find: Find) -> None:
        self.column = column
        self.title = _bare(table.titles[column]) if table.titles else ""
        cells = [cells[column].strip() for _, cells in table.rows[:_SAMPLE]]
        self.entrez = [_entrez_of(cell, find) for cell in cells]
        filled = [place for place, cell in enumerate(cells) if not is_missing(tidy(cell))]
        count = max(len(filled), 1)
        self.known = sum(1 for place in filled if self.entrez[place]) / count
        self.single = sum(1 for place in filled if find(tidy(cells[place]))) / count
        self.numbers = sum(1 for place in filled if is_number(cells[place])) / count
        self.whole = bool(filled) and all(is_whole(cells[place]) for place in filled)
        self.is_empty = not filled

    @property
    def is_number(self) -> bool:
        return self.numbers >= _MOST

    def agrees_with(self, other: _Profile) -> bool:
        """Whether two columns name the same genes, row by row."""
        both = [(one, two) for one, two in zip(self.entrez, other.entrez, strict=True) if one and two]
        return sum(1 for one, two in both if one & two) >= _MOST * len(both)


def _entrez_of(cell: str, find: Find) -> set[str]:
    return {one for name in CELL_SEPARATOR.split(cell) if name for one in find(tidy(name))}


def _is_list(table: _Table, profiles: Sequence[_Profile]) -> bool:
    """Whether the rows are a list of genes that is laid out in columns, and not a table."""
    filled = [one for one in profiles if not one.is_empty]
    if all(one.is_number for one in filled):
        if not all(one.whole for one in filled):
            return False
        return not table.even or (len(filled) > 2 and all(one.known == 1 for one in filled))  # noqa: PLR2004
    if any(one.is_number for one in filled):
        return False
    known = [one.known for one in filled]
    if max(known) >= _HALF and min(known) <= 0.2:  # noqa: PLR2004  words beside genes
        return False
    # The same genes under several names are a table; any other genes are a list.
    best = max(filled, key=lambda one: one.known)
    return not (best.known >= _HALF and len(table.rows) > 1 and all(best.agrees_with(one) for one in filled))


def _named_column(table: _Table, wanted: str | int, key: str) -> int:
    titles = [title.strip().lower() for title in table.titles]
    text = str(wanted).strip()
    if text.lower() in titles:
        return titles.index(text.lower())
    bare = [_bare(title) for title in titles]
    if _bare(text) in bare and _bare(text):
        return bare.index(_bare(text))
    if text.isdigit() and 1 <= int(text) <= table.width:
        return int(text) - 1
    shown = [table.label(column) for column in range(table.width)]
    near = nearest_names(text, shown)
    hint = did_you_mean(near) if near else "Name one of them, or its number from 1"
    raise GenesetError(f"{key} is {wanted!r}, and the columns of the table are {', '.join(shown)}. {hint}")


def _found_column(table: _Table, profiles: Sequence[_Profile], key: str) -> int:
    words = [one for one in profiles if not one.is_number and one.known >= _HALF]
    titled = [one for one in profiles if one.title in _TITLES]
    titled = [one for one in titled if not (one.title in _WEAK and one not in words and words)]
    if titled:
        best = min(titled, key=lambda one: (one.known < _HALF, _TITLES.index(one.title), -one.known))
        rivals = [one for one in titled if one.title == best.title]
    else:
        others = [one for one in profiles if not one.is_number and not one.is_empty]
        options = words or (others if len(others) == 1 else [one for one in others if one.known])
        if not others:
            options = [one for one in profiles if one.whole and one.known]
        if not options:
            raise GenesetError(
                f"This is a table, and none of its columns ({_labels(table, profiles)}) holds genes that the "
                f"data know. Name the column in {key}, or give a list of genes"
            )
        best, rivals = max(options, key=lambda one: one.known), options
    against = [one for one in rivals if not best.agrees_with(one) or (best.is_number and one is not best)]
    if against:
        raise GenesetError(
            f"The columns {_labels(table, [best, *against])} of the table could all be genes. Choose one "
            f"with {key}: {table.label(best.column)}, or give a list with one gene a line"
        )
    return best.column


def _labels(table: _Table, profiles: Sequence[_Profile]) -> str:
    return ", ".join(table.label(one.column) for one in sorted(profiles, key=lambda one: one.column))


def _taken(table: _Table, column: int) -> GeneColumn:
    names: list[WrittenName] = []
    dropped = [Dropped(line.number, line.text.strip(), "above the first row") for line in table.above]
    if table.titles and dropped:
        dropped[-1] = Dropped(table.above[-1].number, dropped[-1].name, "the titles of the columns")
    dropped += [
        Dropped(0, table.label(other), "another column", f"{len(table.rows)} values are not read")
        for other in range(table.width)
        if other != column
    ]
    for number, cells in table.rows:
        found = [one for one in CELL_SEPARATOR.split(cells[column].strip()) if one]
        if not found:
            dropped.append(Dropped(number, cells[column], "no name"))
        names += [WrittenName(number, one) for one in found]
    return GeneColumn(table.label(column), table.width, tuple(names), tuple(dropped))


def _bare(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
