"""The JSON Schema of configs: what an editor needs to complete a key and to underline a mistake.

It is made from the tables that the checks read, so that the two cannot part: whatever passes the checks
passes the schema. The other way it is not strict. A schema sees one file, and cannot know what
``workspace.yaml`` adds to it (so no key is required), count bytes, or look for a class; nor does it refuse
keys that nobody knows, for they belong to the tasks. The patterns mean the same to Python and to ECMAScript.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from job_orchestration.rules.checking import KNOWN_KEYS, OLD_PATH_TO_TASKS
from job_orchestration.rules.naming import RESERVED_NAMES
from job_orchestration.rules.settings import RULES

if TYPE_CHECKING:
    from job_orchestration.model.task import Json

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

_TOLD: Final = {
    "maxAttempts": "How many tries each task gets before the run gives up.",
    "retryDelay": "The time between a failed try and the next one.",
    "maxInterruptions": "How often a run may be cut off since its last finished task before it gives up.",
    "isolation": "fork: from a process that has imported the tasks already. spawn: a fresh Python.",
    "graceTime": "How long a task may go on after a polite stop of its worker.",
    "timeout": "How long a run may take; in a task's own entry: how long each try of it may take.",
    "stallTimeout": "How long a task's interpreter may stand still before it is stopped.",
    "memoryLimit": "How much memory a run may have, with all that it starts.",
    "logLimit": "How large log.log may grow.",
    "overwriteOutputFine": "Whether a finished run of the same outputDir goes to Misc/trash first.",
    "UNSAFE_ignoreDirtyCheck": "Whether uncommitted changes are captured as they are instead of refused.",
    "seed": "What random, NumPy and PyTorch are seeded with; null draws a number and records it.",
    "githubRepository": "Where the code lives; only recorded.",
    "pathToTasks": "The folder of Tasks.py, in a git work tree.",
    "outputDir": "The run's folder below Output/; may hold {date}, {time}, {name} and {commit}.",
    "tasks": "What the run does, in this order.",
}
"""What an editor shows beside a key."""


def config_schema() -> dict[str, Json]:
    """The schema of a config."""
    return _schema(
        "A config of job_orchestration",
        "One experiment. Keys that are not listed here are passed to every task.",
    )


def workspace_schema() -> dict[str, Json]:
    """The schema of ``workspace.yaml``: the same keys, as defaults for every config."""
    return _schema(
        "Defaults of a job_orchestration workspace",
        "What is written here holds for every config that does not say it itself.",
    )


def _schema(title: str, description: str) -> dict[str, Json]:
    return {
        "$schema": DIALECT,
        "title": title,
        "description": description,
        "type": "object",
        "properties": {**{key: _told(key, {}) for key in KNOWN_KEYS}, **_known()},
    }


def _known() -> dict[str, Json]:
    return {
        **{key: _setting(key) for key in RULES},
        "githubRepository": _told("githubRepository", _or_null(_TEXT)),
        "pathToTasks": _told("pathToTasks", _or_null(_TEXT)),
        OLD_PATH_TO_TASKS: {**_or_null(_TEXT), "deprecated": True, "description": "Write pathToTasks."},
        "outputDir": _told("outputDir", {"type": "string", "pattern": _OUTPUT_DIR}),
        "tasks": _told("tasks", {"type": "array", "minItems": 1, "items": _task()}),
    }


def _task() -> dict[str, Json]:
    reserved: list[Json] = [*sorted(RESERVED_NAMES)]
    return {
        "type": "object",
        "description": "Keys that are not listed here win over those at the top.",
        "required": ["id", "method"],
        "properties": {
            "id": {
                "type": "string",
                "maxLength": 100,
                "pattern": _ID,
                "not": {"enum": reserved},
                "description": "Names the task in the log, and the folder of what it saves.",
            },
            "method": {
                "type": "string",
                "pattern": _METHOD,
                "description": "A class in Tasks.py, or package.module:Name.",
            },
            "timeout": _setting("timeout"),
        },
    }


def _setting(key: str) -> dict[str, Json]:
    return _told(key, _or_null(RULES[key].schema or {}))


def _told(key: str, schema: Any) -> dict[str, Json]:
    return {**schema, "description": _TOLD[key]} if key in _TOLD else {**schema}


def _or_null(schema: Any) -> dict[str, Json]:
    """A schema that takes ``null`` too, which is as good as leaving the key out."""
    return {"anyOf": [*schema.get("anyOf", [schema]), {"type": "null"}]}
