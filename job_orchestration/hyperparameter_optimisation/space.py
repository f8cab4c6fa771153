"""Translate ``params`` of the first Job Orchestration into a parameter space, and find their problems."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config.validation import KNOWN_KEYS
from job_orchestration.diagnostics.problems import Fault
from job_orchestration.diagnostics.suggestions import did_you_mean, nearest_key
from job_orchestration.search import parameter_space, searches
from job_orchestration.search.parameter_space import Choice, Uniform

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from job_orchestration.search.parameter_space import Domain

_LARGEST: Final = 1e300
"""The largest end of a parameter: the difference of two is still a number."""
_LONGEST: Final = 40
"""Characters of a value in a message."""
METHODS: Final = ("grid", "random", "tpe")
KEYS: Final = (
    *("optimisationMethod", "baseOutputDir", "testMethod", "resultsFilepath", "params"),
    *("numberTrials", "gridLineCount", "parallelTrials"),
)
"""The keys of a search."""


def space_of(raw: Mapping[str, Any]) -> dict[str, Domain]:
    """Return the space of a config that has no `problems_of`; a grid has single values everywhere."""
    lines = raw.get("gridLineCount") if raw.get("optimisationMethod", "grid") == "grid" else None
    return {param["name"]: _domain(param, lines) for param in raw["params"]}


def _domain(param: Mapping[str, Any], lines: int | None) -> Domain:
    if param["type"] == "list":
        return Choice(tuple({parameter_space.canonical(value): value for value in param["vals"]}.values()))
    low, high = param["min"], param["max"]
    if lines is None:
        return Uniform(low, high)
    step = (high - low) / max(lines - 1, 1)
    points = [parameter_space.rounded(low + i * step) for i in range(lines)]
    return Choice(tuple(dict.fromkeys(points)))


def problems_of(raw: Mapping[str, Any]) -> list[str]:
    """Return the problems of a search's config, one sentence each."""
    found = list(_problems(raw))
    if not found and raw["optimisationMethod"] == "grid" and raw.get("numberTrials") is None:
        count = math.prod(len(what.values) for what in space_of(raw).values() if isinstance(what, Choice))
        if count > parameter_space.MOST_VALUES:
            most = parameter_space.MOST_VALUES
            return [f"params make a grid of more than {most} trials; use fewer values, or write numberTrials"]
    return found


def doubts_of(raw: Mapping[str, Any]) -> list[UserWarning]:
    """Return a warning for each key that is spelt almost like one of a search, which is missing."""
    near = {key: nearest_key(key, KEYS, raw) for key in raw if key not in KNOWN_KEYS}
    return [
        UserWarning(f"{key}: the search does not read this. {did_you_mean([meant])}")
        for key, meant in near.items()
        if meant is not None
    ]


def _problems(raw: Mapping[str, Any]) -> Iterator[str]:
    method = raw.get("optimisationMethod")
    if method not in METHODS:
        yield f"optimisationMethod {method!r} is not known; there are {', '.join(METHODS)}"
    yield from _wrong_numbers(raw, method)
    for key in ("baseOutputDir", "testMethod", "resultsFilepath"):
        if not isinstance(raw.get(key), str) or not raw[key]:
            yield f"{key} is missing, or is no text"
        elif key == "resultsFilepath" and isinstance(fault := searches.results_path(raw[key]), Fault):
            yield f"{key}: {fault.what}. {fault.todo}"
    params = raw.get("params")
    if not isinstance(params, list) or not params:
        yield "params is not a list of parameters"
        return
    names = [p.get("name") for p in params if isinstance(p, dict)]
    if len(set(map(str, names))) < len(names):
        yield "two of the params have the same name"
    for i, param in enumerate(params):
        yield from (f"params[{i}]: {what}" for what in _wrong_with(param))
    lines = raw.get("gridLineCount")
    floats = any(isinstance(p, dict) and p.get("type") == "float" for p in params)
    if method == "grid" and floats and not _is_count(lines):
        yield (
            f"gridLineCount {_shown(lines)} is not a number from 1 to {parameter_space.MOST_VALUES}, and a "
            "parameter of type float needs it"
        )


def _wrong_numbers(raw: Mapping[str, Any], method: object) -> Iterator[str]:
    number = raw.get("numberTrials")
    if number is not None and not _is_count(number):
        yield f"numberTrials {_shown(number)} is not a number from 1 to {parameter_space.MOST_VALUES}"
    if "parallelTrials" in raw and not _is_count(raw["parallelTrials"]):
        yield (
            f"parallelTrials {_shown(raw['parallelTrials'])} is not a number from 1 to "
            f"{parameter_space.MOST_VALUES}; leave it away for the default"
        )
    if number is None and method in METHODS[1:]:
        yield f"numberTrials is missing, and {method} has no end of its own"


def _wrong_with(param: object) -> Iterator[str]:
    if not isinstance(param, dict) or not isinstance(param.get("name"), str):
        yield "it has no name"
        return
    kind = param.get("type")
    if kind == "list":
        if not isinstance(param.get("vals"), list) or not param["vals"]:
            yield f"{param['name']} has no vals"
    elif kind == "float":
        ends = param.get("min"), param.get("max")
        if not all(isinstance(e, int | float) and not isinstance(e, bool) and _is_sane(e) for e in ends):
            yield f"{param['name']} has no numbers as min and max"
        elif ends[0] > ends[1]:  # type: ignore[operator]  # numbers, as was just seen
            yield f"{param['name']} has a min above its max"
    else:
        yield f"{param['name']} has the type {kind!r}; there are float and list"


def _is_count(value: object) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and 1 <= value <= parameter_space.MOST_VALUES  # type: ignore[operator]  # it is a number


def _is_sane(number: float) -> bool:
    return abs(number) <= _LARGEST and math.isfinite(number)


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > _LONGEST:
        return "of so many digits"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
