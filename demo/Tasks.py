"""Estimate pi in two tasks. Copy this file into a git repository of yours and commit it."""

from __future__ import annotations

import random
from typing import Any

from job_orchestration import TaskBase


class Draw(TaskBase):
    """Count random points inside the quarter circle."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def validate(self) -> list[str]:
        """Return problems; a config with problems is not queued."""
        return [] if self.config["points"] > 0 else ["points must be positive"]

    def run(self) -> dict[str, int]:
        """Return the count; it is kept in the checkpoint."""
        points = self.config["points"]
        inside = 0
        for number in range(points):
            inside += random.random() ** 2 + random.random() ** 2 < 1  # noqa: S311  # no secret
            if number % 1000 == 0:
                self.context.progress(number, points)
        return {"inside": inside}


class Estimate(TaskBase):
    """Turn the count into an estimate of pi."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def run(self) -> dict[str, float]:
        """Save the estimate as a file and return it as a result."""
        drawn: Any = self.context.result_of("draw")
        pi = 4 * drawn["inside"] / self.config["points"]
        print(f"pi is about {pi}")
        self.context.store.save_json("pi.json", pi)
        return {"pi": pi}
