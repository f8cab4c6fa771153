"""Domains of parameters: the forms in which a config writes them, their points, and draws from them.

==============================  =====================================================
``[1, 2, 3]``                   these values
``{linear: [0, 1], n: 5}``      so many numbers at equal distances, both ends included
``{log: [1e-4, 1e-1], n: 4}``   the same, by equal factors
``{range: [0, 10, 5]}``         from, to and step; the end is included when a step meets it
``{choice: [a, b]}``            one of these, drawn
``{uniform: [0, 1]}``           any number between the two
``{loguniform: [1e-4, 1]}``     the same, with equal chances for each order of magnitude
``{int: [1, 10]}``              any whole number from one to the other, both included
==============================  =====================================================

A draw depends only on a seed, the key and the trial's number, so the same file always has the same trials.
Computed numbers are rounded, because they are part of folder names. Pure.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from job_orchestration.config.settings import shown
from job_orchestration.config.yaml_reader import Node, plain
from job_orchestration.diagnostics.problems import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from job_orchestration.config.config import Json


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values."""

    values: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Uniform:
    """Any number between two, equally likely; with `log`, all orders of magnitude are equally likely."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True)
class Whole:
    """Any whole number from one to another, both included."""

    low: int
    high: int


Domain: TypeAlias = Choice | Uniform | Whole
"""The allowed values of a parameter."""


T = TypeVar("T")

_LARGEST: Final = 1e300
"""The largest end of a parameter: the difference of two is still a number."""
MOST_VALUES: Final = 100_000
_DIGITS: Final = 12
"""Digits of a computed point: 0.1 instead of 0.1000000000000002."""
DRAWN_DIGITS: Final = 6
"""Digits of a drawn number: it is part of a folder's name."""
_BITS: Final = 53


class FormError(ValueError):
    """An invalid form of a parameter.

    Attributes:
        node: the place of the fault.
        what: what is wrong, without a full stop.
        todo: what to do about it, without a full stop.
    """

    def __init__(self, node: Node, what: str, todo: str) -> None:
        super().__init__(what)
        self.node, self.what, self.todo = node, what, todo


def points(node: Node) -> tuple[Node, ...]:
    """Return the values of a parameter of ``grid`` or ``zip``.

    Raises:
        FormError: if it is neither a list of values nor a form that makes one.
    """
    if isinstance(node.value, tuple):
        return _distinct(node, node.value)
    form, ends = _form(node, _POINTS, "a list, {linear: …, n: …}, {log: …, n: …} or {range: …}")
    numbers = _POINTS[form](node, ends)
    return _distinct(node, tuple(node_of(number, node) for number in numbers))


def domain(node: Node) -> Domain:
    """Return the domain of a parameter of ``random`` or of a search's ``space``.

    Raises:
        FormError: if it is neither a list of values nor one of the forms.
    """
    if isinstance(node.value, Mapping) and node.value.keys() & _DOMAINS.keys():
        form, ends = _form(node, _DOMAINS, "")
        return _DOMAINS[form](node, ends)
    if isinstance(node.value, Mapping) and not node.value.keys() & _POINTS.keys():
        raise FormError(
            node,
            f"{shown(plain(node))} does not say what can be drawn",
            "Write {uniform: [0, 1]}, {loguniform: [1e-4, 1]}, {int: [1, 10]} or a list",
        )
    return Choice(tuple(plain(point) for point in points(node)))


def node_of(value: Json, place: Node) -> Node:
    """Return a node of a value, with the position of another node."""

    def made(inner: Json) -> Node:
        if isinstance(inner, list):
            return Node(place.line, place.column, tuple(made(item) for item in inner))
        if isinstance(inner, dict):
            entries = {key: (made(key), made(item)) for key, item in inner.items()}
            return Node(place.line, place.column, entries)
        return Node(place.line, place.column, inner)

    return made(value)


def at(where: Domain, fraction: float) -> Json:
    """Return the value at a fraction of the way through a domain, from 0 to below 1."""
    match where:
        case Choice(values):
            return values[int(fraction * len(values))]
        case Uniform(low, high, log):
            number = low * (high / low) ** fraction if log else low + fraction * (high - low)
            return min(max(rounded(number, DRAWN_DIGITS), low), high)
        case Whole(low, high):
            return low + int(fraction * (high - low + 1))


def fraction_of(seed: int, key: str, number: int) -> float:
    """Return a pseudo-random number from 0 to below 1 that depends only on the arguments."""
    digest = hashlib.sha256(json.dumps([seed, key, number]).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> (64 - _BITS)) / (1 << _BITS)


def rounded(number: float, digits: int = _DIGITS) -> float:
    """Return a number with so many significant digits."""
    return float(f"{number:.{digits}g}")


def canonical(value: Json) -> str:
    """Return a text that is equal only for equal values; 1, 1.0, true and "1" are four different values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _distinct(node: Node, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    if not nodes:
        raise FormError(node, "it has no values", "Write at least one")
    seen: set[str] = set()
    for each in nodes:
        text = canonical(plain(each))
        if text in seen:
            raise FormError(each, f"the value {text[:60]} is there twice", "Keep one of the two")
        seen.add(text)
    return nodes


def _form(node: Node, forms: Mapping[str, Callable[..., object]], wanted: str) -> tuple[str, Node]:
    entries = node.value
    found = [key for key in entries if key in forms] if isinstance(entries, Mapping) else []
    if len(found) != 1 or not isinstance(entries, Mapping):
        raise FormError(
            node, f"{shown(plain(node))} is not a form of values", f"Write {wanted or 'one form'}"
        )
    for key, (at_key, _) in entries.items():
        if key != found[0] and not (key == "n" and found[0] in {"linear", "log"}):
            raise FormError(at_key, f"{quoted(key)} has no meaning beside {found[0]}", "Take it out")
    return found[0], entries[found[0]][1]


def _numbers(node: Node, count: int, example: str) -> list[float]:
    items = node.value if isinstance(node.value, tuple) else ()
    found = [item.value for item in items if _is_number(item.value)]
    if len(found) != count or len(items) != count:
        raise FormError(node, f"{shown(plain(node))} is not {count} numbers", f"Write {example}")
    return found  # type: ignore[return-value]  # checked above


def _is_number(value: object) -> bool:
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return is_one and abs(value) <= _LARGEST  # type: ignore[arg-type]  # false for NaN and infinities


def _ends(node: Node, example: str, *, positive: bool = False) -> tuple[float, float]:
    low, high = _numbers(node, 2, example)
    if low > high:
        raise FormError(node, f"{low:g} is more than {high:g}", "Write the lower end first")
    if positive and low <= 0:
        raise FormError(node, f"{low:g} has no logarithm", "Let it begin above 0")
    return low, high


def _n(node: Node) -> int:
    assert isinstance(node.value, Mapping), "a form is a mapping"
    entry = node.value.get("n")
    if entry is None:
        raise FormError(node, "it does not say how many numbers", "Write n beside it, as in n: 5")
    return count_in(entry[1])


def count_in(node: Node) -> int:
    """Return a count from 1 to `MOST_VALUES`.

    Raises:
        FormError: if it is not such a number.
    """
    value = node.value
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_VALUES:
        what = f"{shown(plain(node))} is not a number from 1 to {MOST_VALUES}"
        raise FormError(node, what, "Write such a number")
    return value


def _linear(node: Node, ends: Node) -> Sequence[Json]:
    low, high = _ends(ends, "{linear: [0, 1], n: 5}")
    n = _n(node)
    if n == 1:
        return [low]
    made = [rounded(low + (high - low) * i / (n - 1)) for i in range(n)]
    return [low, *made[1:-1], high]


def _log(node: Node, ends: Node) -> Sequence[Json]:
    low, high = _ends(ends, "{log: [1e-4, 1e-1], n: 4}", positive=True)
    n = _n(node)
    if n == 1:
        return [low]
    made = [rounded(low * math.exp(math.log(high / low) * i / (n - 1))) for i in range(n)]
    return [low, *made[1:-1], high]


def _range(_node: Node, ends: Node) -> Sequence[Json]:
    low, high, step = _numbers(ends, 3, "{range: [0, 10, 5]}, which are from, to and step")
    if step <= 0 or high < low:
        raise FormError(ends, "the steps do not lead from the first to the second", "Write a step above 0")
    count = (high - low) / step
    if count >= MOST_VALUES:
        raise FormError(ends, f"it makes more than {MOST_VALUES} values", "Take a larger step")
    whole = all(isinstance(number, int) for number in (low, step))
    made = [low + step * i for i in range(math.floor(count + 1e-9) + 1)]
    return list(made) if whole else [rounded(number) for number in made]


def _uniform(_node: Node, ends: Node) -> Domain:
    return Uniform(*_ends(ends, "{uniform: [0, 1]}"))


def _loguniform(_node: Node, ends: Node) -> Domain:
    return Uniform(*_ends(ends, "{loguniform: [1e-4, 1]}", positive=True), log=True)


def _whole(_node: Node, ends: Node) -> Domain:
    low, high = _ends(ends, "{int: [1, 10]}")
    if not (isinstance(low, int) and isinstance(high, int)):
        raise FormError(ends, f"{low:g} and {high:g} are not both whole", "Write {int: [1, 10]}")
    return Whole(low, high)


def _choice(_node: Node, values: Node) -> Domain:
    if not isinstance(values.value, tuple):
        raise FormError(values, f"{shown(plain(values))} is not a list", "Write {choice: [a, b]}")
    return Choice(tuple(plain(item) for item in _distinct(values, values.value)))


_POINTS: Final[Mapping[str, Callable[[Node, Node], Sequence[Json]]]] = {
    "linear": _linear,
    "log": _log,
    "range": _range,
}
_DOMAINS: Final[Mapping[str, Callable[[Node, Node], Domain]]] = {
    "uniform": _uniform,
    "loguniform": _loguniform,
    "int": _whole,
    "choice": _choice,
}
