"""Make SYNTHETIC data for GenePlexus of the size of human STRING, or with several times its edges.

17,352 genes with 512 features (71 MB) and 3.6 million edges (83 MB of text). Nothing in it is biology: as in
``demo/make_data.py``, the genes of a term point a little in the same direction and are linked more often.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from demo.make_data import write_json

GENES, COLUMNS, EDGES = 17_352, 512, 3_600_000
MODULES = {"GO": 600, "Monarch": 200, "Mondo": 200}
"""The number of modules of each kind."""
FIRST_ENTREZ = 900_001
_PULL = 0.9
"""How far the genes of a term are moved in its direction, in standard deviations of a feature."""
_IN_A_TERM = 0.3
"""The part of the pairs in a term that are linked."""
_CHUNK = 200_000
"""Edges written at a time."""

Array = np.ndarray[Any, Any]


def make(folder: Path, *, edges: int = EDGES, seed: int = 0) -> Path:
    """Make the data, unless the folder is there already.

    Args:
        folder: where to; made whole in a sibling first.
        edges: how many.
        seed: the same seed gives the same files.

    Returns:
        The folder.
    """
    if folder.exists():
        return folder
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    features, modules = _drawn(rng)
    (part / "NodeOrder__Human__STRING.txt").write_text("".join(f"{one}\n" for one in _ids(range(GENES))))
    np.save(part / "Data__Human__SixSpeciesN2V__STRING.npy", features)
    _write_edges(part / "Edgelist__Human__STRING.edg", modules, edges, rng)
    _write_names(part)
    _write_terms(part, features, modules)
    part.rename(folder)
    return folder


def gene_sets(folder: Path, count: int) -> list[list[str]]:
    """Two thirds of the genes of some terms."""
    import json

    collection = json.loads((folder / "GSC__Human__GO__STRING.json").read_text())
    modules = collection["Term_Order"][:: max(MODULES["GO"] // count, 1)][:count]
    return [[one for place, one in enumerate(collection[term]["Genes"]) if place % 3] for term in modules]


def _drawn(rng: np.random.Generator) -> tuple[Array, list[Array]]:
    """Features, and the rows of the genes of each term."""
    features = rng.normal(size=(GENES, COLUMNS))
    modules = []
    for _ in range(sum(MODULES.values())):
        rows = np.sort(rng.choice(GENES, size=int(rng.integers(30, 150)), replace=False))
        features[rows] += _PULL * rng.normal(size=COLUMNS) / 2
        modules.append(rows)
    return features, modules


def _ids(rows: Any) -> list[str]:
    return [str(FIRST_ENTREZ + int(row)) for row in rows]


def _write_edges(path: Path, modules: list[Array], count: int, rng: np.random.Generator) -> None:
    """Pairs of different genes, each once, with weights of five digits."""
    codes = []
    for rows in modules:
        one, other = np.triu_indices(len(rows), 1)
        chosen = rng.random(len(one)) < _IN_A_TERM
        codes.append(rows[one[chosen]] * GENES + rows[other[chosen]])
    inside = np.unique(np.concatenate(codes))[:count]
    pairs = rng.integers(GENES, size=(int(count * 1.5), 2))
    low, high = pairs.min(axis=1), pairs.max(axis=1)
    outside = np.setdiff1d(np.unique((low * GENES + high)[low != high]), inside, assume_unique=True)
    outside = rng.permutation(outside)[: count - len(inside)]
    if len(inside) + len(outside) < count:
        raise ValueError(f"{count} edges are too many for {GENES} genes")
    chosen = rng.permutation(np.concatenate([inside, outside]))
    weights = rng.integers(10_000, 100_000, size=count)
    with path.open("w", encoding="ascii") as file:
        for begin in range(0, count, _CHUNK):
            rows, part = chosen[begin : begin + _CHUNK], weights[begin : begin + _CHUNK]
            triples = zip(
                (rows // GENES + FIRST_ENTREZ).tolist(),
                (rows % GENES + FIRST_ENTREZ).tolist(),
                part.tolist(),
                strict=True,
            )
            file.write("".join(f"{one}\t{other}\t0.{weight}\n" for one, other, weight in triples))


def _write_names(folder: Path) -> None:
    rows = range(GENES)
    numbers, ids = [row + 1 for row in rows], _ids(rows)
    tables: dict[str, dict[str, list[str]]] = {
        "Symbol-to-Entrez": {f"SYN{n:05d}": [one] for n, one in zip(numbers, ids, strict=True)},
        "Entrez-to-Symbol": {one: [f"SYN{n:05d}"] for n, one in zip(numbers, ids, strict=True)},
        "Entrez-to-Name": {one: [f"synthetic gene {n}"] for n, one in zip(numbers, ids, strict=True)},
    }
    for kind in ("ENSG", "ENSP", "ENST"):
        tables[f"{kind}-to-Entrez"] = {
            f"{kind}{99_900_000_000 + n}": [one] for n, one in zip(numbers, ids, strict=True)
        }
    for name, table in tables.items():
        write_json(folder / f"IDconversion__Human__{name}.json", table)


def _write_terms(folder: Path, features: Array, modules: list[Array]) -> None:
    """The collections GO and Combined, and for each term the mean of its genes as its model's weights."""
    kinds = [kind for kind, count in MODULES.items() for _ in range(count)]
    gene_sets: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for number, (rows, kind) in enumerate(zip(modules, kinds, strict=True), 1):
        term = f"SYNTHETIC:{number:05d}"
        about = {"Name": f"synthetic module {number}", "Task": kind}
        gene_sets[term] = {**about, "Genes": _ids(rows)}
        models[term] = {**about, "Weights": features[rows].mean(axis=0).tolist(), "PosGenes": _ids(rows)}
    for collection, count in (("GO", MODULES["GO"]), ("Combined", len(kinds))):
        chosen = list(gene_sets)[:count]
        universe = sorted({gene for term in chosen for gene in gene_sets[term]["Genes"]})
        stem = f"Human__{collection}__STRING"
        order = {"Term_Order": chosen, "Universe": universe}
        write_json(folder / f"GSC__{stem}.json", {**{one: gene_sets[one] for one in chosen}, **order})
        write_json(
            folder / f"PreTrainedWeights__{stem}__SixSpeciesN2V.json", {one: models[one] for one in chosen}
        )


if __name__ == "__main__":
    if len(sys.argv) not in {2, 3}:
        sys.exit("Usage: python -m benchmarks.full_size_data FOLDER [FACTOR]")
    factor = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    print(f"SYNTHETIC data in {make(Path(sys.argv[1]).absolute(), edges=factor * EDGES)}")
