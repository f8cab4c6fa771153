"""The part of the JSON Schema about ``sweep``: sweeps, searches, and the forms of their parameters.

The package ``search`` decides what is right; tests compare the two. What a schema cannot say, such as that
the lower end comes first, only the checks find. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config import sweep_key_reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.config.key_reference import Key

MOST_VALUES: Final = 100_000
NO_PARAMETERS: Final = ("sweep", "tasks", "outputDir", "name")
"""Keys that cannot be parameters."""

_COUNT: Final = {"type": "integer", "minimum": 1, "maximum": MOST_VALUES}
_LIST: Final = {"type": "array", "minItems": 1}
_VALUES: Final[Mapping[str, Any]] = {
    "linear": {"items": {"type": "number"}, "minItems": 2, "maxItems": 2},
    "log": {"items": {"type": "number", "exclusiveMinimum": 0}, "minItems": 2, "maxItems": 2},
    "range": {"items": {"type": "number"}, "minItems": 3, "maxItems": 3},
    "uniform": {"items": {"type": "number"}, "minItems": 2, "maxItems": 2},
    "loguniform": {"items": {"type": "number", "exclusiveMinimum": 0}, "minItems": 2, "maxItems": 2},
    "int": {"items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
    "choice": {"minItems": 1},
}
_COUNTED: Final = frozenset({"linear", "log"})
"""Forms with ``n`` beside them."""


def definitions() -> dict[str, Any]:
    """Return the ``$defs`` that `sweep` refers to."""
    points = [_form(name, sweep_key_reference.POINTS[name]) for name in sweep_key_reference.POINTS]
    drawn = {n: _form(n, known) for n, known in sweep_key_reference.DISTRIBUTIONS.items()}
    return {
        "points": {"anyOf": [{**_LIST, "description": "These values."}, *points]},
        "choices": {"anyOf": [_reference("points"), drawn["choice"]]},
        "distribution": {"anyOf": [_reference("points"), *drawn.values()]},
    }


def sweep(samplers: Sequence[str] = ()) -> dict[str, Any]:
    """Return the schema of ``sweep``; `samplers` are those of other packages."""
    table = sweep_key_reference.SWEEP
    return {
        "type": "object",
        "properties": {
            "grid": _parameters(table["grid"], "points"),
            "zip": _parameters(table["zip"], "points"),
            "random": _random(table["random"]),
            "exclude": {"type": "string", "description": table["exclude"].meaning},
            "search": _search(table["search"], samplers),
        },
        "additionalProperties": False,
        "if": {"required": ["search"]},
        "then": {"maxProperties": 1},
        "else": {"anyOf": [{"required": [part]} for part in ("grid", "zip", "random")]},
    }


def _form(name: str, known: Key) -> dict[str, Any]:
    described = {"type": "array", "description": known.meaning, **_VALUES[name]}
    counted = {"n": {**_COUNT, "description": "Number of values."}} if name in _COUNTED else {}
    return _closed({name: described, **counted}, [name, *counted])


def _closed(properties: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [*required],
        "additionalProperties": False,
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


def _parameters(known: Key, form: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": known.meaning,
        "minProperties": 1,
        "propertyNames": {"not": {"enum": [*NO_PARAMETERS]}},
        "additionalProperties": _reference(form),
    }


def _random(known: Key) -> dict[str, Any]:
    own = sweep_key_reference.RANDOM
    return {
        **_parameters(known, "distribution"),
        "minProperties": 2,
        "required": ["n"],
        "properties": {
            "n": {**_COUNT, "description": own["n"].meaning},
            "seed": {"type": "integer", "default": 0, "description": own["seed"].meaning},
        },
    }


def _search(known: Key, samplers: Sequence[str]) -> dict[str, Any]:
    shapes: dict[str, Any] = {
        "method": {"enum": ["grid", "random", "tpe", *samplers]},
        "space": _parameters(sweep_key_reference.SEARCH["space"], "distribution"),
        "metric": {"type": "string", "minLength": 1},
        "n": _COUNT,
        "direction": {"enum": ["maximize", "minimize"], "default": "maximize"},
        "seed": {"type": "integer", "default": 0},
        "parallel": _COUNT,
        "prune": {"enum": ["median"]},
    }
    described = {
        key: {**shape, "description": sweep_key_reference.SEARCH[key].meaning}
        for key, shape in shapes.items()
    }
    return {
        **_closed(described, ["method", "space", "metric"]),
        "description": known.meaning,
        "if": {"properties": {"method": {"const": "grid"}}},
        "then": {"properties": {"space": {"additionalProperties": _reference("choices")}}},
        "else": {"required": ["n"]},
    }
