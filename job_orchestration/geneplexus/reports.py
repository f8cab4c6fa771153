"""Write the results of a run: tables, the network, records, and the methods text for a paper.

Everything is strict JSON (no NaN) or tab-separated text. With one species of results the tables lie in the
task's folder itself; with several, in a folder for each, ``Human-Combined`` and so on.
"""

from __future__ import annotations

import json
import math
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import threadpoolctl
import yaml

from job_orchestration.geneplexus import checkpoints, figure_files, network_plot, plots
from job_orchestration.geneplexus.adapter import MODEL
from job_orchestration.geneplexus.stages import peak_memory_mb

if TYPE_CHECKING:
    from collections.abc import Callable


TABLES = ("df_probs", "df_sim", "df_edge", "df_edge_sym")
_TOP = 10
_CITATIONS = (
    "GenePlexus: Bioinformatics 36(11), 3457, https://academic.oup.com/bioinformatics/article/36/11/3457/5780279",
    "PyGenePlexus: bioRxiv, https://www.biorxiv.org/content/10.1101/2022.07.02.498552v1.abstract",
    "Across species: GenePlexusZoo, https://doi.org/10.1371/journal.pcbi.1011773",
)


def strict(value: Any) -> Any:
    """A value as strict JSON can say it: numbers of libraries become plain ones, NaN becomes null."""
    if isinstance(value, dict):
        return {str(key): strict(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return [strict(one) for one in value]
    if isinstance(value, np.generic):
        return strict(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def cross_validation(model: Any) -> dict[str, Any]:
    """The scores of the folds, log2(auPRC/prior), and their median; null where there are none."""
    scores = strict(list(model.model_info[MODEL].avgps))
    numbers = [score for score in scores if isinstance(score, (int, float))]
    made = bool(numbers) and numbers == scores
    return {"cv": scores, "cv_median": float(np.median(numbers)) if made else None}


def weakness(scores: dict[str, Any]) -> tuple[str | None, str]:
    """Return a warning about a weak cross-validation.

    Returns:
        A note for a table, and a sentence; `None` and an empty text if the figures are good.
    """
    median = scores["cv_median"]
    if median is None:
        return "not cross-validated", ""
    if median >= plots.WEAK:
        return None, ""
    if median <= 0:
        note = "no better than guessing"
        return f"weak: {note}", f"The cross-validation is {note}: take the ranking of the genes as a guess."
    note = f"auPRC is only {2**median:.1f} times that of guessing"
    return f"weak: {note}", f"The cross-validation is weak: {note}. Take the ranking of the genes with care."


def class_counts(model: Any) -> dict[str, int]:
    """How many genes were positive, negative, and neither; how many terms were set aside as too close."""
    info = model.model_info[MODEL]
    positives, negatives = len(info.pos_genes_in_net), len(info.negative_genes)
    return {
        "positives": positives,
        "negatives": negatives,
        "unused": len(info.net_genes) - positives - negatives,
        "neutral_terms": len(info.neutral_gene_info) - 1,  # one entry lists all genes
    }


def graph(edges: pd.DataFrame, probabilities: pd.DataFrame, count: int) -> dict[str, Any]:
    """The network of the top genes: ``nodes`` and ``links``; nodes are named by their Entrez ids."""
    columns = {"Known/Novel": "Known/Novel", "Class-Label": "Class", "Rank": "Rank"}
    nodes = [
        {
            "id": row["Entrez"],
            "Entrez": row["Entrez"],
            "Symbol": row["Symbol"],
            "Name": row["Name"],
            "Probability": row["Probability"],
            **{name: row[column] for column, name in columns.items()},
        }
        for row in probabilities.head(count).to_dict("records")
    ]
    links = [
        {"source": row["Node1"], "target": row["Node2"], "weight": row["Weight"]}
        for row in edges.to_dict("records")
    ]
    return dict(strict({"nodes": nodes, "links": links}))


class Report:
    """The files that are written about one run.

    Args:
        model: the GenePlexus object with all its results.
        record: how it was made (`steps.take_steps`).
        genes: what `LoadGeneset` saved.
        run: the run's name.
        output_dir: the run's folder, where ``results.yaml`` goes.
        formats: the formats of the figures.
    """

    def __init__(
        self,
        model: Any,
        record: dict[str, Any],
        genes: dict[str, Any],
        *,
        run: str,
        output_dir: str,
        formats: tuple[str, ...] = figure_files.FORMATS,
    ) -> None:
        self.formats = formats
        self.model, self.record, self.genes = model, record, genes
        self.run, self.output_dir = run, output_dir
        self.info = model.model_info[MODEL]
        self.results: dict[str, Any] = dict(self.info.results)

    def write(self, path: Callable[[str], Path]) -> dict[str, Any]:
        """Write everything.

        Args:
            path: gives the path of a file in the task's folder.

        Returns:
            The headline figures.
        """
        for pair, result in self.results.items():
            self._write_result(path, pair, result)
        _table(path("df_convert_out.tsv"), pd.DataFrame(self.genes["table"]))
        if self.genes["negatives_table"]:
            _table(path("df_convert_out_negatives.tsv"), pd.DataFrame(self.genes["negatives_table"]))
        scores = cross_validation(self.model)["cv"]
        caption = self._caption(*next(iter(self.results)).split("-", 1))
        if self.formats:
            plots.cross_validation(path("cross_validation.png"), scores, caption)
        _json(path("neutral_genes.json"), self.info.neutral_gene_info)
        path("methods.txt").write_text(self.methods(), "utf-8")
        _json(path("run.json"), self.run_record())
        headline = self.headline()
        text = yaml.safe_dump(headline, sort_keys=False, allow_unicode=True)
        path("results.yaml").write_text(text, "utf-8")
        checkpoints.replace(Path(self.output_dir) / "results.yaml", text.encode())
        _json(path("job_info.json"), self.job_info())  # last: who finds it finds everything
        return headline

    def headline(self) -> dict[str, Any]:
        """The figures for a table of many runs, of the first species of results."""
        result = next(iter(self.results.values()))
        probabilities, similar = result.df_probs, result.df_sim.to_dict("records")
        novel = probabilities[probabilities["Known/Novel"] == "Novel"].head(_TOP)
        scores, classes = cross_validation(self.model), class_counts(self.model)
        figures = {
            "gene_set": self.genes["title"],
            "positives": classes["positives"],
            "cv_median": scores["cv_median"],
            "cv_note": weakness(scores)[0],
            "top_novel_genes": list(novel["Symbol"]),
            "top_term": similar[0]["Name"] if similar else None,
            "top_term_p_adjusted": similar[0]["P-adjusted"] if similar else None,
            "genes_given": self.genes["counts"]["input"],
            **classes,
            **scores,
            "top_novel_entrez": list(novel["Entrez"]),
            "top_novel_probability": round(float(novel["Probability"].iloc[0]), 6) if len(novel) else None,
            "top_similar_terms": [f"{row['ID']} {row['Name']}" for row in similar[:5]],
            "edges": len(result.df_edge),
            "results": list(self.results),
            "synthetic_data": self._synthetic(),
            "data_sha256": self.genes["data"]["sha256"],
        }
        return dict(strict(figures))

    def job_info(self) -> dict[str, Any]:
        """The record that GenePlexus's web application reads, under its keys."""
        pair = next(iter(self.results))
        tables = {f"{name}_file": f"{self._prefix(pair)}{name}.tsv" for name in TABLES}
        parameters = self.record["parameters"]
        return dict(
            strict(
                {
                    "job_name": self.run,
                    "net_type": parameters["net_type"],
                    "features": parameters["features"],
                    "GSC": parameters["gsc_trn"],
                    "avgps": cross_validation(self.model)["cv"],
                    "input_count": self.genes["counts"]["input"],
                    "positive_genes": self.genes["counts"]["positives"],
                    **tables,
                    "df_convert_out_file": "df_convert_out.tsv",
                    "graph_file": f"{self._prefix(pair)}graph.json",
                    "submit_time": _readied_at(self.output_dir),
                    "has_results": True,
                    "status": "Completed",
                }
            )
        )

    def run_record(self) -> dict[str, Any]:
        """Return everything that the figures depend on, and their cost."""
        seconds = {"load": self.genes["seconds"], **self.record["seconds"]}
        threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        record = {
            "run": self.run,
            "parameters": {**self.record["parameters"], "classifier": self.info.clf.get_params()},
            "geneset": {"sha256": self.genes["sha256"], **self.genes["counts"]},
            "unmapped": self.genes["unmapped"],
            "ambiguous": self.genes["ambiguous"],
            "not_in_network": self.genes["not_in_network"],
            "negatives_given": self.genes["negatives_counts"],
            "classes": class_counts(self.model),
            **cross_validation(self.model),
            "data": self.genes["data"],
            "versions": checkpoints.versions(),
            "seconds": seconds,
            "peak_memory_mb": max(self.record["peak_memory_mb"], peak_memory_mb()),
            "host": {"name": platform.node(), "platform": platform.platform(), "cpus": os.cpu_count()},
            "threads": {
                "environment": {name: os.environ.get(name) for name in threads},
                "pools": threadpoolctl.threadpool_info(),
            },
            "warnings": self.record["warnings"],
        }
        return dict(strict(record))

    def methods(self) -> str:
        """Return the methods text: what was done, and the source of the data if it is known."""
        done, counts, classes = self.record["parameters"], self.genes["counts"], class_counts(self.model)
        scores = cross_validation(self.model)
        validated = (
            f"The median of {len(scores['cv'])}-fold cross-validation is log2(auPRC/prior) = "
            f"{scores['cv_median']:.2f}."
            if scores["cv_median"] is not None
            else "The model was not cross-validated."
        )
        sentences = (
            f"Of {counts['input']} genes given, {classes['positives']} were in the {done['sp_trn']} "
            f"{done['net_type']} network and were the positive examples of a logistic regression on its "
            f"{done['features']} features, with {classes['negatives']} negative examples chosen by the gene "
            f"set collection {done['gsc_trn']} (GenePlexus {checkpoints.versions()['geneplexus']}, "
            f"scikit-learn {checkpoints.versions()['scikit-learn']}, random_state {done['random_state']}). "
            f"{validated}"
        )
        paragraphs = [sentences, weakness(scores)[1], self._unmapped(), self._provenance()]
        return "\n\n".join([*filter(None, paragraphs), "\n".join(_CITATIONS)]) + "\n"

    def _unmapped(self) -> str:
        """The names that no gene was trained on for."""
        parts = [
            f"{what}: {', '.join(self.genes[key])}."
            for key, what in (("unmapped", "Names not found"), ("not_in_network", "Names not in the network"))
            if self.genes[key]
        ]
        return " ".join(parts)

    def _provenance(self) -> str:
        said, digest = self.genes["data"]["version"], self.genes["data"]["sha256"]
        if self._synthetic():
            origin = "The data are SYNTHETIC: genes, network and terms are made up, and so are these results."
        elif said:
            notes = [f"source: {said['source']}"] if "source" in said else []
            notes += [f"{key}: {value}" for key, value in said.items() if key.endswith("_note")]
            origin = f"The data say of themselves: {'; '.join(notes) or 'nothing about their source'}."
        else:
            origin = "The data folder does not say where its data come from (it has no DATA_VERSION.json)."
        return f"{origin} sha256 of the data: {digest}."

    def _synthetic(self) -> bool:
        return bool(self.genes["data"]["version"].get("source") == "synthetic")

    def _caption(self, species: str, collection: str) -> plots.Caption:
        network = self.record["parameters"]["net_type"]
        positives = class_counts(self.model)["positives"]
        return plots.Caption(self.genes["title"], species, network, collection, positives, self.formats)

    def _prefix(self, pair: str) -> str:
        return f"{pair}/" if len(self.results) > 1 else ""

    def _write_result(self, path: Callable[[str], Path], pair: str, result: Any) -> None:
        prefix, caption = self._prefix(pair), self._caption(*pair.split("-", 1))
        for name in TABLES:
            _table(path(f"{prefix}{name}.tsv"), getattr(result, name))
        for name in ("isolated_genes", "isolated_genes_sym"):
            path(f"{prefix}{name}.txt").write_text(
                "".join(f"{one}\n" for one in getattr(result, name)), "utf-8"
            )
        network = graph(result.df_edge, result.df_probs, self.record["parameters"]["num_nodes"])
        _json(path(f"{prefix}graph.json"), network)
        if not self.formats:
            return
        plots.top_genes(path(f"{prefix}top_genes.png"), result.df_probs, caption)
        network_plot.network(path(f"{prefix}network.png"), network, caption)
        plots.similar_terms(path(f"{prefix}similar_terms.png"), result.df_sim, caption)


def _table(path: Path, table: pd.DataFrame) -> None:
    table.to_csv(path, sep="\t", index=False, lineterminator="\n")


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(strict(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def _readied_at(output_dir: str) -> str | None:
    try:
        with open(os.path.join(output_dir, "provenance.json"), encoding="utf-8") as file:
            provenance = json.load(file)
        return str(provenance["readied_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
