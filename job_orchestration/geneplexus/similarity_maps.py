"""Draw the heat map of a batch: how alike its gene sets are, in what was given and in what was found.

matplotlib, NumPy and SciPy come with the extra of GenePlexus and are imported when a map is drawn.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.results import batch_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.results.batch_tables import Genes

FORMATS: Final = ("png", "svg")
_MOST_NAMED: Final = 80
"""With more gene sets than this, names cannot be read and are left out."""
_LONGEST_NAME: Final = 32


def drawn(genes: Sequence[Genes], title: str) -> dict[str, bytes]:
    """Draw one map: below the diagonal the genes that were given, above it those that were found.

    Args:
        genes: at least two gene sets of one network.
        title: a line above the map.

    Returns:
        The picture by its format.

    Raises:
        ImportError: what draws is not installed.
    """
    import matplotlib as mpl
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    given, found = (_matrix(np, genes, attribute) for attribute in ("given", "found"))
    order = _order(np, (given + found) / 2)
    names = [genes[place].name[:_LONGEST_NAME] for place in order]
    below: Any = np.tri(len(genes), k=-1, dtype=bool)
    shown = np.where(below, given[np.ix_(order, order)], found[np.ix_(order, order)])
    np.fill_diagonal(shown, np.nan)
    size = min(14.0, max(5.0, 2.5 + 0.16 * len(genes)))
    with mpl.rc_context({"svg.hashsalt": "similarity", "svg.fonttype": "none"}):
        figure = Figure(figsize=(size + 1.0, size), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        image = axes.imshow(shown, cmap="viridis", vmin=0.0, vmax=1.0, interpolation="nearest")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("above the diagonal: genes that were found", fontsize=8)
        axes.set_ylabel("below the diagonal: genes that were given", fontsize=8)
        _name(axes, names)
        figure.colorbar(image, ax=axes, shrink=0.6, label="Jaccard index")
        return {form: _saved(figure, form) for form in FORMATS}


def _matrix(np: Any, genes: Sequence[Genes], attribute: str) -> Any:
    sets = [getattr(one, attribute) for one in genes]
    made = np.eye(len(sets))
    for number, one in enumerate(sets):
        for other in range(number):
            made[number, other] = made[other, number] = batch_tables.similarity(one, sets[other])
    return made


def _order(np: Any, likeness: Any) -> Any:
    """Return the order in which like gene sets stand side by side."""
    if len(likeness) < 3:  # noqa: PLR2004  two have one order
        return np.arange(len(likeness))
    from scipy.cluster import hierarchy

    distances = 1 - likeness[np.triu_indices(len(likeness), k=1)]
    return hierarchy.leaves_list(hierarchy.linkage(distances, method="average"))


def _name(axes: Any, names: Sequence[str]) -> None:
    if len(names) > _MOST_NAMED:
        axes.set_xticks([])
        axes.set_yticks([])
        return
    places = range(len(names))
    axes.set_xticks(places, names, rotation=90, fontsize=6, parse_math=False)
    axes.set_yticks(places, names, fontsize=6, parse_math=False)


def _saved(figure: Any, form: str) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format=form, dpi=200, metadata={"Date": None} if form == "svg" else None)
    return picture.getvalue()
