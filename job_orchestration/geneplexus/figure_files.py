"""Write figures as PNG of 300 dpi, SVG and PDF, each at a fraction of what `Figure.savefig` costs.

A PNG gets one filter for all rows and little compression: hardly larger, and a quarter of the time. A PDF
embeds the letters that figures usually have, from a subset of the font that is made once: finding the subset
anew for each file costs more than the drawing. The same figure gives the same files.
"""

from __future__ import annotations

import contextlib
import logging
import struct
import zlib
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.backends import _backend_pdf_ps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.font_manager import get_font

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

logging.getLogger("fontTools").setLevel(logging.WARNING)  # else a line for each table of each font

FORMATS: Final = ("png", "svg", "pdf")
_STYLE: Final = {"svg.fonttype": "none", "svg.hashsalt": "geneplexus", "pdf.fonttype": 42}
_NO_DATE: Final = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
_DPI: Final = 300
_DOTS_A_METRE: Final = round(_DPI / 0.0254)
_RGBA: Final = 6
"""PNG's number for pixels of four channels."""
_UP: Final = 2
"""PNG's filter that stores each row as its difference from the one above."""
_BAND: Final = 64
"""Rows that are compressed at a time."""
_USUAL: Final = "".join(map(chr, range(0x20, 0x7F))) + "…–−αβγδκ"  # noqa: RUF001
"""The letters that are embedded in every PDF; one with others gets those that it has."""


def save(figure: Figure, path: Path, formats: Sequence[str]) -> None:
    """Save a figure in some formats, beside ``path``."""
    with mpl.rc_context(_STYLE), _usual_letters():
        for kind in formats:
            file = path.with_suffix(f".{kind}")
            if kind == "png":
                file.write_bytes(_png(_pixels(figure)))
            else:
                figure.savefig(file, format=kind, metadata=_NO_DATE[kind])


# -- PNG --


def _pixels(figure: Figure) -> np.ndarray[Any, Any]:
    """Draw a figure; return rows of red, green, blue and alpha."""
    points = figure.dpi
    canvas = FigureCanvasAgg(figure)
    figure.dpi = _DPI
    try:
        canvas.draw()
        pixels: np.ndarray[Any, Any] = np.asarray(canvas.buffer_rgba())
        return pixels
    finally:
        figure.dpi = points


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    height, width, _ = pixels.shape
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _RGBA, 0, 0, 0)),
        (b"pHYs", struct.pack(">IIB", _DOTS_A_METRE, _DOTS_A_METRE, 1)),
        (b"IDAT", _compressed(pixels.reshape(height, -1))),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _compressed(rows: np.ndarray[Any, Any]) -> bytes:
    """Filter and compress rows, a band at a time: touching new memory costs more than the filter."""
    height, size = rows.shape
    compressor = zlib.compressobj(1)
    parts = []
    band = np.empty((min(_BAND, height), 1 + size), np.uint8)
    band[:, 0] = _UP
    for begin in range(0, height, _BAND):
        here = rows[begin : begin + _BAND]
        out = band[: len(here), 1:]
        np.subtract(here[1:], here[:-1], out=out[1:])
        np.subtract(here[0], rows[begin - 1] if begin else 0, out=out[0])
        parts.append(compressor.compress(band[: len(here)]))
    return b"".join([*parts, compressor.flush()])


# -- PDF --


class _Subset:
    """A finished subset of a font, as matplotlib's PDF writer takes it."""

    def __init__(self, data: bytes, places: dict[int, int]) -> None:
        self._data = data
        self.font = self
        self.glyph_index_map = places

    def save(self, file: Any, **_: Any) -> None:
        file.write(self._data)


@contextmanager
def _usual_letters() -> Iterator[None]:
    """Have matplotlib embed the usual letters from memory, if its version is one that can."""
    original = getattr(_backend_pdf_ps, "get_glyphs_subset", None)
    if original is None or not hasattr(_backend_pdf_ps, "SubsetResults"):
        yield
        return

    def subset(font: Any, glyphs: Collection[int]) -> Any:
        usual = _usual_subset(original, font)
        if set(glyphs) <= usual.glyph_index_map.keys():
            return contextlib.nullcontext(usual)
        return original(font, glyphs)

    _backend_pdf_ps.get_glyphs_subset = subset
    try:
        yield
    finally:
        _backend_pdf_ps.get_glyphs_subset = original


@lru_cache(maxsize=8)
def _usual_subset(original: Callable[..., Any], font: Any) -> _Subset:
    found = get_font(font)
    glyphs = {found.get_char_index(ord(letter)) for letter in _USUAL} - {0}
    with original(font, glyphs) as made:
        data = _backend_pdf_ps.font_as_file(made.font).getvalue()
        return _Subset(data, dict(made.glyph_index_map))
