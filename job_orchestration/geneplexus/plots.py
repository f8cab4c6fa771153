"""The pictures of a run, as PNG. Colours are told apart also by colour-blind people."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

_COLOURS = {"P": "#009E73", "U": "#0072B2", "N": "#D55E00"}
_MEANINGS = {"P": "positive in training", "U": "unused in training", "N": "negative in training"}
_TOP_GENES = 30
_TOP_TERMS = 15
_NETWORK = 50


def top_genes(path: Path, probabilities: pd.DataFrame) -> None:
    """The genes with the highest probabilities, by the part that they had in the training."""
    top = probabilities.head(_TOP_GENES).iloc[::-1]
    figure = Figure(figsize=(7, 0.5 + 0.22 * len(top) + 0.8), layout="constrained")
    axes = figure.subplots()
    classes = list(top["Class-Label"])
    axes.barh(range(len(top)), top["Probability"], color=[_COLOURS[one] for one in classes])
    axes.set_yticks(range(len(top)), [_short(one, 16) for one in top["Symbol"]], fontsize=7)
    axes.set_xlim(0, 1)
    axes.set_xlabel("probability")
    axes.set_title(f"Top {len(top)} genes")
    axes.legend(handles=_legend(classes), fontsize=7, loc="lower right")
    _save(figure, path)


def network(path: Path, graph: dict[str, Any]) -> None:
    """The network of the top genes: colour is the part in the training, size the probability."""
    nodes = {node["id"]: node for node in graph["nodes"][:_NETWORK]}
    drawn = nx.Graph()
    drawn.add_nodes_from(nodes)
    for link in graph["links"]:
        if link["source"] in nodes and link["target"] in nodes:
            drawn.add_edge(link["source"], link["target"], weight=float(link["weight"] or 0.0))
    places = nx.spring_layout(drawn, seed=0, k=2 / math.sqrt(max(len(nodes), 1)))
    figure = Figure(figsize=(8, 8))
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.92))
    weights = [weight for _, _, weight in drawn.edges(data="weight")]
    heaviest = max(weights, default=1.0) or 1.0
    lines = [(places[one], places[other]) for one, other in drawn.edges]
    widths = [0.3 + 1.5 * weight / heaviest for weight in weights]
    axes.add_collection(LineCollection(lines, colors="0.6", linewidths=widths, zorder=1))
    xy = np.array([places[one] for one in nodes]).reshape(-1, 2)
    sizes = [40 + 160 * float(node["Probability"] or 0.0) for node in nodes.values()]
    classes = [node["Class"] for node in nodes.values()]
    axes.scatter(xy[:, 0], xy[:, 1], s=sizes, c=[_COLOURS[one] for one in classes], zorder=2)
    for (x, y), node in zip(xy, nodes.values(), strict=True):
        axes.annotate(_short(node["Symbol"], 12), (x, y), fontsize=6, ha="center", va="bottom", zorder=3)
    isolated = sum(1 for one in drawn if not drawn.degree(one))
    axes.set_title(
        f"Network of the top {len(nodes)} genes ({drawn.number_of_edges()} edges, {isolated} isolated)"
    )
    axes.legend(handles=_legend(classes), fontsize=7)
    axes.set_axis_off()
    _save(figure, path)


def cross_validation(path: Path, scores: Sequence[float | None]) -> None:
    """The score of each fold; 0 is what guessing gets."""
    figure = Figure(figsize=(4.5, 3.5), layout="constrained")
    axes = figure.subplots()
    if any(isinstance(score, (int, float)) for score in scores):
        heights = [math.nan if score is None else float(score) for score in scores]
        axes.bar(range(1, len(heights) + 1), heights, color=_COLOURS["U"], width=0.6)
        axes.axhline(float(np.nanmedian(heights)), color="0.3", linestyle="--", linewidth=1, label="median")
        axes.axhline(0, color="black", linewidth=1, label="guessing")
        axes.set_xticks(range(1, len(heights) + 1))
        axes.legend(fontsize=7)
    else:
        axes.text(0.5, 0.5, "not cross-validated", ha="center", va="center", transform=axes.transAxes)
        axes.set_xticks([])
    axes.set_xlabel("fold")
    axes.set_ylabel("log2(auPRC / prior)")
    axes.set_title("Cross-validation")
    _save(figure, path)


def similar_terms(path: Path, similarities: pd.DataFrame) -> None:
    """The known terms whose models are most like this one, for each kind of term."""
    kinds = list(dict.fromkeys(similarities["Task"])) or [""]
    figure = Figure(figsize=(8, 3.5 * len(kinds)), layout="constrained")
    for axes, kind in zip(figure.subplots(len(kinds), squeeze=False)[:, 0], kinds, strict=True):
        top = similarities[similarities["Task"] == kind].head(_TOP_TERMS).iloc[::-1]
        axes.barh(range(len(top)), top["Similarity"], color=_COLOURS["P"])
        labels = [f"{_short(row['Name'], 48)} ({_short(row['ID'], 24)})" for row in top.to_dict("records")]
        axes.set_yticks(range(len(top)), labels, fontsize=7)
        axes.set_xlabel("cosine similarity of the models' weights")
        axes.set_title(kind)
    _save(figure, path)


def _legend(classes: Sequence[str]) -> list[Line2D]:
    return [
        Line2D([], [], linestyle="", marker="o", color=colour, label=_MEANINGS[one])
        for one, colour in _COLOURS.items()
        if one in classes
    ]


def _short(text: object, length: int) -> str:
    # Names come from data files; a dollar sign would begin a formula.
    plain = str(text).replace("$", r"\$")
    return plain if len(plain) <= length else f"{plain[: length - 1]}…"


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="png", dpi=120)
