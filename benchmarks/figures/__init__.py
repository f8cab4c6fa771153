"""The figures that are to be reached, each a function that gives its rows."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass

from benchmarks.kept import today
from benchmarks.places import CACHE

MODULES = ("cost", "profile", "shapes", "looking", "live", "geneplexus", "preload")


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, beside what it is measured against."""

    what: str
    ours: str
    yardstick: str
    wanted: str
    ratio: float | None = None
    """Ours by the yardstick; `None` when the figure is an absolute one."""
    reached: bool | None = None
    """`None` when it was not measured."""
    why: str = ""
    """What the rest is made of, for a figure that is not reached."""


def ratio_row(
    what: str, ours: float, yardstick: float, unit: str, most: float, against: str, why: str = ""
) -> Row:
    """A row whose figure is a largest ratio."""
    if yardstick <= 0:
        return Row(what, f"{ours:.3g} {unit}", f"too small to tell from noise ({against})", f"≤ {most:.3g} x")
    ratio = ours / yardstick
    return Row(
        what,
        f"{ours:.3g} {unit}",
        f"{yardstick:.3g} {unit} ({against})",
        f"≤ {most:.3g} x",
        ratio,
        ratio <= most,
        why,
    )


def bound_row(what: str, ours: float, most: float, unit: str, yardstick: str = "", why: str = "") -> Row:
    """A row whose figure is a largest value."""
    return Row(what, f"{ours:.3g} {unit}", yardstick, f"≤ {most:.3g} {unit}", None, ours <= most, why)


Figure = Callable[[], list[Row]]


def figures() -> dict[str, Figure]:
    """All figures by name; ``cost`` only looks at what was measured side by side."""
    found: dict[str, Figure] = {}
    for name in MODULES:
        module = importlib.import_module(f"benchmarks.figures.{name}")
        found.update(module.FIGURES)
    return found


def measured(name: str, *, again: bool = False) -> list[Row]:
    """The rows of a figure, measured now unless they were before."""
    path = CACHE / "figures" / f"{name}.json"
    if path.exists() and not again:
        return kept(name)
    print(f"== {name}", flush=True)
    rows = figures()[name]()
    if not rows:
        return rows
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"date": today(), "rows": [asdict(row) for row in rows]}, indent=1))
    for row in rows:
        print(f"   {row.what}: {row.ours}; {row.yardstick}; wanted {row.wanted}", flush=True)
    return rows


def kept(name: str) -> list[Row]:
    """The rows of a figure that were measured before."""
    path = CACHE / "figures" / f"{name}.json"
    return [Row(**row) for row in json.loads(path.read_text())["rows"]] if path.exists() else []


def size(name: str, default: int) -> int:
    """A size that may be set from outside, to try a figure out: ``READY=100 make bench PART=ready``."""
    return int(os.environ.get(name) or default)
