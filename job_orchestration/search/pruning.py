"""Report the metric of a running trial, and decide whether its search ends it early."""

from __future__ import annotations

import math
import os
import statistics
import time
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.errors import PrunedError
from job_orchestration.search import searches
from job_orchestration.workspace import layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from job_orchestration.runs.events import Trial
    from job_orchestration.search.searches import SearchOrder

FEWEST: Final = 5
"""Number of other trials that must have reported at a step before a trial can be ended there."""


def is_hopeless(
    own: Mapping[int, float], others: Iterable[Mapping[int, float]], step: int, *, maximize: bool
) -> bool:
    """Return whether a trial should end at a step.

    Args:
        own: its reported metrics by step, this step included.
        others: the reported metrics of the other trials.
        step: its current step.
        maximize: whether more is better.
    """
    there = [steps[step] for steps in others if step in steps]
    if len(there) < FEWEST:
        return False
    reached = [value for at, value in own.items() if at <= step]
    middle = statistics.median(there)
    return max(reached) < middle if maximize else min(reached) > middle


_LOOK_EVERY: Final = 2.0
"""Seconds between two reads of the other trials' reports."""


class MetricReporter:
    """The reports of one attempt at a trial.

    Args:
        trial: the trial of the run; a trial of a sweep without a search reports nothing.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial: Trial | None = trial
        self._order: SearchOrder | None = None
        self._own: dict[int, float] = {}
        self._others: list[dict[int, float]] = []
        self._looked_at = -math.inf

    def report(self, step: float, metric: float) -> None:
        """Record the metric at a step.

        Raises:
            PrunedError: if the search ends this trial early.
        """
        trial = self._trial
        if trial is None or trial.number is None or not math.isfinite(metric):
            return
        workspace = layout.locate(os.environ.get(layout.VARIABLE, ""))
        self._order = order = self._order or searches.read(workspace, trial.sweep)
        if order is None or not order.search.prune:
            self._trial = None  # it needs no further check
            return
        number = int(step)
        self._own[number] = float(metric)
        searches.report(workspace, trial.sweep, trial.number, number, float(metric))
        if time.monotonic() - self._looked_at > _LOOK_EVERY:
            self._others = searches.reports_of_others(workspace, trial.sweep, trial.number)
            self._looked_at = time.monotonic()
        if is_hopeless(self._own, self._others, number, maximize=order.search.maximize):
            raise PrunedError(f"pruned at step {number}, where its metric was {metric:g}")
