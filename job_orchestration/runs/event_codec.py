"""Encode and decode journal events: one JSON object a line.

A line is an event if it parses and every field has its type; any other line is skipped by readers.
Pure.
"""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime
from math import isfinite
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config import json_floats
from job_orchestration.runs import events
from job_orchestration.runs.events import Code, Event, JournalEntry, Outcome, OutputFile, Trial, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from job_orchestration.config.config import Json

_KINDS: Final[dict[str, type[Any]]] = {
    "readied": events.Readied,
    "claimed": events.Claimed,
    "task_started": events.TaskStarted,
    "task_finished": events.TaskFinished,
    "task_failed": events.TaskFailed,
    "cancelled": events.Cancelled,
    "requeued": events.Requeued,
    "handed_back": events.HandedBack,
    "completed": events.Completed,
    "gave_up": events.GaveUp,
    "spoilt": events.Spoilt,
}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}
_KEYS: Final = {"hostname": "host", "parameters": "set"}
"""Fields whose key in the journal differs from their name."""
_NAMES_OF_KEYS: Final = {key: name for name, key in _KEYS.items()}
_FIELDS: Final = {
    kind: tuple((_KEYS.get(f.name, f.name), f.name, f.default) for f in fields(kind))
    for kind in _KINDS.values()
}
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(("config", "digest", "worker", "hostname", "task", "error", "reason"), (str,)),
    **dict.fromkeys(("seed", "attempt", "pid", "number"), (int,)),
    **dict.fromkeys(("duration_s", "delay_s", "preload_s", "preload_mb"), (int, float, NoneType)),
    **dict.fromkeys(("folder", "not_before", "commit", "rerun_of", "environment", "inputs"), (str, NoneType)),
    **dict.fromkeys(("not_reused", "reused_from"), (str, NoneType)),
    **dict.fromkeys(("values", "parameters"), (dict,)),
    **dict.fromkeys(("verify", "own_environment"), (dict, NoneType)),
    **dict.fromkeys(("permanent", "fresh", "pruned"), (bool,)),
}
"""The accepted types of an event's plain fields; `_CONVERTERS` has the others."""
_TEXTS: Final = frozenset({str})
_OF_USAGE: Final = tuple(f.name for f in fields(Usage))
_quoted: Final = json.encoder.encode_basestring


def kind_of(event: Event) -> str:
    """Return the name of an event's kind in the journal."""
    return _NAMES[type(event)]


def encode(entry: JournalEntry) -> bytes:
    """Encode an entry as one line, newline included. Empty optional fields are left out."""
    event = entry.event
    parts = [f'{{"seq": {entry.seq}, "at": {_json(entry.at)}, "event": "{kind_of(event)}"']
    for key, name, default in _FIELDS[type(event)]:
        value = getattr(event, name)
        if value is default and value in (None, False, ()):  # a task's result may be False
            continue
        parts.append(f'"{key}": {_json(value)}')
    return (", ".join(parts) + "}\n").encode("utf-8", "replace")


def _json(value: Any) -> str:
    """Encode a value as JSON; simple values take a shortcut, which keeps a child's writes cheap."""
    kind = type(value)
    if kind is str:
        return _quoted(value)
    if kind is int or (kind is float and isfinite(value)):
        return repr(value)
    if kind is Usage:
        return _used(value)
    if kind is tuple and _TEXTS.issuperset(map(type, value)):
        return f"[{', '.join(map(_quoted, value))}]"
    return json_floats.text_of(value, default=_plain, ensure_ascii=False)


def _used(usage: Usage) -> str:
    moved = ""  # without a loop, whose functions a child would copy
    if usage.read_bytes is not None:
        moved = f', "read_bytes": {usage.read_bytes!r}'
    if usage.written_bytes is not None:
        moved += f', "written_bytes": {usage.written_bytes!r}'
    return f'{{"cpu_s": {usage.cpu_s!r}, "peak_bytes": {usage.peak_bytes!r}{moved}}}'


def _plain(value: object) -> object:
    if isinstance(value, (Code, OutputFile, Trial, Usage)):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    return dict(value)  # type: ignore[call-overload]  # the only other values are mappings


def _number(text: str) -> float:
    """Parse a JSON float; reject NaN, infinity and numbers too large for a float."""
    if not isfinite(value := float(text)):
        raise ValueError(text)
    return value


_DECODER: Final = json.JSONDecoder(parse_float=_number, parse_constant=_number)


def decode(line: bytes) -> JournalEntry | None:
    """Decode a whole line; `None` if it is not an event."""
    try:
        values = json_floats.restored(_DECODER.decode(line.decode()), line)
        kind = _KINDS[values.pop("event")]
        seq, at = int(values.pop("seq")), values.pop("at")
        if datetime.fromisoformat(at).tzinfo is None:
            return None
        return JournalEntry(seq, at, kind(**_typed(values)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None


def is_of_later_release(line: bytes) -> bool:
    """Return whether a line that is no event has the form of one: a later release may have written it."""
    try:
        values = json.loads(line)
        return isinstance(values["event"], str) and isinstance(values["seq"], int)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    """Check and convert the fields of an event.

    Raises:
        TypeError: a field has a wrong type. The conversions raise the other errors that `decode` catches.
    """
    for key in _NAMES_OF_KEYS.keys() & values.keys():
        values[_NAMES_OF_KEYS[key]] = values.pop(key)
    for name, value in values.items():
        if name in _TYPES:
            if not isinstance(value, _TYPES[name]):
                raise TypeError(name)
        elif name in _CONVERTERS:
            values[name] = _CONVERTERS[name](value)
    return values


def _code(value: dict[str, Any]) -> Code:
    return Code(**{name: _text(part) for name, part in value.items()})


def _trial(sweep: str, parameters: dict[str, Json], digest: str = "", number: int | None = None) -> Trial:
    if not isinstance(parameters, dict) or not isinstance(number, int | None):
        raise TypeError(parameters)
    return Trial(_text(sweep), parameters, _text(digest), number)


def _usage(value: object) -> Usage | None:
    """Return a usage; `None` if it is none of this release: a checkpoint counts without it."""
    try:
        found = {name: value[name] for name in _OF_USAGE if name in value}  # type: ignore[index,operator]
        numbers = [None if found.get(name) is None else int(found[name]) for name in _OF_USAGE[2:]]
        return Usage(float(found["cpu_s"]), int(found["peak_bytes"]), *numbers)
    except (TypeError, ValueError, KeyError, OverflowError):
        return None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _texts(value: list[object]) -> tuple[str, ...]:
    return tuple(map(_text, value))


_CONVERTERS: Final[dict[str, Callable[[Any], object]]] = {
    "outcome": Outcome,
    "code": _code,
    "trial": lambda value: _trial(**value),
    "usage": _usage,
    "outputs": lambda value: tuple(OutputFile(**output) for output in value),
    "builds_on": lambda value: {int(attempt): int(count) for attempt, count in value.items()},
    **dict.fromkeys(("dirty", "imported", "files", "volatile"), _texts),
}
