"""Nodes of expressions: functions that compute a value from the values of a run.

`config.expressions` builds trees of them. No node raises an exception. A value that does not exist is
`MISSING`, and so is the result of arithmetic or a list with a missing part. Pure.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

Values: TypeAlias = Mapping[str, object]
Node: TypeAlias = Callable[[Values], Any]
Binary: TypeAlias = Callable[[Any, Any], Any]

LARGEST: Final = 2**1024
"""Just above every finite float: a larger integer counts as missing, which bounds the time of arithmetic."""


class Missing:
    """The type of a missing value; `None` cannot stand for it, because a key may hold null."""


MISSING: Final = Missing()


def is_true(value: object) -> bool:
    """Return whether a value is true, as in Python."""
    return value is not MISSING and bool(value)


def look_up(values: Values, name: str, default: object = None) -> object:
    """Return the value of a name: of the key itself, otherwise of a key in nested mappings."""
    if name in values:
        return values[name]
    head, dot, rest = name.partition(".")
    while dot:
        inner = values.get(head)
        if isinstance(inner, Mapping):
            found = look_up(inner, rest, MISSING)
            if found is not MISSING:
                return found
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return default


# -- comparing two values ---------------------------------------------------------------------------------


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def _is_collection(value: object) -> bool:
    return isinstance(value, (str, list, tuple, Mapping))


def _in(item: object, container: Any) -> bool:
    if isinstance(container, (str, Mapping)):
        return isinstance(item, str) and item in container
    return isinstance(container, (list, tuple)) and item in container


def _not_in(item: object, container: object) -> bool:
    return _is_collection(container) and not _in(item, container)


def _ordered(holds: Binary) -> Binary:
    def ordered(left: object, right: object) -> bool:
        alike = (_is_number(left) and _is_number(right)) or (isinstance(left, str) and isinstance(right, str))
        return alike and bool(holds(left, right))

    return ordered


COMPARISONS: Final[Mapping[str, Binary]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
    "in": _in,
    "not in": _not_in,
}
SUMS: Final[Mapping[str, Binary]] = {"+": operator.add, "-": operator.sub}
PRODUCTS: Final[Mapping[str, Binary]] = {"*": operator.mul, "/": operator.truediv, "%": operator.mod}


# -- nodes ------------------------------------------------------------------------------------------------


def constant(value: object) -> Node:
    """Return the node of a literal."""
    return lambda _: value


def name(key: str) -> Node:
    """Return the node of a key."""
    return lambda values: look_up(values, key, MISSING)


def either(nodes: list[Node]) -> Node:
    """``a or b or c``."""
    return lambda values: any(is_true(node(values)) for node in nodes)


def both(nodes: list[Node]) -> Node:
    """``a and b and c``."""
    return lambda values: all(is_true(node(values)) for node in nodes)


def opposite(node: Node) -> Node:
    """``not a``."""
    return lambda values: not is_true(node(values))


def null(node: Node, *, wanted: bool) -> Node:
    """Return the node of ``a is null`` or ``a is not null``; a missing value counts as null."""

    def is_null(values: Values) -> bool:
        value = node(values)
        return (value is None or value is MISSING) is wanted

    return is_null


def comparison(first: Node, rest: list[tuple[Binary, Node]]) -> Node:
    """Return the node of ``a < b <= c``; false if a part is missing."""

    def compared(values: Values) -> bool:
        left = first(values)
        for holds, node in rest:
            right = node(values)
            if left is MISSING or right is MISSING or not holds(left, right):
                return False
            left = right
        return True

    return compared


def reckoning(first: Node, rest: list[tuple[Binary, Node]]) -> Node:
    """Return the node of ``a + b - c``; missing if the result is not finite."""

    def reckoned(values: Values) -> object:
        total = first(values)
        for reckon, node in rest:
            operand = node(values)
            if not (_is_number(total) and _is_number(operand)):
                return MISSING
            try:
                total = reckon(total, operand)
            except ArithmeticError:
                return MISSING
            if not abs(total) < LARGEST:
                return MISSING
        return total

    return reckoned


def negative(node: Node) -> Node:
    """``-a``."""

    def negated(values: Values) -> object:
        value = node(values)
        return -value if _is_number(value) else MISSING

    return negated


def items(nodes: list[Node]) -> Node:
    """Return the node of ``[a, b]``; missing if an item is."""

    def listed(values: Values) -> object:
        found = [node(values) for node in nodes]
        return MISSING if MISSING in found else found

    return listed
