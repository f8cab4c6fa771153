"""What a running trial says of its metric, and whether its search has it go on."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING, Final

from job_orchestration.files import searches
from job_orchestration.files import workspace as workspaces
from job_orchestration.model.errors import PrunedError
from job_orchestration.rules import pruning

if TYPE_CHECKING:
    from job_orchestration.files.searches import Order
    from job_orchestration.model.sweep import Trial

_LOOK_EVERY: Final = 2.0
"""Seconds between two looks at what the other trials have reported."""


class Reporting:
    """The reports of one attempt at a trial.

    Args:
        trial: which trial the run is; one of a sweep without a search is asked nothing.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial: Trial | None = trial
        self._order: Order | None = None
        self._own: dict[int, float] = {}
        self._others: list[dict[int, float]] = []
        self._looked_at = -math.inf

    def report(self, step: float, metric: float) -> None:
        """Write down the metric at a step.

        Raises:
            PrunedError: when the search ends this trial early.
        """
        trial = self._trial
        if trial is None or trial.number is None or not math.isfinite(metric):
            return
        workspace = workspaces.locate(os.environ.get(workspaces.VARIABLE, ""))
        self._order = order = self._order or searches.read(workspace, trial.sweep)
        if order is None or not order.search.prune:
            self._trial = None  # nobody will ever ask
            return
        number = int(step)
        self._own[number] = float(metric)
        searches.report(workspace, trial.sweep, trial.number, number, float(metric))
        if time.monotonic() - self._looked_at > _LOOK_EVERY:
            self._others = searches.reports_of_others(workspace, trial.sweep, trial.number)
            self._looked_at = time.monotonic()
        if pruning.is_hopeless(self._own, self._others, number, maximize=order.search.maximize):
            raise PrunedError(f"{searches.PRUNED} at step {number}, where its metric was {metric:g}")
