"""When a trial is not worth going on with: the median rule.

A trial ends early when the best that it has reported so far is worse than the median of what the others
reported at the same step. It takes some others that got as far; until then nobody is judged.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FEWEST: Final = 5
"""Others that must have reported at a step before anybody is judged by them."""


def is_hopeless(
    own: Mapping[int, float], others: Iterable[Mapping[int, float]], step: int, *, maximize: bool
) -> bool:
    """Whether a trial should end at a step.

    Args:
        own: what it reported, step to metric; at this step too.
        others: the same of the other trials.
        step: where it is.
        maximize: whether more is better.
    """
    there = [steps[step] for steps in others if step in steps]
    if len(there) < FEWEST:
        return False
    reached = [value for at, value in own.items() if at <= step]
    middle = statistics.median(there)
    return max(reached) < middle if maximize else min(reached) > middle
