"""The summary of a batch of gene sets: a row for each run, and how alike the gene sets are.

Two gene sets are compared twice by the Jaccard index, the part of all their genes that both have: by the
genes that were given, as far as they are in the network, and by the genes that were found for them. Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from job_orchestration.config.config import Json

MOST_FOUND: Final = 100
"""The number of genes of the highest probability that count as found for a gene set."""
SET_KEYS: Final = ("genesetName", "genesetFile")
_FIGURES: Final = {
    "positives": "positives",
    "genes_given": "genes_given",
    "cv_median": "cv_median",
    "cv_note": "cv_note",
    "best_new_genes": "top_novel_genes",
    "nearest_terms": "top_similar_terms",
}
"""Columns of the summary, and what they are called in ``results.yaml``."""


@dataclass(frozen=True, slots=True)
class BatchRun:
    """One run of a batch."""

    run: str
    status: str
    """``completed``, ``failed``, …, as in ``status``."""
    parameters: Mapping[str, Json]
    """Those of the trial."""
    figures: Mapping[str, Json]
    """What ``results.yaml`` says; empty as long as there is none."""
    error: str | None = None

    @property
    def gene_set(self) -> str:
        """The name of its gene set: of the set in a GMT file, or of the file."""
        named = next((str(self.parameters[key]) for key in SET_KEYS if key in self.parameters), self.run)
        return named.rstrip("/").rpartition("/")[2] if "genesetName" not in self.parameters else named

    @property
    def choice(self) -> dict[str, Json]:
        """The parameters besides the gene set: network, collections, species."""
        return {key: value for key, value in self.parameters.items() if key not in SET_KEYS}


@dataclass(frozen=True, slots=True)
class Genes:
    """The genes of one gene set in one network, by Entrez ids."""

    name: str
    given: frozenset[str]
    found: frozenset[str]


def rows_of(runs: Iterable[BatchRun]) -> list[dict[str, Json]]:
    """Return a row for each run: its gene set, its choice, its status, its figures."""
    return [
        {
            "gene_set": run.gene_set,
            **run.choice,
            "status": run.status,
            **{column: run.figures.get(key) for column, key in _FIGURES.items()},
            "run": run.run,
            "error": run.error,
        }
        for run in runs
    ]


def text_of(rows: Sequence[Mapping[str, Json]]) -> str:
    """Return rows as tab-separated text; a list is joined with semicolons, and what is missing is empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
    return "".join("\t".join(line) + "\n" for line in lines)


def _cell(value: Json) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "; ".join(map(_cell, value))
    return " ".join((value if isinstance(value, str) else json.dumps(value)).split())


def genes_in(name: str, table: Iterable[Mapping[str, Any]]) -> Genes:
    """Read the genes of a run from the rows of its ``df_probs``, which are in the order of their ranks."""
    given: set[str] = set()
    found: list[str] = []
    for row in table:
        entrez = str(row["Entrez"])
        if row["Class-Label"] == "P":
            given.add(entrez)
        if len(found) < MOST_FOUND:
            found.append(entrez)
    return Genes(name, frozenset(given), frozenset(found))


def similarity(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the Jaccard index of two sets of genes; 0 for two empty ones."""
    union = len(one | other)
    return len(one & other) / union if union else 0.0


def pairs_of(genes: Sequence[Genes], choice: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Return a row for each two gene sets of one choice, with both similarities."""
    return [
        {
            "gene_set": one.name,
            "other": other.name,
            **choice,
            "given_jaccard": round(similarity(one.given, other.given), 6),
            "found_jaccard": round(similarity(one.found, other.found), 6),
        }
        for number, one in enumerate(genes)
        for other in genes[number + 1 :]
    ]
