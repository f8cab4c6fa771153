"""The grid and the draw behind the first Job Orchestration's interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from job_orchestration.configBase import Dict2Class
from job_orchestration.hyperparameter_optimisation.base import HyperParameterOptimisationBase
from job_orchestration.hyperparameter_optimisation.space import space_of
from job_orchestration.rules.domains import canonical
from job_orchestration.rules.sampling import GridSampler, RandomSampler

if TYPE_CHECKING:
    from collections.abc import Mapping


class GridOptimizationConfig(Dict2Class):
    """What a grid asks of a config: ``params`` and, for those of type float, ``gridLineCount``."""


class GridSearch(HyperParameterOptimisationBase):
    """Every combination; of a parameter of type float, ``gridLineCount`` values from ``min`` to ``max``."""

    def getNextTrial(self, config: Any, results: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The first combination without a result."""
        sampler = GridSampler(space_of({**_raw(config), "optimisationMethod": "grid"}))
        done = {_point(result) for result in results}
        proposed = (sampler.ask(number) for number in range(1, len(sampler) + 1))
        return next((dict(found) for found in proposed if found and _point(found) not in done), None)


class RandomSearch(HyperParameterOptimisationBase):
    """A draw for each trial; with ``seed`` another one draws others."""

    def getNextTrial(self, config: Any, results: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The draw that follows as many results."""
        raw = _raw(config)
        sampler = RandomSampler(space_of({**raw, "optimisationMethod": "random"}), int(raw.get("seed") or 0))
        return dict(sampler.ask(len(results) + 1) or {})


def hyperParameterOptimisationFactory(
    optimisationMethod: str,
) -> tuple[HyperParameterOptimisationBase, type[Dict2Class]]:
    """A way to search by its name, and the class of what it asks of a config.

    Raises:
        ValueError: when there is none of this name.
    """
    ways: dict[str, type[HyperParameterOptimisationBase]] = {"grid": GridSearch, "random": RandomSearch}
    if optimisationMethod not in ways:
        raise ValueError(f"Unknown optimisationMethod {optimisationMethod!r}; there are {', '.join(ways)}")
    return ways[optimisationMethod](), GridOptimizationConfig


def _raw(config: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(config, "raw_dict", config)
    return found


def _point(parameters: Mapping[str, Any]) -> str:
    return canonical({key: value for key, value in parameters.items() if key != "result"})
