"""Figures are written quickly, and are the pictures that matplotlib itself makes of them."""

from __future__ import annotations

import json
import re

import pytest

pytest.importorskip("geneplexus", reason="the extra [geneplexus] is not installed")

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends import _backend_pdf_ps
from PIL import Image

from job_orchestration.geneplexus import figure_files, network_plot, plots

CAPTION = plots.Caption("alpha", "Human", "STRING", "Combined", 20, ("png",))


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def difference(one, other):
    """The mean difference of two pictures, of 255, and the part of their pixels that clearly differ."""
    assert one.shape == other.shape
    apart = np.abs(one - other)
    return apart.mean(), (apart.max(axis=2) > 64).mean()


@pytest.fixture
def written(monkeypatch):
    """The figures that were saved."""
    figures = []
    save = figure_files.save
    for module in (figure_files, plots):
        monkeypatch.setattr(
            module, "save", lambda figure, *rest: (figures.append(figure), save(figure, *rest))
        )
    return figures


def draw_all(folder, finished):
    """Draw the four figures of a finished run."""
    graph = json.loads((finished / "graph.json").read_text())
    probabilities = pd.read_csv(finished / "df_probs.tsv", sep="\t", dtype={"Entrez": str})
    plots.top_genes(folder / "top_genes.png", probabilities, CAPTION)
    plots.similar_terms(folder / "similar_terms.png", pd.read_csv(finished / "df_sim.tsv", sep="\t"), CAPTION)
    plots.cross_validation(folder / "cross_validation.png", [2.0, None, 1.5], CAPTION)
    network_plot.network(folder / "network.png", graph, CAPTION)
    return sorted(folder.glob("*.png"))


def with_ticks(axes, names, colours):
    """Name rows by ticks, as matplotlib is meant to."""
    for tick, colour in zip(axes.set_yticks(range(len(names)), names, fontsize=7), colours, strict=True):
        tick.label1.set_color(colour)


@pytest.mark.slow
def test_the_pictures_are_those_of_savefig_with_ticks_for_rows(tmp_path, finished, written, monkeypatch):
    ours = draw_all(tmp_path, finished)
    assert len(ours) == len(written) == 4
    plain = tmp_path / "plain"
    plain.mkdir()
    monkeypatch.setattr(plots, "_name_rows", with_ticks)
    draw_all(plain, finished)
    for path, figure in zip(
        ["top_genes", "similar_terms", "cross_validation", "network"], written[4:], strict=True
    ):
        figure.savefig(plain / "saved.png", dpi=300)
        mean, clearly = difference(pixels(tmp_path / f"{path}.png"), pixels(plain / "saved.png"))
        assert mean < 0.05, path
        assert clearly < 0.0005, path


def test_a_png_has_exactly_the_pixels_that_were_drawn_at_300_dots_an_inch(tmp_path):
    figure = plots.new_figure(2, 1.7)
    figure.text(0.1, 0.4, "text", color="red")
    figure_files.save(figure, tmp_path / "ours.png", ["png"])
    figure.savefig(tmp_path / "theirs.png", dpi=300)
    assert figure.dpi == plots.new_figure(2, 1.7).dpi
    with Image.open(tmp_path / "ours.png") as image:
        image.verify()  # the checksums
        assert [round(dots) for dots in image.info["dpi"]] == [300, 300]
    assert (pixels(tmp_path / "ours.png") == pixels(tmp_path / "theirs.png")).all()


@pytest.mark.skipif(
    not hasattr(_backend_pdf_ps, "SubsetResults"), reason="matplotlib makes each subset itself"
)
def test_a_pdf_embeds_a_subset_that_is_made_once_unless_it_needs_other_letters(tmp_path, monkeypatch):
    made = []
    original = _backend_pdf_ps.get_glyphs_subset
    monkeypatch.setattr(
        _backend_pdf_ps, "get_glyphs_subset", lambda font, glyphs: (made.append(1), original(font, glyphs))[1]
    )
    found = {}
    for text in ("alpha", "Beta…", "Жук"):
        figure = plots.new_figure(2, 2)
        figure.text(0.1, 0.4, text)
        figure_files.save(figure, tmp_path / "figure.pdf", ["pdf"])
        found[text] = len(made)
        data = (tmp_path / "figure.pdf").read_bytes()
        assert re.search(rb"/FontFile2 \d+ 0 R", data), text  # TrueType, as journals want it
        assert b"/ToUnicode" in data
    assert found["alpha"] == found["Beta…"] == 1
    assert found["Жук"] >= 2
    assert mpl.rcParams["pdf.fonttype"] == 3  # matplotlib's own: nothing is changed for others
