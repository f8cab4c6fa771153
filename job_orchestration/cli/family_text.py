"""Text output of sweeps and searches: a line of `status` each, and `show`. Values are escaped."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from job_orchestration.cli import forecast_text, render
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.results.text_formats import short

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from job_orchestration.commands.families import Best, Family

_MOST_LINES: Final = 10
"""Maximum number of sweeps and searches below the table of `status`."""


def lines(families: Sequence[Family]) -> Iterator[str]:
    """Yield a line for each sweep and search that has something left to do."""
    for family in families[:_MOST_LINES]:
        where = "" if family.folder == family.name else f" in {family.folder}"
        facts = [f"{family.kind} {family.name}{where}: {_ended(family, ' trials')}"]
        if family.best is not None:
            facts.append(f"best {short(family.best.value)} in {os.path.basename(family.best.run)}")
        if family.eta_s is not None:
            facts.append(f"{forecast_text.left(family.eta_s, family.eta_p90_s)} left")
        yield escaped("; ".join(facts))
    if len(families) > _MOST_LINES:
        yield f"… and {len(families) - _MOST_LINES} more sweeps and searches"


def _ended(family: Family, trials: str = "") -> str:
    ends = [f"{n} {end}" for end, n in family.ends.items() if n and end != "completed"]
    more = f" ({', '.join(ends)})" if ends else ""
    return f"{family.ended} of {family.trials}{trials} have ended{more}"


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
            "trials": _ended(family),
            "others": ", ".join(waiting),
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
