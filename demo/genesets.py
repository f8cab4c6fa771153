"""The demo's three gene sets: a third of each is held out, to see whether the model finds it again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from make_data import MODULES, make_data

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 3
FEWEST, MOST = 40, 90
"""Genes in the network that a term should have: enough to learn from, and no whole department of the cell."""


@dataclass(frozen=True)
class GeneSet:
    """One experiment's genes."""

    name: str
    """What its config is called."""
    title: str
    file: Path
    """The genes that the experiment is given, one a line."""
    held_out: frozenset[str]
    """The genes that it is not given, by the names in `file`."""


def planted(folder: Path) -> list[GeneSet]:
    """Make the SYNTHETIC data set in a folder, and take its gene sets."""
    lists = make_data(folder) / "genesets"
    return [
        GeneSet(
            name,
            f"synthetic module {number + 1}",
            lists / f"{name}.txt",
            frozenset((lists / f"{name}_held_out.txt").read_text().split()),
        )
        for name, number in MODULES.items()
    ]


def of_terms(data: Path, lists: Path) -> list[GeneSet]:
    """Choose three GO terms of a GenePlexus data set, and write two thirds of each into a folder.

    Raises:
        SystemExit: with a sentence, when the folder has no such data.
    """
    try:
        go_terms = json.loads((data / "GSC__Human__GO__STRING.json").read_text())
        network = set((data / "NodeOrder__Human__STRING.txt").read_text().split())
    except OSError as error:
        message = f"{error.filename} cannot be read. Name a folder with GenePlexus's data in GENEPLEXUS_DATA."
        raise SystemExit(message) from None
    lists.mkdir()
    return [
        _written(lists, term, go_terms[term]["Name"], genes) for term, genes in _distinct(go_terms, network)
    ]


def _distinct(
    go_terms: dict[str, dict[str, list[str]]], network: set[str]
) -> Iterator[tuple[str, list[str]]]:
    """The first terms of a fitting size that share few genes with each other."""
    taken: set[str] = set()
    found = 0
    for term in go_terms["Term_Order"]:
        genes = sorted(network.intersection(go_terms[term]["Genes"]))
        if FEWEST <= len(genes) <= MOST and 5 * len(taken.intersection(genes)) <= len(genes):
            yield term, genes
            taken.update(genes)
            found += 1
        if found == COUNT:
            return
    message = f"Fewer than {COUNT} GO terms have {FEWEST} to {MOST} genes in this network. Use other data."
    raise SystemExit(message)


def _written(lists: Path, term: str, title: str, genes: list[str]) -> GeneSet:
    name = term.replace(":", "_")
    held_out = frozenset(genes[::3])
    file = lists / f"{name}.txt"
    file.write_text("".join(f"{gene}\n" for gene in genes if gene not in held_out))
    return GeneSet(name, title, file, held_out)
