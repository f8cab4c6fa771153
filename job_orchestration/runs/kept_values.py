"""Turn what a task computed into what JSON can say; describe the rest in a few words.

A task that returned has finished, whatever it returned: nothing in here raises, and what cannot be kept is
named with its place. The classes of other libraries are recognised by their names, so none is imported.
Pure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from itertools import count
from math import prod
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config import json_floats
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from collections.abc import Callable

    from job_orchestration.config.config import Json

    Place = tuple["Place", str] | str
    """Where a value is: the place of what holds it and how it is called there; or the name of the whole."""

MAX_BYTES: Final = 1 << 20
"""Accepted length of a return value as JSON."""
_DEEPEST: Final = 100
"""Accepted nesting levels. A value nested nearly as deep as the interpreter's stack could be written by one
process but not read by another."""
_MANY: Final = MAX_BYTES // 2
"""Values that cannot be written in `MAX_BYTES`: each takes a digit and a comma."""
_BITS: Final = 14_000
"""Of the largest number that every interpreter reads: Python refuses more than 4,300 digits."""
_SMALL: Final = MAX_BYTES // 32
"""Size of a part that is not the reason why the whole is too large."""
_LONG: Final = 120
"""Characters of a place in a sentence."""
_NAMED: Final = 5
"""Places that one sentence names."""


def kept(value: object, name: str = "result", limit: int | None = MAX_BYTES) -> tuple[Json, list[str]]:
    """Return a value as plain JSON values of its own, and a phrase for each part that is not kept.

    Args:
        value: anything.
        name: how the phrases call it.
        limit: maximum size as JSON, in bytes; `None` if unlimited.

    Returns:
        The value, in which a short description stands for each part that is not kept; and phrases such as
        ``result.model: a LogisticRegression is not kept``.
    """
    if value is None or type(value) is bool:
        return value, []
    keeper = _Keeper(limit)
    found = keeper.json(value, name, 0)
    return keeper.shrunk(found, name), keeper.phrases


def sentence_of(phrases: list[str], what_to_do: str = "save {} with self.context.store") -> str:
    """Return one sentence about the parts that are not kept, with what to do about "it" or "them"."""
    more = f", and {len(phrases) - _NAMED:,} more" if len(phrases) > _NAMED else ""
    what = what_to_do.format("it" if len(phrases) == 1 else "them")
    return f"{'; '.join(phrases[:_NAMED])}{more}; {what}"


def copy_of(value: Any) -> Any:
    """Return a copy of a JSON value that shares no list and no mapping with it."""
    if isinstance(value, dict):
        return {key: copy_of(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [copy_of(inner) for inner in value]
    return value


class _Keeper:
    """Keeps one value; counts what it would take at most."""

    def __init__(self, limit: int | None) -> None:
        self.phrases: list[str] = []
        self._limit = limit
        self._bytes = 0
        self._above: set[int] = set()

    def json(self, value: Any, place: Place, depth: int) -> Json:  # noqa: PLR0911  # one a kind
        """Return a value as JSON; describe it if that is impossible."""
        kind = type(value)
        if value is None or kind is bool or kind is float:
            self._bytes += 26
            return value  # type: ignore[no-any-return]  # by its type
        if kind is str:
            return self._text(value, place)
        if kind is int:
            self._bytes += 22 + value.bit_length() // 3
            return value if value.bit_length() < _BITS else self._described(value, place)
        if depth > _DEEPEST:
            return self._described(value, place, "is nested too deeply to be kept")
        if id(value) in self._above:
            return self._described(value, place, "contains itself and is not kept")
        before = self._bytes
        self._above.add(id(value))
        try:
            return self._of_kind(value, place, depth)
        except _TooLargeError:
            self._bytes = before
            return self._described(value, place, "is too large to be kept")
        except Exception:  # noqa: BLE001  # the value's own code may raise anything
            self._bytes = before
            return self._described(value, place)
        finally:
            self._above.discard(id(value))

    def shrunk(self, value: Json, name: str) -> Json:
        """Describe the largest parts of a kept value until the rest is small enough."""
        while self._limit is not None and self._bytes > self._limit:
            self._bytes = _size(value)
            if self._bytes <= self._limit:
                break
            value = self._without_largest(value, name)
            self._bytes = _size(value)
        return value

    def _without_largest(self, value: Json, place: Place) -> Json:
        parts: list[tuple[Any, Json]] = []
        if isinstance(value, dict | list):
            parts = list(value.items() if isinstance(value, dict) else enumerate(value))
        size, key = max(((_size(inner), key) for key, inner in parts), default=(0, ""))
        if size <= _SMALL:
            return self._described(value, place, "is too large to be kept")
        part = f".{key}" if isinstance(value, dict) else f"[{key}]"
        kept: Any = value.copy()  # type: ignore[union-attr]  # it has parts
        kept[key] = self._without_largest(kept[key], (place, part))
        return kept  # type: ignore[no-any-return]  # the copy of a JSON value

    def _of_kind(self, value: Any, place: Place, depth: int) -> Json:  # noqa: PLR0911  # one a kind
        kind = type(value)
        if kind is list or kind is tuple:
            return self._list(value, place, depth)
        if kind is dict:
            return self._dict(value.items(), place, depth)
        for base in kind.__mro__:
            convert = _CONVERTERS.get((str(base.__module__).partition(".")[0], base.__name__))
            if convert is not None:
                return self.json(convert(value), place, depth + 1)
        names = _field_names(value)
        if names is not None:
            return self._dict([(name, getattr(value, name)) for name in names], place, depth)
        if isinstance(value, Mapping):
            return self._dict(value.items(), place, depth)
        if isinstance(value, Sequence | AbstractSet | ValuesView):
            return self._list(_in_order(value), place, depth)
        return self.json(_by_its_methods(value), place, depth + 1)

    def _list(self, values: Any, place: Place, depth: int) -> Json:
        self._count(len(values))
        return [self.json(inner, (place, f"[{index}]"), depth + 1) for index, inner in enumerate(values)]

    def _dict(self, items: Any, place: Place, depth: int) -> Json:
        self._count(2 * len(items))
        found: dict[str, Json] = {}
        for key, inner in list(items):
            name = key if type(key) is str and key.isascii() else _unescaped(self._key(key))
            if name in found:
                name = next(other for n in count(2) if (other := f"{name}~{n}") not in found)
            self._bytes += 6 * len(name) + 6
            found[name] = self.json(inner, (place, f".{name}"), depth + 1)
        return found

    def _key(self, key: Any) -> str:
        phrases, self.phrases = self.phrases, []
        found = self.json(key, "", _DEEPEST)  # a container as a key is text, not a container
        self.phrases = phrases
        if found is None or isinstance(found, bool):
            return {None: "null", True: "true", False: "false"}[found]
        if isinstance(found, str) and (isinstance(key, str) or _has_text(key)):
            return found
        return str(key if isinstance(found, list | dict | str) else found)[:200]

    def _count(self, values: int) -> None:
        if self._limit is not None and (values > _MANY or self._bytes > 100 * MAX_BYTES):
            raise _TooLargeError
        self._bytes += 2 * values + 4

    def _text(self, value: str, place: Place) -> Json:
        if self._limit is not None and len(value) > self._limit:
            return self._described(value, place, "is too large to be kept")
        self._bytes += 6 * len(value) + 4
        return value if value.isascii() else _unescaped(value)

    def _described(self, value: object, place: Place, why: str = "is not kept") -> str:
        what = _name_of(value)
        self.phrases.append(f"{_text_of(place)}: {what} {why}")
        self._bytes += 200
        return f"{what} (not kept)"


class _TooLargeError(Exception):
    """A part has more values than can be kept."""


def _size(value: Json) -> int:
    return len(json_floats.text_of(value, ensure_ascii=False).encode())


def _text_of(place: Place) -> str:
    parts = []
    while not isinstance(place, str):
        place, part = place
        parts.append(part)
    text = escaped("".join([place, *reversed(parts)]))
    return text if len(text) <= _LONG else f"{text[: _LONG // 2]}…{text[-_LONG // 2 :]}"


def _unescaped(text: str) -> str:
    """A text with what is no character (half of a pair, an undecodable byte of a file name) as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _name_of(value: object) -> str:
    """Describe a value in a few words, by nothing that its own code could make slow."""
    if isinstance(value, bytes | bytearray):
        return f"{len(value):,} bytes"
    if isinstance(value, str):
        return f"a text of {len(value):,} characters"
    name = escaped(type(value).__name__)[:100]
    article = "an" if name[:1] in "aeiouAEIOU" or name.startswith("nd") else "a"
    if isinstance(value, list | tuple | dict | set | frozenset):
        return f"{article} {name} of {len(value):,} entr{'y' if len(value) == 1 else 'ies'}"
    if isinstance(value, int):
        return f"{article} {name} of {value.bit_length():,} bits"
    try:
        shape = getattr(value, "shape", None)
        if isinstance(shape, tuple) and shape and all(isinstance(length, int) for length in shape):
            return f"{article} {name} of shape {tuple(shape)}"
    except Exception:  # noqa: BLE001, S110  # a property may raise anything
        pass
    return f"{article} {name}"


def _field_names(value: Any) -> list[str] | None:
    """The names of the fields of a named tuple, a dataclass or a class of attrs."""
    kind = type(value)
    if isinstance(value, tuple) and isinstance(getattr(kind, "_fields", None), tuple):
        return list(kind._fields)
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    attributes = getattr(kind, "__attrs_attrs__", None)
    return None if attributes is None else [attribute.name for attribute in attributes]


def _in_order(values: Any) -> Any:
    """A set in its order if it has one; the keys and items of a mapping keep theirs."""
    if not isinstance(values, AbstractSet) or hasattr(values, "mapping"):
        return values
    found = list(values)
    try:
        return sorted(found)
    except Exception:  # noqa: BLE001  # of different kinds, or with an order of its own that fails
        return found


def _by_its_methods(value: Any) -> object:
    """What an array of any library holds, or the path that an object stands for.

    Raises:
        TypeError: it is neither.
    """
    if callable(getattr(value, "tolist", None)) and hasattr(value, "shape"):
        return _list_of_array(value)
    if hasattr(type(value), "__fspath__"):
        return value.__fspath__()
    raise TypeError(value)


def _has_text(key: object) -> bool:
    """Whether the JSON of a key is a text that means the key: a path, a date, an enum, not a description."""
    names = {(str(base.__module__).partition(".")[0], base.__name__) for base in type(key).__mro__}
    return not names.isdisjoint(_CONVERTERS)


def _list_of_array(value: Any) -> object:
    if prod(value.shape) > _MANY:
        raise _TooLargeError
    dtype = getattr(value, "dtype", None)
    if getattr(dtype, "kind", "f") in "mMV" and not hasattr(value, "mask"):  # tolist makes numbers of times
        return list(value) if value.shape else value[()]
    return value.tolist()


def _scalar(value: Any) -> object:
    """The Python value of a scalar of NumPy."""
    match value.dtype.kind:
        case "M":
            return None if str(value) == "NaT" else str(value)
        case "m":
            return _seconds(value)
        case "V" if value.dtype.names:
            return {name: value[name] for name in value.dtype.names}
        case "f":
            return float(value)
        case "c":
            return complex(value)
        case _:
            return value.item()


def _seconds(value: Any) -> object:
    if str(value) == "NaT":
        return None
    try:
        return float(value / type(value)(1, "s"))
    except Exception:  # noqa: BLE001  # months and years have no length
        return str(value)


def _enum(member: Any) -> object:
    plain = bool | int | float | str | None
    return member.value if isinstance(member.value, plain) else member.name


def _number(value: Any) -> float | str:
    """A decimal as a number if that is the same number, otherwise as text."""
    number = float(value)
    return number if type(value)(repr(number)) == value else str(value)


def _bytes_as_text(value: Any) -> object:
    text = bytes(value).decode()
    if not all(c.isprintable() or c in "\n\t" for c in text):
        raise ValueError("not text")
    return text


def _frame(table: Any) -> list[dict[Any, Any]]:
    """The rows of a table of pandas, with its index if that is more than the rows' numbers."""
    if table.size > _MANY or len(table) > _MANY:
        raise _TooLargeError
    columns = {name: table.iloc[:, n].tolist() for n, name in enumerate(_apart(table.columns.tolist()))}
    if type(table.index).__name__ != "RangeIndex":
        index = table.index.name if table.index.name is not None else "index"
        columns = {index: table.index.tolist()} | columns
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _apart(names: list[Any]) -> list[Any]:
    """Names of which none is another's: a table may have two columns of one name."""
    found: list[Any] = []
    for name in names:
        other = name
        for n in count(2):
            if other not in found:
                break
            other = f"{name}~{n}"
        found.append(other)
    return found


def _series(series: Any) -> object:
    if len(series) > _MANY:
        raise _TooLargeError
    if type(series.index).__name__ == "RangeIndex":
        return series.tolist()
    return dict(zip(_apart(series.index.tolist()), series.tolist(), strict=True))


def _pandas_list(values: Any) -> object:
    if len(values) > _MANY:
        raise _TooLargeError
    return values.tolist()


_CONVERTERS: Final[dict[tuple[str, str], Callable[[Any], object]]] = {
    ("builtins", "int"): lambda value: int.__index__(value) + 0,
    ("builtins", "float"): float,
    ("builtins", "str"): str.__str__,
    ("builtins", "complex"): str,
    ("builtins", "bytes"): _bytes_as_text,
    ("builtins", "bytearray"): _bytes_as_text,
    ("builtins", "memoryview"): _bytes_as_text,
    ("collections", "UserString"): str,
    ("enum", "Enum"): _enum,
    ("datetime", "date"): lambda value: value.isoformat(),
    ("datetime", "time"): lambda value: value.isoformat(),
    ("datetime", "timedelta"): lambda value: value.total_seconds(),
    ("pathlib", "PurePath"): str,
    ("uuid", "UUID"): str,
    ("decimal", "Decimal"): _number,
    ("fractions", "Fraction"): str,
    ("types", "SimpleNamespace"): vars,
    ("argparse", "Namespace"): vars,
    ("numpy", "generic"): _scalar,
    ("pandas", "NaTType"): lambda _: None,
    ("pandas", "NAType"): lambda _: None,
    ("pandas", "Period"): str,
    ("pandas", "Interval"): str,
    ("pandas", "DataFrame"): _frame,
    ("pandas", "Series"): _series,
    ("pandas", "Index"): _pandas_list,
    ("pandas", "ExtensionArray"): _pandas_list,
}
"""How a value of a class is written, by the first package of its module and its name."""
