"""Makes a small SYNTHETIC data set in the layout of GenePlexus, in a few seconds, from nothing.

Everything in it is made up: genes are called SYN0001, SYN0002, ..., their Entrez ids begin at 900001, and
``DATA_VERSION.json`` says "synthetic". What is not made up at random is its structure. Each term is a
*module*: its genes point a little in the same direction of the feature space, and are linked to each other
far more often than to others. So a model that is trained on two thirds of a module should find the last
third, and that is what the demo and the tests look for.

    python demo/make_data.py FOLDER

FOLDER then holds the data, and in ``genesets/`` some gene lists: two thirds of a module each, and beside it
the third that was held out.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

GENES, COLUMNS, GO_TERMS = 1500, 48, 60
FIRST_ENTREZ = 900_001
OUTSIDE = 10
"""Genes with names that are not in the network."""
MODULES = {"alpha": 3, "beta": 17, "gamma": 31}
"""The modules that gene lists are drawn from."""
PULL = 1.1
"""How far a module's genes are moved in its direction, in standard deviations of a feature."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Plan:
    """What is planted: the features, the modules' genes (as rows), and the links."""

    features: Array
    modules: list[list[int]]
    edges: dict[tuple[int, int], float]


def make_data(folder: Path, *, seed: int = 0) -> Path:
    """Make the data set, unless the folder is there already.

    Args:
        folder: where to; made whole in a sibling first, so a half-made one is never seen.
        seed: the same seed gives the same files.

    Returns:
        The folder.
    """
    if folder.exists():
        return folder
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    plan = draw(np.random.default_rng(seed))
    write_network(part, plan)
    write_names(part)
    with one_thread():
        write_terms(part, plan)
    write_genesets(part, plan)
    write_version(part, seed)
    part.rename(folder)
    return folder


def draw(rng: np.random.Generator) -> Plan:
    """Draw features, modules and links."""
    features = rng.normal(size=(GENES, COLUMNS))
    modules = []
    for _ in range(GO_TERMS):
        genes = sorted(rng.choice(GENES, size=int(rng.integers(24, 60)), replace=False).tolist())
        direction = rng.normal(size=COLUMNS)
        features[genes] += PULL * direction / np.linalg.norm(direction) * np.sqrt(COLUMNS) / 2
        modules.append(genes)
    edges: dict[tuple[int, int], float] = {}
    for genes in modules:
        for place, one in enumerate(genes):
            for other in genes[place + 1 :]:
                if rng.random() < 0.3:  # noqa: PLR2004  the density inside a module
                    edges[one, other] = round(float(rng.uniform(0.5, 1.0)), 3)
    for one, other in rng.integers(GENES, size=(4 * GENES, 2)).tolist():
        if one != other:
            edges.setdefault((min(one, other), max(one, other)), round(float(rng.uniform(0.1, 0.5)), 3))
    return Plan(features, modules, edges)


def entrez(row: int) -> str:
    """The id of the gene in a row."""
    return str(FIRST_ENTREZ + row)


def symbol(row: int) -> str:
    """The symbol of the gene in a row."""
    return f"SYN{row + 1:04d}"


def one_thread() -> AbstractContextManager[object]:
    """Keep NumPy to one thread: on matrices as small as these, threads mostly wait for one another."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # NumPy alone makes the same data, more slowly
        return nullcontext()
    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits


def weights(features: Array, positives: list[int]) -> list[float]:
    """The weights of a logistic regression of a term against all other genes, by Newton's method."""
    x = np.hstack([features, np.ones((len(features), 1))])
    y = np.zeros(len(features))
    y[positives] = 1
    penalty = np.diag([1.0] * features.shape[1] + [0.0])
    beta = np.zeros(x.shape[1])
    for _ in range(12):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        slope = x.T @ (p - y) + penalty @ beta
        curve = (x.T * (p * (1 - p))) @ x + penalty
        beta -= np.linalg.solve(curve, slope)
    return [round(float(value), 5) for value in beta[:-1]]


def write_network(folder: Path, plan: Plan) -> None:
    """The gene list, the features and the edges."""
    lines = "".join(f"{entrez(row)}\n" for row in range(GENES))
    (folder / "NodeOrder__Human__STRING.txt").write_text(lines)
    np.save(folder / "Data__Human__SixSpeciesN2V__STRING.npy", plan.features)
    edges = (f"{entrez(one)}\t{entrez(other)}\t{weight}\n" for (one, other), weight in plan.edges.items())
    (folder / "Edgelist__Human__STRING.edg").write_text("".join(edges))


def write_names(folder: Path) -> None:
    """The tables of identifiers; SYNBOTH is an alias of two genes."""
    rows = range(GENES + OUTSIDE)
    symbols: dict[str, list[str]] = {symbol(row): [entrez(row)] for row in rows}
    symbols["SYNBOTH"] = [entrez(0), entrez(1)]
    tables = {
        "Symbol-to-Entrez": symbols,
        **{
            f"{kind}-to-Entrez": {f"{kind}{99900000001 + row}": [entrez(row)] for row in rows}
            for kind in ("ENSG", "ENSP", "ENST")
        },
        "Entrez-to-Symbol": {entrez(row): [symbol(row)] for row in rows},
        "Entrez-to-Name": {entrez(row): [f"synthetic gene {row + 1}"] for row in rows},
        "Entrez-to-ENSG": {entrez(row): [f"ENSG{99900000001 + row}"] for row in rows},
    }
    for name, table in tables.items():
        write_json(folder / f"IDconversion__Human__{name}.json", table)


def write_terms(folder: Path, plan: Plan) -> None:
    """The gene set collections GO and Combined, and the weights of each term's model."""
    kinds = ["GO"] * 40 + ["Monarch"] * 10 + ["Mondo"] * 10
    go_terms: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for number, (genes, kind) in enumerate(zip(plan.modules, kinds, strict=True), 1):
        term = f"SYNTHETIC:{number:04d}"
        about = {"Name": f"synthetic module {number}", "Task": kind}
        members = [entrez(row) for row in genes]
        go_terms[term] = {**about, "Genes": members}
        models[term] = {**about, "Weights": weights(plan.features, genes), "PosGenes": members}
    for collection, chosen in {"GO": list(go_terms)[:40], "Combined": list(go_terms)}.items():
        universe = sorted({gene for term in chosen for gene in go_terms[term]["Genes"]})
        stem = f"Human__{collection}__STRING"
        order = {"Term_Order": chosen, "Universe": universe}
        write_json(folder / f"GSC__{stem}.json", {**{one: go_terms[one] for one in chosen}, **order})
        write_json(
            folder / f"PreTrainedWeights__{stem}__SixSpeciesN2V.json", {one: models[one] for one in chosen}
        )


def write_genesets(folder: Path, plan: Plan) -> None:
    """Gene lists: two of three genes of a module, and the held-out third beside."""
    (folder / "genesets").mkdir()
    for name, number in MODULES.items():
        genes = [symbol(row) for row in plan.modules[number]]
        held_out = genes[::3]
        given = [gene for gene in genes if gene not in held_out]
        text = f"# SYNTHETIC: two thirds of synthetic module {number + 1}\n" + "\n".join(given)
        (folder / "genesets" / f"{name}.txt").write_text(text + "\n")
        (folder / "genesets" / f"{name}_held_out.txt").write_text("\n".join(held_out) + "\n")


def write_version(folder: Path, seed: int) -> None:
    """What the data are, and the digest of each file."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(folder.iterdir())
        if path.is_file()
    }
    (folder / "data_filenames_Human.txt").write_text("".join(f"{name}\n" for name in files))
    lines = "".join(f"{entry['sha256']}  {name}\n" for name, entry in files.items())
    said = {
        "source": "synthetic",
        "made_by": "demo/make_data.py",
        "seed": seed,
        "features_note": "random numbers with planted modules; no biology",
        "digest": hashlib.sha256(lines.encode()).hexdigest(),
        "files": files,
    }
    write_json(folder / "DATA_VERSION.json", said)


def write_json(path: Path, value: object) -> None:
    """A value as compact JSON."""
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004  the folder, and nothing else
        sys.exit("Usage: python demo/make_data.py FOLDER")
    print(f"SYNTHETIC data in {make_data(Path(sys.argv[1]).absolute())}")
