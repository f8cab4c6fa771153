"""The two search methods of the first Job Orchestration: a grid, and random draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from job_orchestration.configBase import Dict2Class
from job_orchestration.hyperparameter_optimisation.base import HyperParameterOptimisationBase
from job_orchestration.hyperparameter_optimisation.space import space_of
from job_orchestration.search.parameter_space import canonical
from job_orchestration.search.samplers import GridSampler, RandomSampler

if TYPE_CHECKING:
    from collections.abc import Mapping


class GridOptimizationConfig(Dict2Class):
    """The keys of a config that a grid reads: ``params`` and, for those of type float, ``gridLineCount``."""


class GridSearch(HyperParameterOptimisationBase):
    """Try every combination; a float parameter has ``gridLineCount`` values from ``min`` to ``max``."""

    def getNextTrial(self, config: Any, results: list[dict[str, Any]]) -> dict[str, Any] | None:
        """Return the first combination without a result."""
        sampler = GridSampler(space_of({**_raw(config), "optimisationMethod": "grid"}))
        done = {_point(result) for result in results}
        proposed = (sampler.ask(number) for number in range(1, len(sampler) + 1))
        return next((dict(found) for found in proposed if found and _point(found) not in done), None)


class RandomSearch(HyperParameterOptimisationBase):
    """Draw the parameters of each trial at random; another ``seed`` draws others."""

    def getNextTrial(self, config: Any, results: list[dict[str, Any]]) -> dict[str, Any] | None:
        """Return the draw that follows this many results."""
        raw = _raw(config)
        sampler = RandomSampler(space_of({**raw, "optimisationMethod": "random"}), int(raw.get("seed") or 0))
        return dict(sampler.ask(len(results) + 1) or {})


def hyperParameterOptimisationFactory(
    optimisationMethod: str,
) -> tuple[HyperParameterOptimisationBase, type[Dict2Class]]:
    """Return a search method by its name, and the class of the config keys that it reads.

    Raises:
        ValueError: if no method has this name.
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
