"""One line for each sweep and search below the table of `status`. Values are escaped."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from job_orchestration.cli import forecast_text
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.results.text_formats import short

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from job_orchestration.commands.families import Family

_MOST_LINES: Final = 10
"""Maximum number of sweeps and searches below the table of `status`."""


def lines(families: Sequence[Family]) -> Iterator[str]:
    """Yield a line for each sweep and search that has something left to do."""
    for family in families[:_MOST_LINES]:
        where = "" if family.folder == family.name else f" in {family.folder}"
        facts = [f"{family.kind} {family.name}{where}: {ended(family, ' trials')}"]
        if family.best is not None:
            facts.append(f"best {short(family.best.value)} in {os.path.basename(family.best.run)}")
        if family.eta_s is not None:
            facts.append(f"{forecast_text.left(family.eta_s, family.eta_p90_s)} left")
        yield escaped("; ".join(facts))
    if len(families) > _MOST_LINES:
        yield f"… and {len(families) - _MOST_LINES} more sweeps and searches"


def ended(family: Family, trials: str = "") -> str:
    """Return how many trials have ended, and how, if not all completed."""
    ends = [f"{n} {end}" for end, n in family.ends.items() if n and end != "completed"]
    more = f" ({', '.join(ends)})" if ends else ""
    return f"{family.ended} of {family.trials}{trials} have ended{more}"
