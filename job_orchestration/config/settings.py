"""Parse the keys that say how a run is treated into `Settings`.

A table has one rule per key. A rule parses a value; a value that it cannot parse is a problem. ``null`` means
the same as leaving the key out, so a config can cancel a default of the workspace. Pure.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config import metric_directions
from job_orchestration.config.config import Isolation, Settings
from job_orchestration.diagnostics.problems import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from job_orchestration.config.config import Json

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([smhd])")
_SECONDS: Final[Mapping[str, int]] = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_MOST_SECONDS: Final = 10 * 365 * 86_400
"""Ten years: a longer time is a mistake, and could overflow a timer."""

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT])(i?)B?")
_POWERS: Final[Mapping[str, int]] = {"K": 1, "M": 2, "G": 3, "T": 4}
_MOST_BYTES: Final = 2**62

_RESOURCE = re.compile("[A-Za-z][A-Za-z0-9_-]{0,39}")
_MOST_OF_A_RESOURCE: Final = 10**9
_MOST_URGENT: Final = 1_000_000
"""The highest priority; the lowest is its negative."""
MEMORY: Final = "memory"
"""The resource that is counted in bytes."""
OTHER_RESOURCES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("cpu", "core", "cores", "processors", "CPU", "CPUs", "CPUS"), "cpus"),
    **dict.fromkeys(("gpu", "GPU", "GPUs", "GPUS"), "gpus"),
    **dict.fromkeys(("mem", "ram", "Memory", "RAM"), MEMORY),
}
"""Names that are likely meant for a resource that every machine has."""

_MOST_KEPT: Final = 64
_MOST_TRIES: Final = 1_000_000_000
_MOST_SEED: Final = 2**32 - 1


def parse_duration(value: Json) -> float | None:
    """Return the seconds of a number or of a text such as ``30s``, ``5m``, ``1.5h``; ``None`` if invalid."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if match is None:
            return None
        value = float(match[1]) * _SECONDS[match[2]]
    if isinstance(value, int | float) and 0 <= value <= _MOST_SECONDS:
        return float(value)
    return None


def parse_size(value: Json) -> int | None:
    """Return the bytes of a whole number, or of a text such as ``500M`` (10^6) or ``8Gi`` (2^30).

    Returns:
        ``None`` if the value is neither.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        match = _SIZE.fullmatch(value)
        if match is None:
            return None
        number = float(match[1]) * (1024 if match[3] else 1000) ** _POWERS[match[2]]
        value = int(number) if math.isfinite(number) else 0
    if isinstance(value, int) and 1 <= value <= _MOST_BYTES:
        return value
    return None


@dataclass(frozen=True, slots=True)
class Rule:
    """The allowed values of a key, and its field in `Settings`."""

    field: str
    read: Callable[[Json], Any]
    """Parses a value; returns ``None`` if it is not allowed."""
    wanted: str
    """Allowed values: completes the sentence "… is not"."""
    example: str
    schema: Mapping[str, Any] | None = None
    """JSON Schema of the values that `read` accepts, as far as possible; `config.json_schema` adds null."""


def shown(value: Json) -> str:
    """Return a value as it appears in a message."""
    match value:
        case str():
            return quoted(value)
        case list():
            return "a list" if value else "an empty list"
        case dict():
            return "a mapping"
        case _:
            return json.dumps(value)[:60]


def _whole(least: int, most: float = math.inf) -> Callable[[Json], int | None]:
    def read(value: Json) -> int | None:
        return (
            value
            if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
            else None
        )

    return read


def _flag(value: Json) -> bool | None:
    return value if isinstance(value, bool) else None


def _isolation(value: Json) -> Isolation | None:
    return Isolation(value) if isinstance(value, str) and value in set(Isolation) else None


def _limit(value: Json) -> float | None:
    return parse_duration(value) or None


def _names(value: Json) -> tuple[str, ...] | None:
    """Parse a name or a list of names."""
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list):
        return None
    names = [entry for entry in entries if isinstance(entry, str) and entry and "\0" not in entry]
    return tuple(dict.fromkeys(names)) if len(names) == len(entries) else None


def parse_resources(value: Json) -> tuple[tuple[str, int], ...] | None:
    """Return the amount of each resource, sorted by name; ``memory`` may be a size. ``None`` if invalid."""
    if not isinstance(value, dict):
        return None
    count = _whole(0, _MOST_OF_A_RESOURCE)
    found = {name: parse_size(n) if name == MEMORY else count(n) for name, n in value.items()}
    if None in found.values() or not all(map(_RESOURCE.fullmatch, found)):
        return None
    return tuple(sorted((name, n) for name, n in found.items() if n))


def faults_of_resources(values: Mapping[str, Json]) -> Iterator[tuple[str, str, str]]:
    """Yield name, what is wrong and what to do for each invalid resource."""
    for name, value in values.items():
        if parse_resources({name: value}) is not None:
            continue
        if not _RESOURCE.fullmatch(name):
            yield name, f"{quoted(name)} is no name of a resource", "Use letters, digits, - and _, as in gpus"
        elif name == MEMORY:
            yield name, f"{shown(value)} is not a size", f"Write {_SIZES}"
        else:
            what = f"{shown(value)} is not a whole number from 0 to {_MOST_OF_A_RESOURCE}"
            yield name, what, "Write a number such as 1"


_TIME: Final = "a time"
_TIMES: Final = "seconds as a number, or a text such as 30s, 5m, 4h or 1d"
_SIZES: Final = "bytes as a whole number, or a text such as 500M or 8G"

_FLAG: Final = {"type": "boolean"}
_DURATION_TEXT: Final = {"type": "string", "pattern": f"^{_DURATION.pattern}$"}
_DURATION_SCHEMA: Final = {
    "anyOf": [{"type": "number", "minimum": 0, "maximum": _MOST_SECONDS}, _DURATION_TEXT]
}
_LIMIT_SCHEMA: Final = {
    "anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": _MOST_SECONDS}, _DURATION_TEXT]
}
_SIZE_SCHEMA: Final = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": _MOST_BYTES},
        {"type": "string", "pattern": f"^{_SIZE.pattern}$"},
    ]
}

_COUNT_SCHEMA: Final = {"type": "integer", "minimum": 0, "maximum": _MOST_OF_A_RESOURCE}
_NAME_SCHEMA: Final = {"type": "string", "pattern": "^[^\u0000]+$"}

RULES: Final[Mapping[str, Rule]] = {
    "maxAttempts": Rule(
        "max_attempts",
        _whole(1, _MOST_TRIES),
        "a whole number from 1 up",
        "a number such as 3",
        {"type": "integer", "minimum": 1, "maximum": _MOST_TRIES},
    ),
    "retryDelay": Rule("retry_delay", parse_duration, _TIME, _TIMES, _DURATION_SCHEMA),
    "maxInterruptions": Rule(
        "max_interruptions",
        _whole(0, _MOST_TRIES),
        "a whole number from 0 up",
        "a number such as 20",
        {"type": "integer", "minimum": 0, "maximum": _MOST_TRIES},
    ),
    "isolation": Rule(
        "isolation",
        _isolation,
        "a way to isolate a run",
        "fork or spawn",
        {"enum": [str(i) for i in Isolation]},
    ),
    "preloadKeep": Rule(
        "preload_keep",
        _whole(1, _MOST_KEPT),
        f"a whole number from 1 to {_MOST_KEPT}",
        "a number such as 2",
        {"type": "integer", "minimum": 1, "maximum": _MOST_KEPT},
    ),
    "graceTime": Rule("grace_time", parse_duration, _TIME, _TIMES, _DURATION_SCHEMA),
    "timeout": Rule("timeout", _limit, "a time above 0", _TIMES, _LIMIT_SCHEMA),
    "stallTimeout": Rule("stall_timeout", _limit, "a time above 0", _TIMES, _LIMIT_SCHEMA),
    "validationTimeout": Rule("validation_timeout", _limit, "a time above 0", _TIMES, _LIMIT_SCHEMA),
    "memoryLimit": Rule("memory_limit", parse_size, "a size", _SIZES, _SIZE_SCHEMA),
    "logLimit": Rule("log_limit", parse_size, "a size", _SIZES, _SIZE_SCHEMA),
    "overwriteOutputFine": Rule("overwrite_output", _flag, "true or false", "true or false", _FLAG),
    "UNSAFE_ignoreDirtyCheck": Rule("ignore_dirty_check", _flag, "true or false", "true or false", _FLAG),
    "ignoredFiles": Rule(
        "ignored_files",
        _names,
        "a list of patterns",
        'a list such as ["*.bak", "scratch/"]',
        {"anyOf": [_NAME_SCHEMA, {"type": "array", "items": _NAME_SCHEMA}]},
    ),
    "reuse": Rule("reuse", _flag, "true or false", "true or false", _FLAG),
    metric_directions.KEY: Rule(
        "metric_directions",
        metric_directions.parse,
        "a mapping of figures to maximize or minimize",
        "one such as {loss: minimize, accuracy: maximize}",
        {
            "type": "object",
            "propertyNames": {"minLength": 1},
            "additionalProperties": {"enum": [*metric_directions.DIRECTIONS]},
        },
    ),
    "seed": Rule(
        "seed",
        _whole(0, _MOST_SEED),
        f"a whole number from 0 to {_MOST_SEED}",
        "a number such as 1",
        {"type": "integer", "minimum": 0, "maximum": _MOST_SEED},
    ),
    "priority": Rule(
        "priority",
        _whole(-_MOST_URGENT, _MOST_URGENT),
        "a whole number",
        "a number such as 5",
        {"type": "integer", "minimum": -_MOST_URGENT, "maximum": _MOST_URGENT},
    ),
    "after": Rule(
        "after",
        _names,
        "the name of a config, or a list of them",
        "a list such as [prepare]",
        {"anyOf": [_NAME_SCHEMA, {"type": "array", "items": _NAME_SCHEMA}]},
    ),
    "inputs": Rule(
        "inputs",
        _names,
        "a path, or a list of paths and globs",
        "a list such as [/data/genes.tsv, /data/sets/*.txt]",
        {"anyOf": [_NAME_SCHEMA, {"type": "array", "items": _NAME_SCHEMA}]},
    ),
    "resources": Rule(
        "resources",
        parse_resources,
        "a mapping of names to whole numbers",
        "one such as {gpus: 1, cpus: 4, memory: 8G}",
        {
            "type": "object",
            "propertyNames": {"pattern": f"^({_RESOURCE.pattern})$"},
            "properties": {
                "cpus": {**_COUNT_SCHEMA, "description": "CPUs, and threads of BLAS and OpenMP."},
                "gpus": {
                    **_COUNT_SCHEMA,
                    "description": "GPUs; the run sees its own in CUDA_VISIBLE_DEVICES.",
                },
                MEMORY: {**_SIZE_SCHEMA, "description": "Bytes, or a text such as 8G."},
            },
            "patternProperties": {
                f"^(?:{'|'.join(n for n, meant in OTHER_RESOURCES.items() if meant == name)})$": {
                    "not": {},
                    "description": f"Did you mean {name}?",
                }
                for name in ("cpus", "gpus", MEMORY)
            },
            "additionalProperties": _COUNT_SCHEMA,
        },
    ),
}


def settings_of(values: Mapping[str, Json]) -> Settings:
    """Return the settings in a checked config; an invalid value counts as left out."""
    read = {rule.field: rule.read(values[key]) for key, rule in RULES.items() if key in values}
    return Settings(**{field: value for field, value in read.items() if value is not None})
