"""The JSON Schema of configs: lets an editor complete keys and underline mistakes.

It is built from the tables that the checks read, so a config that passes the checks also passes the schema.
The converse does not hold: a schema sees one file. It does not know ``workspace.yaml`` (so no key is
required), and cannot count bytes or look for a class. It accepts unknown keys, which belong to the tasks. The
patterns mean the same in Python and in ECMAScript. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config.settings import RULES
from job_orchestration.config.validation import KNOWN_KEYS, OLD_PATH_TO_TASKS
from job_orchestration.workspace.naming import RESERVED_NAMES

if TYPE_CHECKING:
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

_DESCRIPTIONS: Final = {
    "maxAttempts": "Number of tries of each task before the run gives up.",
    "retryDelay": "The time between a failed try and the next one.",
    "maxInterruptions": "Number of interruptions since the last finished task that a run may have.",
    "isolation": "fork: start from a process that has imported the tasks. spawn: start a new Python.",
    "graceTime": "Time that a task has to end after its worker is asked to stop.",
    "timeout": "Longest time of a run; in a task's own entry: of each of its tries.",
    "stallTimeout": "Longest time that a task's interpreter may stand still; then it is stopped.",
    "memoryLimit": "Memory limit of a run, including the processes that it starts.",
    "logLimit": "Largest size of log.log.",
    "overwriteOutputFine": "true: a finished run of the same outputDir moves to Misc/trash first.",
    "ignoredFiles": "Patterns of untracked files that never count as uncommitted, as in a .gitignore.",
    "UNSAFE_ignoreDirtyCheck": "true: uncommitted changes are captured instead of refused.",
    "seed": "Seed of random, NumPy and PyTorch; null draws a number and records it.",
    "githubRepository": "Address of the code's repository; only recorded.",
    "pathToTasks": "The folder of Tasks.py, in a git work tree.",
    "outputDir": "The run's folder below Output/; may hold {date}, {time}, {name} and {commit}.",
    "tasks": "The tasks of the run, in order.",
}
"""Description that an editor shows beside a key."""


def config_schema() -> dict[str, Json]:
    """Return the schema of a config."""
    return _schema(
        "A config of job_orchestration",
        "One experiment. Keys that are not listed here are passed to every task.",
    )


def workspace_schema() -> dict[str, Json]:
    """Return the schema of ``workspace.yaml``: the same keys, as defaults for every config."""
    return _schema(
        "Defaults of a job_orchestration workspace",
        "Default values of keys that a config leaves out.",
    )


def _schema(title: str, description: str) -> dict[str, Json]:
    return {
        "$schema": DIALECT,
        "title": title,
        "description": description,
        "type": "object",
        "properties": {**{key: _described(key, {}) for key in KNOWN_KEYS}, **_known()},
    }


def _known() -> dict[str, Json]:
    return {
        **{key: _setting(key) for key in RULES},
        "githubRepository": _described("githubRepository", _or_null(_TEXT)),
        "pathToTasks": _described("pathToTasks", _or_null(_TEXT)),
        OLD_PATH_TO_TASKS: {**_or_null(_TEXT), "deprecated": True, "description": "Write pathToTasks."},
        "outputDir": _described("outputDir", {"type": "string", "pattern": _OUTPUT_DIR}),
        "tasks": _described("tasks", {"type": "array", "minItems": 1, "items": _task()}),
    }


def _task() -> dict[str, Json]:
    reserved: list[Json] = [*sorted(RESERVED_NAMES)]
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
    return _described(key, _or_null(RULES[key].schema or {}))


def _described(key: str, schema: Any) -> dict[str, Json]:
    return {**schema, "description": _DESCRIPTIONS[key]} if key in _DESCRIPTIONS else {**schema}


def _or_null(schema: Any) -> dict[str, Json]:
    """Return a schema that also accepts ``null``, which means the same as leaving the key out."""
    return {"anyOf": [*schema.get("anyOf", [schema]), {"type": "null"}]}
