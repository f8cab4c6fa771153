"""Draw all figures of small made-up results, so that forks of this process find everything ready.

What is drawn for the first time loads fonts, modules and the writers of formats; that takes longer than the
figures of a run.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd

from job_orchestration.geneplexus import network_plot, plots

_GENES = [("1", "GENE1", "P", 0.9), ("2", "GENE2", "U", 0.6), ("3", "GENE3", "N", 0.2)]


def prepare() -> None:
    """Find fonts and load what draws and writes the figures."""
    caption = plots.Caption("a gene set", "Human", "STRING", "GO", 3)
    columns = ["id", "Symbol", "Class", "Probability"]
    nodes = [dict(zip(columns, gene, strict=True)) for gene in _GENES]
    links = [{"source": "1", "target": "2", "weight": 0.5}, {"source": "1", "target": "3", "weight": 1.0}]
    genes = pd.DataFrame(nodes).rename(columns={"Class": "Class-Label"})
    similar = pd.DataFrame(
        {
            "Task": ["GO", "Disease"],
            "Name": ["a term", "another"],
            "ID": ["GO:1", "DOID:2"],
            "Similarity": [0.9, -0.1],
            "P-adjusted": [1e-9, 1.0],
        }
    )
    with tempfile.TemporaryDirectory(prefix="job_orchestration.") as folder:
        path = Path(folder, "figure")
        plots.top_genes(path, genes, caption)
        plots.similar_terms(path, similar, caption)
        plots.cross_validation(path, [1.0, 2.0], caption)
        network_plot.network(path, {"nodes": nodes, "links": links}, caption)
