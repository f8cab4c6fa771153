"""Text output of `show` for a sweep or a search. Values are escaped."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from job_orchestration.cli import family_lines, forecast_text, render
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.results.text_formats import short

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from job_orchestration.commands.families import Best, Family


def shown(family: Family) -> Iterator[str]:
    """Yield `show` of a sweep or search."""
    places = {place: n for place, n in family.places.items() if place not in {"completed", "failed"}}
    waiting = [f"{n} {render.words(place)}" for place, n in places.items()]
    unopened = family.trials - family.opened
    if unopened:
        waiting.append(f"{unopened} not opened yet")
    best = family.best
    yield from render.fact_lines(
        {
            family.kind: family.name,
            "folder": family.folder,
            "method": family.method,
            "metric": family.metric and f"{family.metric} ({family.direction})",
            "trials": family_lines.ended(family),
            "others": ", ".join(waiting),
            "problem": family.problem,
            "best": best and f"{short(best.value)} in {best.run}",
            "time left": "" if family.eta_s is None else forecast_text.left(family.eta_s, family.eta_p90_s),
        }
    )
    if family.leaders:
        yield ""
        yield from render.table(_leaders(family.leaders))
    if family.failed:
        yield ""
        failed = [(os.path.basename(run), error.partition("\n")[0]) for run, error in family.failed.items()]
        yield from render.table([("failed", "error"), *(tuple(map(escaped, row)) for row in failed)])
    yield ""
    yield escaped(f"All trials: job-orchestration results '{family.folder}/*'")


def _leaders(leaders: Sequence[Best]) -> list[tuple[str, ...]]:
    keys = list(dict.fromkeys(key for best in leaders for key in best.parameters))
    rows = [
        (short(b.value), *(short(b.parameters.get(key)) for key in keys), os.path.basename(b.run))
        for b in leaders
    ]
    return [("value", *keys, "trial"), *(tuple(map(escaped, row)) for row in rows)]
