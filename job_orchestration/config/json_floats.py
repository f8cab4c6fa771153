"""Encode values with NaN or infinities as JSON, which has no notation for them.

Files of the workspace keep these numbers: ``{"$float": "nan"}``, ``"inf"`` or ``"-inf"`` stands for the
number, so the files stay JSON that any program reads. A user's mapping that has only the key ``$float`` is
kept in a list under that key. Output for other programs has null instead (`strict_text`). Pure.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any, Final

_dumps: Final = json.dumps
_loads: Final = json.loads
"""A task may replace those of the module, and what it returns is encoded after that."""
_MARK: Final = "$float"
_QUOTED: Final = f'"{_MARK}"'
_QUOTED_BYTES: Final = _QUOTED.encode()
_NUMBERS: Final = frozenset({"nan", "inf", "-inf"})


def text_of(value: Any, **options: Any) -> str:
    """Return a value as JSON for a file of the workspace; the options are those of `json.dumps`."""
    try:
        text = _dumps(value, allow_nan=False, **options)
    except ValueError:  # the value has such a number, or a circle, which fails again
        text = _QUOTED
    if _QUOTED not in text:
        return text
    plain = _loads(_dumps(value, **options))
    return _dumps(_marked(plain), allow_nan=False, **{k: v for k, v in options.items() if k != "default"})


def value_of(text: str | bytes) -> Any:
    """Return the value of a JSON text that `text_of` made.

    Raises:
        ValueError: if the text is not JSON.
    """
    return restored(json.loads(text), text)


def restored(value: Any, text: str | bytes) -> Any:
    """Return a decoded value with its NaN and infinities restored; `text` is the JSON it was decoded from."""
    marked = _QUOTED in text if isinstance(text, str) else _QUOTED_BYTES in text
    return _unmarked(value) if marked else value


def strict_text(value: Any, **options: Any) -> str:
    """Return a value as JSON for other programs: NaN and infinities are null."""
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(strict(json.loads(json.dumps(value, **options))), allow_nan=False, **options)


def strict(value: Any) -> Any:
    """Return a value with NaN and infinities replaced by null."""
    match value:
        case float():
            return value if isfinite(value) else None
        case list():
            return [strict(inner) for inner in value]
        case dict():
            return {key: strict(inner) for key, inner in value.items()}
        case _:
            return value


def _marked(value: Any) -> Any:
    match value:
        case float() if not isfinite(value):
            return {_MARK: str(value)}
        case list():
            return [_marked(inner) for inner in value]
        case dict():
            made = {key: _marked(inner) for key, inner in value.items()}
            return {_MARK: [made]} if made.keys() == {_MARK} else made
        case _:
            return value


def _unmarked(value: Any) -> Any:
    match value:
        case list():
            return [_unmarked(inner) for inner in value]
        case dict():
            content = value.get(_MARK)
            if len(value) == 1 and isinstance(content, str) and content in _NUMBERS:
                return float(content)
            if len(value) == 1 and isinstance(content, list) and len(content) == 1:
                return {_MARK: _unmarked(content[0].get(_MARK))} if isinstance(content[0], dict) else value
            return {key: _unmarked(inner) for key, inner in value.items()}
        case _:
            return value
