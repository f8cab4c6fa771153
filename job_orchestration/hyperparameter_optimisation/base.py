"""The interface of a search method in the first Job Orchestration.

Its names stay, so that code written for it keeps working.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class HyperParameterOptimisationBase(ABC):
    """Propose the parameters of trials, one after the other."""

    @abstractmethod
    def getNextTrial(self, config: Any, results: list[dict[str, Any]]) -> dict[str, Any] | None:
        """Return the parameters of the next trial.

        Args:
            config: with the fields of the config as attributes, ``params`` among them.
            results: the parameters of each trial so far, and its ``result``.

        Returns:
            A value for each parameter; `None` when there is nothing left to try.
        """
