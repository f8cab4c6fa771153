"""The JSON Schema of configs: lets an editor complete keys and underline mistakes.

It is built from the tables that the checks read, so a config that passes the checks also passes the schema,
unless they warn of a key: an editor underlines that too. The converse does not hold: a schema sees one file.
It does not know ``workspace.yaml`` (so no key is required), and cannot count bytes or look for a class. It
accepts other unknown keys, which belong to the tasks. The patterns mean the same in Python and in ECMAScript.
Pure.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config import elements, key_reference, misspelling_patterns, sweep_schema
from job_orchestration.config.notification_settings import (
    CALLBACK,
    CALLBACK_FLAGS,
    MAIL_SERVER,
    NOT_OFFERED,
    NOTIFY,
    NOTIFY_ADDRESS,
    NotificationEvent,
)
from job_orchestration.config.settings import RULES
from job_orchestration.config.validation import (
    KNOWN_DEFAULTS,
    KNOWN_KEYS,
    OF_THE_SERVER,
    OLD_PATH_TO_TASKS,
)
from job_orchestration.config.words_without_effect import (
    MAY_BE_A_PARAMETER,
    OTHER_WORDS,
    OWN_OF_TASK,
    RESERVED,
    WORDS,
)
from job_orchestration.workspace.naming import RESERVED_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from job_orchestration.config.config import Json

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
CONFIG_FILE: Final = "config.schema.json"
WORKSPACE_FILE: Final = "workspace.schema.json"

_UNSEEN: Final = r"\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069"
_LETTER: Final = r"(?:[A-Za-z_]|[^\u0000-\u007f])"
_IDENTIFIER: Final = rf"{_LETTER}(?:[0-9]|{_LETTER})*"
_METHOD: Final = rf"^(?:{_IDENTIFIER}(?:\.{_IDENTIFIER})*:)?{_IDENTIFIER}$"
_ID: Final = rf"^[^./~{_UNSEEN}][^/~{_UNSEEN}]*$"
_OUTPUT_DIR: Final = (
    rf"^(?!/)(?!.*(?:^|/)\.)(?=.*[^/])(?:[^{{}}~{_UNSEEN}]|\{{(?:date|time|name|commit)\}})+$"
)
_TEXT: Final = {"type": "string", "pattern": r"^[^\u0000]+$"}
_SOMETHING: Final = {"type": "string", "pattern": "[^ ]"}
_URL: Final = {"type": "string", "pattern": r"^(?:[hH][tT][tT][pP][sS]?://|\$\{)"}
_ELEMENTS: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "array"},
        {"type": "integer", "minimum": 0, "maximum": elements.MOST},
        {
            "type": "string",
            "pattern": r"^(?:\$\{tasks\.[^.{}]+\.result(?:\.[^.{}]+)*\}|(?!.*\$\{)[^\u0000]+)$",
        },
    ]
}
_PARALLEL: Final[dict[str, Any]] = {
    "anyOf": [{"type": "integer", "minimum": 1, "maximum": 1024}, {"enum": ["auto", None]}]
}
_DETAILS: Final = "docs/config.md of the package describes every key, with examples."


def config_schema(samplers: Sequence[str] = ()) -> dict[str, Json]:
    """Return the schema of a config; `samplers` are those of other packages."""
    return {
        "$schema": DIALECT,
        "title": "A config of job_orchestration",
        "description": f"One experiment. Keys that are not listed here are passed to every task. {_DETAILS}",
        "type": "object",
        "properties": {
            **_known(),
            "sweep": _described("sweep", sweep_schema.sweep(samplers)),
            NOTIFY: _described(NOTIFY, _recipients({NotificationEvent.QUEUE_EMPTY})),
        },
        "patternProperties": _refused(WORDS, _without_effect),
        "allOf": [*_misspelt(KNOWN_KEYS)],
        "$defs": sweep_schema.definitions(),
    }


def workspace_schema() -> dict[str, Json]:
    """Return the schema of ``workspace.yaml``: the same keys, as defaults for every config."""
    server: Any = {
        "type": ["string", "null"],
        "description": key_reference.WORKSPACE_ONLY[MAIL_SERVER].meaning,
    }
    dashboard: Any = {
        "type": ["string", "null"],
        "description": key_reference.WORKSPACE_ONLY["dashboardUrl"].meaning,
    }
    limit = key_reference.WORKSPACE_ONLY["cacheLimit"]
    cache: Any = {
        **(RULES["memoryLimit"].schema or {}),
        "description": limit.meaning,
        "default": limit.default,
    }
    return {
        "$schema": DIALECT,
        "title": "Defaults of a job_orchestration workspace",
        "description": f"Default values of keys that a config leaves out. {_DETAILS}",
        "type": "object",
        "properties": {
            **_known(),
            NOTIFY: _described(NOTIFY, _recipients(())),
            "dashboardUrl": dashboard,
            "cacheLimit": cache,
            MAIL_SERVER: server,
            **{key: _globs(key) for key in OF_THE_SERVER},
        },
        "patternProperties": {
            **_refused(WORDS, _without_effect),
            **_refused(["sweep"], lambda _: "Write it into the config that it is for."),
        },
        "allOf": [*_misspelt(KNOWN_DEFAULTS)],
    }


def _globs(key: str) -> dict[str, Json]:
    texts: Any = {"type": "array", "items": {"type": "string"}}
    return {
        "anyOf": [{"type": ["string", "null"]}, texts],
        "description": key_reference.WORKSPACE_ONLY[key].meaning,
    }


def _known() -> dict[str, Json]:
    """Return the keys that a config and ``workspace.yaml`` have in common, but for ``notify``."""
    return {
        "tasks": _described("tasks", {"type": "array", "minItems": 1, "items": _task()}),
        "outputDir": _described("outputDir", {"type": "string", "pattern": _OUTPUT_DIR}),
        "pathToTasks": _described("pathToTasks", _or_null(_TEXT)),
        OLD_PATH_TO_TASKS: {**_or_null(_TEXT), "deprecated": True, "description": "Write pathToTasks."},
        "githubRepository": _described("githubRepository", _or_null(_TEXT)),
        "name": _described("name", {}),
        "tags": _described("tags", {}),
        **{key: _described(key, _or_null(rule.schema or {})) for key, rule in RULES.items()},
        CALLBACK: _described(CALLBACK, _or_null(_URL)),
        NOTIFY_ADDRESS: _described(NOTIFY_ADDRESS, _or_null({"type": "string", "format": "email"})),
        **{key: _described(key, _or_null({"type": "boolean"})) for key in CALLBACK_FLAGS},
    }


def _task() -> dict[str, Json]:
    reserved: list[Json] = [*sorted(RESERVED_NAMES)]
    known = key_reference.TASK
    suggested = [key for key in ("timeout", *RULES) if key not in MAY_BE_A_PARAMETER]
    settings = [key for key in RULES if key not in OWN_OF_TASK | MAY_BE_A_PARAMETER]
    return {
        "type": "object",
        "description": "Keys that are not listed here override those at the top.",
        "required": ["id", "method"],
        "properties": {
            "id": {
                "type": "string",
                "maxLength": 100,
                "pattern": _ID,
                "not": {"enum": reserved},
                "description": known["id"].meaning,
            },
            "method": {"type": "string", "pattern": _METHOD, "description": known["method"].meaning},
            "timeout": {**_or_null(RULES["timeout"].schema or {}), "description": known["timeout"].meaning},
            **{name: {**_ELEMENTS, "description": known["foreach"].meaning} for name in elements.NAMES},
        },
        "if": {"anyOf": [{"required": [name]} for name in elements.NAMES]},
        "then": {"properties": {elements.PARALLEL: {**_PARALLEL, "description": known["parallel"].meaning}}},
        "patternProperties": _refused(
            dict.fromkeys(key for key in (*WORDS, *settings) if key not in elements.NAMES),
            _without_effect_on_task,
        ),
        "allOf": [*_misspelt(suggested)],
    }


def _recipients(excluded: Iterable[NotificationEvent]) -> dict[str, Json]:
    """Return the schema of ``notify``, without some events; a plugin's key is a notifier as well."""
    known = key_reference.RECIPIENT
    target: dict[str, Any] = {
        "anyOf": [_SOMETHING, {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}}]
    }
    without = {*NOT_OFFERED, *excluded}
    event: dict[str, Json] = {"enum": [str(e) for e in NotificationEvent if e not in without]}
    entry: dict[str, Json] = {
        "type": "object",
        "properties": {
            **{key: {**target, "description": known[key].meaning} for key in ("to", "command", "callback")},
            "on": {
                "anyOf": [event, {"type": "array", "minItems": 1, "items": event}],
                "description": known["on"].meaning,
            },
        },
        "additionalProperties": target,
        "if": {"required": ["on"]},
        "then": {"minProperties": 2, "maxProperties": 2},
        "else": {"minProperties": 1, "maxProperties": 1},
    }
    one: list[Any] = [_SOMETHING, entry]
    return {"anyOf": [*one, {"type": "array", "items": {"anyOf": one}}, {"type": "null"}]}


# -- keys that are refused -------------------------------------------------------------------------------


def _refused(keys: Iterable[str], sentence: Callable[[str], str]) -> dict[str, Json]:
    """Return ``patternProperties`` that refuse keys: as ``properties`` an editor would offer them."""
    by_sentence: dict[str, list[str]] = {}
    for key in keys:
        by_sentence.setdefault(sentence(key), []).append(key)
    return {f"^(?:{'|'.join(names)})$": _never(text) for text, names in by_sentence.items()}


def _without_effect(key: str) -> str:
    if key in RESERVED:
        return "This does nothing; a later version will give it a meaning."
    return f"This does nothing. Write {OTHER_WORDS[key]}." if OTHER_WORDS[key] else "This does nothing."


def _without_effect_on_task(key: str) -> str:
    return "Write it at the top of the config, for the whole run." if key in RULES else "This does nothing."


def _misspelt(keys: Iterable[str]) -> Iterator[Json]:
    """Yield schemas that refuse misspellings of keys which are not there themselves."""
    for key in keys:
        never: Any = {
            "patternProperties": {misspelling_patterns.pattern_of(key): _never(f"Did you mean {key}?")}
        }
        yield {"if": {"not": {"required": [key]}}, "then": never}


def _never(description: str) -> dict[str, Json]:
    return {"not": {}, "description": description}


# -- small parts -----------------------------------------------------------------------------------------


def _described(key: str, schema: Any) -> dict[str, Json]:
    known = key_reference.TOP[key]
    default: Mapping[str, Json] = {} if known.default[:1] in {"", "("} else {"default": _value(known.default)}
    return {**schema, "description": known.meaning, **default}


def _value(text: str) -> Json:
    """Return a default as a value; the few that are no text are words of JSON."""
    return json.loads(text) if text in {"null", "true", "false", "[]", "{}"} or text.isdecimal() else text


def _or_null(schema: Any) -> dict[str, Json]:
    """Return a schema that also accepts ``null``, which means the same as leaving the key out."""
    return {"anyOf": [*schema.get("anyOf", [schema]), {"type": "null"}]}
