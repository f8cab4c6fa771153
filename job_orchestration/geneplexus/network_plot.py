"""The figure of the network of the top genes: every gene with its symbol, and no symbol over another.

Each gene is a box, of its circle and the symbol above. A spring layout gives the first places; then boxes
that overlap are pushed apart until none does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import networkx as nx
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from job_orchestration.geneplexus import figure_files, plots

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

MOST_GENES: Final = 50
_SIDE: Final = 6.5
"""The side in inches of the square that the spring layout fills."""
_FONT: Final = 6.5
_IN_A_ROW: Final = 9
"""Genes without an edge in a row."""
_POINTS: Final = 72
_GAP: Final = 0.03
_MARGIN, _BELOW, _ABOVE, _NARROWEST = 0.1, 0.75, 0.6, 5.5
"""What stands around the network, in inches: margins, legend, title; and its least width."""
_ROUNDS: Final = 2000
_TOUCHING: Final = 1e-9

Array = np.ndarray[Any, Any]


def network(path: Path, graph: dict[str, Any], caption: plots.Caption) -> None:
    """Draw the network: colour is the part in the training, size the probability, width the weight."""
    nodes = {node["id"]: node for node in graph["nodes"][:MOST_GENES]}
    drawn = nx.Graph()
    drawn.add_nodes_from(nodes)
    for link in graph["links"]:
        if link["source"] in nodes and link["target"] in nodes:
            drawn.add_edge(link["source"], link["target"], weight=float(link["weight"] or 0.0))
    boxes = np.array([_box(node) for node in nodes.values()])
    first = _first_places(drawn)
    at = dict(zip(nodes, apart(np.array([first[one] for one in nodes]).reshape(-1, 2), boxes), strict=True))
    figure = _drawing_of(list(nodes.values()), at, boxes, drawn)
    isolated = sum(1 for one in drawn if not drawn.degree(one))
    edges = f"{drawn.number_of_edges()} edges, {isolated} isolated"
    plots.put_title(figure, f"Network of the top {len(nodes)} genes", caption, edges)
    figure_files.save(figure, path, caption.formats)


def _first_places(drawn: nx.Graph) -> dict[str, Array]:
    """A spring layout of what is linked, and below it rows of what is not; in inches."""
    linked = drawn.subgraph([one for one in drawn if drawn.degree(one)])
    side = _SIDE * math.sqrt(max(len(linked), 4) / MOST_GENES)
    layout = nx.spring_layout(linked, seed=0, k=2.5 / math.sqrt(max(len(linked), 1)), iterations=100)
    at = {one: np.asarray(place) * side / 2 for one, place in layout.items()}
    lowest = min((place[1] for place in at.values()), default=0.0)
    for number, one in enumerate(one for one in drawn if not drawn.degree(one)):
        row, column = divmod(number, _IN_A_ROW)
        at[one] = np.array([(column - (_IN_A_ROW - 1) / 2) * _SIDE / _IN_A_ROW, lowest - 0.5 - 0.35 * row])
    return at


def apart(places: Array, boxes: Array) -> Array:
    """Move boxes until none overlaps another.

    Args:
        places: the centres of the circles.
        boxes: of each box how far it reaches to the left and right, below and above its centre.

    Returns:
        The new centres.
    """
    centres = places.copy()
    centres[:, 1] += (boxes[:, 2] - boxes[:, 1]) / 2
    half = np.column_stack([boxes[:, 0], (boxes[:, 1] + boxes[:, 2]) / 2]) + _GAP / 2
    for _ in range(_ROUNDS):
        apart_by = centres[:, None, :] - centres[None, :, :]
        overlap = half[:, None, :] + half[None, :, :] - np.abs(apart_by)
        hit = (overlap > _TOUCHING).all(axis=2)
        np.fill_diagonal(hit, val=False)
        if not hit.any():
            break
        axis = np.argmin(overlap, axis=2)
        for one, other in np.argwhere(np.triu(hit)):
            side = axis[one, other]
            direction = 1.0 if apart_by[one, other, side] >= 0 else -1.0
            shift = direction * (overlap[one, other, side] / 2 + 1e-6)
            centres[one, side] += shift
            centres[other, side] -= shift
    centres[:, 1] -= (boxes[:, 2] - boxes[:, 1]) / 2
    return centres


def _radius(probability: float | None) -> float:
    """The radius of a gene's circle, in inches."""
    return math.sqrt(20 + 80 * float(probability or 0.0)) / 2 / _POINTS


def _symbol(node: dict[str, Any]) -> str:
    return plots.short(node["Symbol"], 12)


def _box(node: dict[str, Any]) -> tuple[float, float, float]:
    """How far a circle and the symbol above it reach: to both sides, below and above, in inches."""
    radius = _radius(node["Probability"])
    width = plots.width_of([_symbol(node)], _FONT)
    return max(radius, width / 2), radius, radius + 1.4 * _FONT / _POINTS


def _drawing_of(nodes: list[dict[str, Any]], at: dict[str, Array], boxes: Array, drawn: nx.Graph) -> Figure:
    """The network without its title; a unit of the axes is an inch."""
    xy = np.array(list(at.values())).reshape(-1, 2)
    left, right = (xy[:, 0] - boxes[:, 0]).min() - _GAP, (xy[:, 0] + boxes[:, 0]).max() + _GAP
    bottom, top = (xy[:, 1] - boxes[:, 1]).min() - _GAP, (xy[:, 1] + boxes[:, 2]).max() + _GAP
    width, height = max(right - left, _NARROWEST), top - bottom
    whole = width + 2 * _MARGIN, height + _BELOW + _ABOVE
    figure = plots.new_figure(*whole)
    axes = figure.add_axes((_MARGIN / whole[0], _BELOW / whole[1], width / whole[0], height / whole[1]))
    axes.set_xlim((left + right - width) / 2, (left + right + width) / 2)
    axes.set_ylim(bottom, top)
    axes.set_axis_off()
    weights = [weight for _, _, weight in drawn.edges(data="weight")]
    widths = [_line_width(weight, weights) for weight in weights]
    lines = [(at[one], at[other]) for one, other in drawn.edges]
    axes.add_collection(LineCollection(lines, colors="0.7", linewidths=widths, zorder=1))
    classes = [node["Class"] for node in nodes]
    sizes: Array = (2 * boxes[:, 1] * _POINTS) ** 2
    colours = [plots.COLOURS[one] for one in classes]
    axes.scatter(xy[:, 0], xy[:, 1], s=sizes, c=colours, linewidths=0, zorder=2)
    for (x, y), radius, node in zip(xy, boxes[:, 1], nodes, strict=True):
        axes.text(x, y + radius + 0.02, _symbol(node), fontsize=_FONT, ha="center", va="bottom", zorder=3)
    handles = [*plots.legend_of(classes), *_sizes(), *_widths(weights)]
    figure.legend(handles=handles, fontsize=7, loc="lower center", ncols=3, frameon=False)
    return figure


def _line_width(weight: float, weights: list[float]) -> float:
    return 0.3 + 1.5 * weight / (max(weights, default=1.0) or 1.0)


def _sizes() -> list[Line2D]:
    return [
        Line2D([], [], linestyle="", marker="o", color="0.5", markeredgewidth=0, label=f"probability {one:g}",
               markersize=2 * _POINTS * _radius(one))
        for one in (0.25, 1.0)
    ]  # fmt: skip


def _widths(weights: list[float]) -> list[Line2D]:
    shown = sorted({min(weights), max(weights)}) if weights else []
    return [
        Line2D([], [], color="0.7", linewidth=_line_width(one, weights), label=f"edge weight {one:.2g}")
        for one in shown
        if len(shown) > 1
    ]
