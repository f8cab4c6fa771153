"""What a way to search is, as the first Job Orchestration had it.

The names are its own, so that its users' code goes on working.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class HyperParameterOptimisationBase(ABC):
    """Proposes the parameters of one trial after the other."""

    @abstractmethod
    def getNextTrial(self, config: Any, results: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The parameters of the next trial.

        Args:
            config: with the fields of the config as attributes, ``params`` among them.
            results: the parameters of each trial so far, and its ``result``.

        Returns:
            A value for each parameter; `None` when there is nothing left to try.
        """
