"""Figures of a run for a paper: PNG of 300 dpi, SVG and PDF, in colours for colour-blind people too.

Each title names the gene set, and each second line the species, the network and the collection of gene sets.
Text stays text in SVG and PDF. The same run gives the same files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.markers import TICKLEFT
from matplotlib.patches import Patch
from matplotlib.textpath import text_to_path
from matplotlib.transforms import offset_copy

from job_orchestration.geneplexus.figure_files import FORMATS, save

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes

COLOURS: Final = {"P": "#009E73", "U": "#0072B2", "N": "#D55E00"}
"""Of the classes; the same in all figures."""
_MEANINGS: Final = {
    "P": "Known: positive in training (P)",
    "U": "Novel: not used in training (U)",
    "N": "Novel: negative in training (N)",
}
_GREY, _WEAK_COLOUR = "0.45", "#F0E442"
_TOP_GENES, _TOP_TERMS = 30, 15
SIGNIFICANT: Final = 0.05
"""The adjusted p-value below which a term counts as similar."""
_SMALLEST: Final = 1e-300
WEAK: Final = 1.0
"""A median log2(auPRC/prior) below this, so less than twice as good as guessing, is weak."""
_POINTS: Final = 72
"""Points in an inch."""


@dataclass(frozen=True, slots=True)
class Caption:
    """The subject of a figure."""

    gene_set: str
    species: str
    network: str
    collection: str
    positives: int
    formats: tuple[str, ...] = FORMATS
    """The formats to save it in."""


def top_genes(path: Path, probabilities: pd.DataFrame, caption: Caption) -> None:
    """The genes with the highest probabilities, by the part that they had in the training."""
    top = probabilities.head(_TOP_GENES).iloc[::-1]
    symbols = [short(one, 16) for one in top["Symbol"]]
    figure = new_figure(5.5, 1.4 + 0.19 * len(top), left=width_of(symbols), below=2)
    axes = figure.subplots()
    classes = list(top["Class-Label"])
    axes.barh(range(len(top)), top["Probability"], color=[COLOURS[one] for one in classes], height=0.75)
    _name_rows(axes, symbols, ["black"] * len(symbols))
    axes.set_ylim(-0.7, len(top) - 0.3)
    axes.set_xlim(0, 1)
    axes.set_xlabel("predicted probability of belonging to the gene set", fontsize=8)
    _without_frame(axes)
    put_title(figure, f"Top {len(top)} genes", caption)
    figure.legend(handles=legend_of(classes), fontsize=7, loc="lower center", ncols=2, frameon=False)
    save(figure, path, caption.formats)


def cross_validation(path: Path, scores: Sequence[float | None], caption: Caption) -> None:
    """The score of each fold, beside that of guessing."""
    figure = new_figure(4.5, 3.6, left=0.35, below=2)
    axes = figure.subplots()
    if any(isinstance(score, (int, float)) for score in scores):
        _draw_scores(axes, [math.nan if score is None else float(score) for score in scores])
        figure.legend(fontsize=7, loc="lower center", ncols=2, frameon=False)
    else:
        axes.text(0.5, 0.5, "not cross-validated", ha="center", va="center", transform=axes.transAxes)
        axes.set_xticks([])
        axes.set_yticks([])
    axes.set_xlabel("fold", fontsize=8)
    axes.set_ylabel("log2(auPRC / prior)", fontsize=8)
    put_title(figure, "Cross-validation", caption)
    save(figure, path, caption.formats)


def _draw_scores(axes: Axes, heights: list[float]) -> None:
    folds = range(1, len(heights) + 1)
    median = float(np.nanmedian(heights))
    low, high = min(-0.6, np.nanmin(heights) - 0.3), max(1.5, np.nanmax(heights) * 1.12)
    axes.axhspan(
        low, WEAK, color=_WEAK_COLOUR, alpha=0.25, linewidth=0, zorder=0, label=f"weak (below {WEAK:g})"
    )
    axes.bar(folds, heights, color=COLOURS["U"], width=0.6, zorder=2)
    axes.axhline(0, color=COLOURS["N"], linewidth=1.5, zorder=3, label="guessing (0)")
    better = f"median {median:.2f}: auPRC is {2**median:.1f} times the prior"
    axes.axhline(median, color="black", linestyle="--", linewidth=1, zorder=3, label=better)
    axes.set_xticks(folds)
    axes.set_ylim(low, high)
    _without_frame(axes)


def similar_terms(path: Path, similarities: pd.DataFrame, caption: Caption) -> None:
    """The known terms whose models are most like this one: a bar is as long as its p-value is small."""
    kinds = list(dict.fromkeys(similarities["Task"])) or [""]
    tops = [similarities[similarities["Task"] == kind].head(_TOP_TERMS).iloc[::-1] for kind in kinds]
    labels = [label for top in tops for label in _labels_of(top)]
    ratios = [0.1 + 0.19 * max(len(top), 1) for top in tops]
    figure = new_figure(7, 1.2 + sum(ratios) + 0.3 * (len(tops) - 1), left=width_of(labels), below=1)
    figure.subplots_adjust(hspace=0.3 * len(tops) / sum(ratios))
    panels: list[Axes] = list(
        figure.subplots(len(kinds), squeeze=False, sharex=True, gridspec_kw={"height_ratios": ratios})[:, 0]
    )
    longest = 2.0
    for axes, kind, top in zip(panels, kinds, tops, strict=True):
        lengths = [significance(p) for p in top["P-adjusted"]]
        longest = max([longest, *lengths])
        draw_terms(axes, top, lengths)
        axes.text(0.99, 0.02, short(kind, 40), transform=axes.transAxes, ha="right", fontsize=8)
    panels[-1].set_xlim(0, 1.25 * longest)
    panels[-1].set_xlabel("\u2212log10(adjusted p-value); numbers: cosine similarity", fontsize=8)
    put_title(figure, "Similar terms", caption)
    handles = [
        Patch(
            facecolor=COLOURS["U"], edgecolor=COLOURS["U"], label=f"significant (adjusted p < {SIGNIFICANT})"
        ),
        Patch(facecolor="white", edgecolor=_GREY, label="not significant"),
        Line2D([], [], color="black", linestyle="--", linewidth=1, label=f"adjusted p = {SIGNIFICANT}"),
    ]
    figure.legend(handles=handles, fontsize=7, loc="outside lower center", ncols=3, frameon=False)
    save(figure, path, caption.formats)


def significance(p_adjusted: Any) -> float:
    """The length of a bar: how many decimal places the adjusted p-value has; 0 if there is none."""
    p = float(p_adjusted)
    return 0.0 if math.isnan(p) else max(0.0, -math.log10(max(p, _SMALLEST)))


def draw_terms(axes: Axes, top: pd.DataFrame, lengths: list[float]) -> None:
    """Draw a bar of a given length for each term; one that is not significant is empty and grey."""
    rows = top.to_dict("records")
    places = range(len(rows))
    significant = [length > significance(SIGNIFICANT) for length in lengths]
    _without_frame(axes)
    axes.barh(
        places,
        lengths,
        height=0.7,
        color=[COLOURS["U"] if one else "white" for one in significant],
        edgecolor=[COLOURS["U"] if one else _GREY for one in significant],
    )
    _name_rows(axes, _labels_of(top), ["black" if one else _GREY for one in significant])
    beside = offset_copy(axes.transData, axes.get_figure(root=True), 3, 0, units="points")
    for place, row, length, one in zip(places, rows, lengths, significant, strict=True):
        axes.text(
            max(length, 0.0 if one else significance(SIGNIFICANT)),
            place,
            f"{float(row['Similarity']):.2f}",
            transform=beside,
            va="center",
            fontsize=6,
            color=_GREY,
        )
    axes.set_ylim(-0.7, max(len(rows), 1) - 0.3)
    axes.axvline(significance(SIGNIFICANT), color="black", linestyle="--", linewidth=1)


# -- what all figures share --


def new_figure(width: float, height: float, *, left: float = 0.1, below: int = 0) -> Figure:
    """A figure of a size in inches.

    Args:
        width: of the whole.
        height: of the whole.
        left: the width of the labels to the left of the axes.
        below: the number of lines of the legend below them.
    """
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(
        left=(left + 0.2) / width,
        right=1 - 0.15 / width,
        top=1 - 0.55 / height,
        bottom=(0.5 + 0.17 * below) / height,
    )
    return figure


def width_of(labels: Sequence[str], size: float = 7) -> float:
    """The width in inches of the widest of some labels."""
    font = FontProperties(size=size)
    widths = [text_to_path.get_text_width_height_descent(label, font, ismath=False)[0] for label in labels]
    return float(max(widths, default=0.0)) / _POINTS


def _labels_of(top: pd.DataFrame) -> list[str]:
    return [f"{short(row['Name'], 46)} ({short(row['ID'], 24)})" for row in top.to_dict("records")]


def put_title(figure: Figure, what: str, caption: Caption, note: str = "") -> None:
    """Write the title: what the figure shows of which gene set, and below it of which data."""
    more = f"; {note}" if note else ""
    second = f"{caption.species}, {caption.network} network, {caption.collection} gene sets"
    title = f"{what}: {short(caption.gene_set, 48)}\n{second}, {caption.positives} positives{more}"
    figure.suptitle(title, y=1 - 0.08 / figure.get_figheight(), va="top", fontsize=8.5, linespacing=1.5)


def legend_of(classes: Sequence[str]) -> list[Line2D]:
    """A legend of the classes that occur."""
    return [
        Line2D([], [], linestyle="", marker="o", color=colour, label=_MEANINGS[one])
        for one, colour in COLOURS.items()
        if one in classes
    ]


def short(text: object, length: int) -> str:
    """A text of at most so many letters; a dollar sign would begin a formula."""
    plain = str(text)
    return (plain if len(plain) <= length else f"{plain[: length - 1]}…").replace("$", r"\$")


def _name_rows(axes: Axes, names: Sequence[str], colours: Sequence[str]) -> None:
    """Name the rows 0, 1, … to the left of the axes. Ticks look the same, and each costs five artists."""
    axes.set_yticks([])
    at_edge = axes.get_yaxis_transform()
    edge, rows = [0.0] * len(names), range(len(names))
    width, length, gap = (mpl.rcParams[f"ytick.major.{name}"] for name in ("width", "size", "pad"))
    axes.plot(edge, rows, "k", ls="", marker=TICKLEFT, ms=length, mew=width, transform=at_edge, clip_on=False)
    beside = offset_copy(at_edge, axes.get_figure(root=True), -length - gap, 0, units="points")
    for row, name, colour in zip(rows, names, colours, strict=True):
        axes.text(0, row, name, ha="right", va="center_baseline", fontsize=7, color=colour, transform=beside)


def _without_frame(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7)
