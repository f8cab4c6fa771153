"""GMT files: a gene set a line, with tabs between its name, a description and its genes.

A GMT file is known by the name of its file, or by lines whose first two fields are no genes.
Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_orchestration.diagnostics.suggestions import did_you_mean, nearest_names
from job_orchestration.geneplexus.gene_names import GenesetError, is_number, tidy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from job_orchestration.geneplexus.gene_names import Line

_FEWEST_FIELDS = 3
_SHOWN = 5
_NO_DESCRIPTION = frozenset({"", "na", "n/a", "null", "none", "-"})


@dataclass(frozen=True, slots=True)
class GeneSet:
    """One line of a GMT file."""

    line: int
    name: str
    cells: tuple[str, ...]
    """The genes; a weight behind a comma (``BBS1,1.0``) is taken off."""


def sets_of(
    lines: Sequence[Line], find: Callable[[str], tuple[str, ...]], *, is_gmt: bool
) -> list[GeneSet] | None:
    """The gene sets of a text; `None` if it is no GMT file.

    Raises:
        GenesetError: the file is called GMT and has no gene sets.
    """
    content = [line for line in lines if not line.text.startswith("#")]
    fields = [line.text.split("\t") for line in content]
    if is_gmt:
        if not any(len(one) >= _FEWEST_FIELDS for one in fields):
            raise GenesetError(
                "The file is named as a GMT file, but no line has a name, a description and genes with tabs "
                "between them. Mend it, or name the file otherwise"
            )
    elif not fields or not _looks_like_gmt(fields, find):
        return None
    return [
        GeneSet(line.number, one[0].strip(), tuple(cell.split(",")[0] for cell in one[2:]))
        for line, one in zip(content, fields, strict=True)
        if one[0].strip()
    ]


def _looks_like_gmt(fields: list[list[str]], find: Callable[[str], tuple[str, ...]]) -> bool:
    if any(len(one) < _FEWEST_FIELDS for one in fields):
        return False
    if any(is_number(cell) and not find(tidy(cell)) for one in fields for cell in one[2:]):
        return False  # a table of figures
    described = sum(1 for one in fields if _is_description(one))
    if len(fields) == 1:
        return bool(described) and not find(tidy(fields[0][0]))
    few = 3 * sum(1 for one in fields if find(tidy(one[0])) or find(tidy(one[1]))) <= len(fields)
    if len({len(one) for one in fields}) > 1:
        return described == len(fields) or ((few or 2 * described > len(fields)) and _are_genes(fields, find))
    return described == len(fields) and few and _are_genes(fields, find)  # a table may look so too


def _is_description(fields: list[str]) -> bool:
    text = fields[1].strip()
    return (
        text.lower() in _NO_DESCRIPTION
        or text == fields[0].strip()
        or "://" in text
        or " " in text
        or text.startswith(">")
    )


def _are_genes(fields: list[list[str]], find: Callable[[str], tuple[str, ...]]) -> bool:
    """Whether most fields behind the first two are known genes."""
    cells = [cell.split(",")[0] for one in fields for cell in one[2:] if cell.strip()]
    return 2 * sum(1 for cell in cells if find(tidy(cell))) > len(cells)


def chosen(sets: Sequence[GeneSet], name: str | None, key: str) -> GeneSet:
    """The gene set of that name, or the only one.

    Raises:
        GenesetError: there are several and none is named, or there is none of that name.
    """
    if name is None:
        if len(sets) == 1:
            return sets[0]
        names = [one.name for one in sets]
        shown = ", ".join(names[:_SHOWN]) + (
            f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        )
        listed = ", ".join(names if len(names) <= _SHOWN else [*names[:2], "..."])
        raise GenesetError(
            f"There are {len(sets)} gene sets in this GMT file: {shown}. Choose one with {key}: {names[0]}, "
            f"or make a run of each with sweep: {{grid: {{{key}: [{listed}]}}}}"
        )
    found = [one for one in sets if one.name == name] or [
        one for one in sets if one.name.lower() == str(name).lower()
    ]
    if len(found) == 1:
        return found[0]
    if found:
        lines = ", ".join(str(one.line) for one in found)
        raise GenesetError(
            f"{key} is {name!r}, and several gene sets have this name (lines {lines}). "
            "Give each a name of its own"
        )
    near = nearest_names(str(name), [one.name for one in sets])
    hint = did_you_mean(near) if near else f"It has {len(sets)}, the first is {sets[0].name}"
    raise GenesetError(f"{key} is {name!r}, and no gene set of the GMT file has this name. {hint}")
