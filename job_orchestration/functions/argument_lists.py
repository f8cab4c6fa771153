"""Build lists of arguments for a function, and read words as booleans. Touches nothing but its arguments."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Iterable

FALSE_WORDS: Final = frozenset({"false", "none", "no", "null", "f", "n", "0"})
_TRUE_WORDS: Final = frozenset({"true", "yes", "t", "y", "1"})


def is_str(value: object) -> TypeGuard[str]:
    """Return whether a value is a text."""
    return isinstance(value, str)


def truthy(value: object) -> bool:
    """Return whether a value of a command line means true.

    The words ``false none no null f n 0``, in upper or lower case, mean false, and all others true. What is
    no text is as true as Python finds it.
    """
    return value.strip().lower() not in FALSE_WORDS if is_str(value) else bool(value)


def bool_str(value: object) -> bool | str:
    """Return a text that is no word for true or false as it is, and anything else as a boolean.

    For settings that are either a switch or a name, such as ``save_results``.
    """
    if is_str(value) and value.strip().lower() not in FALSE_WORDS | _TRUE_WORDS:
        return value
    return truthy(value)


def copy_update(
    base: Mapping[str, Any], update: Mapping[str, Any] | str, value: object = None
) -> dict[str, Any]:
    """Return a deep copy of a mapping with other values; the mapping itself stays as it is.

    Args:
        base: what is copied.
        update: the new values by their keys, or one key.
        value: the new value, if `update` is a key.
    """
    changes = update if isinstance(update, Mapping) else {update: value}
    return {**copy.deepcopy(dict(base)), **copy.deepcopy(dict(changes))}


def update_list(
    base: Mapping[str, Any], values: Iterable[Any], key: str | None = None
) -> list[dict[str, Any]]:
    """Return a deep copy of a mapping for each value, updated by it.

    Args:
        base: what all of them have in common.
        values: a mapping with new values for each copy, or with `key` any values.
        key: the key that gets the value.

    Raises:
        TypeError: if there is no key, and a value is no mapping.
    """
    found = []
    for value in values:
        if key is None and not isinstance(value, Mapping):
            raise TypeError(
                f"{value!r} is no mapping. Say which key it belongs to: update_list(base, values, key)"
            )
        found.append(copy_update(base, value if key is None else key, value))
    return found
