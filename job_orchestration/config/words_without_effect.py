"""Find keys that look as if they did something and do nothing: they only reach the tasks.

Unknown keys belong to the tasks, so a key is only doubted for a reason: it is a word for this in other tools
(``needs``), it will have a meaning in a later version (``key``), it is a setting of a run in the entry of
one task, or it is spelt almost like a known key. A value is doubted if it has a ``${…}`` that other tools
would replace. Each is a warning, because a task may read it. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.config import elements
from job_orchestration.config.settings import RULES
from job_orchestration.diagnostics.problems import quoted
from job_orchestration.diagnostics.suggestions import did_you_mean, nearest_key

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from job_orchestration.config.config import Json

RESERVED: Final = ("key", "job_type", "job_params", "legacyNames")
"""Words that a later version will give a meaning."""

_ORDER: Final = ("needs", "depends_on", "dependsOn", "requires", "deps", "run_after", "runAfter")
_REPEAT: Final = ("foreach", "for_each", "forEach", "matrix", "with_items")
_RETRIES: Final = ("retries", "max_retries", "maxRetries", "retry")
_CONDITIONS: Final = ("when", "if", "unless", "run_if", "runIf")
OTHER_WORDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(_ORDER, "after"),
    **dict.fromkeys(_REPEAT, "sweep"),
    **dict.fromkeys(_RETRIES, "maxAttempts"),
    **dict.fromkeys(_CONDITIONS, ""),
}
"""Words of other tools, with the key that means the same here; empty if there is none."""

WORDS: Final = (*RESERVED, *OTHER_WORDS)
OWN_OF_TASK: Final = frozenset({"id", "method", "timeout", *elements.NAMES})
"""Keys of a task's entry that mean something there."""
MAY_BE_A_PARAMETER: Final = frozenset({"seed", "priority"})
"""Settings that are likely names of a task's own parameters."""

_REPLACED: Final = frozenset({"notify", "callbackUrl"})
"""Keys in which variables of the environment are replaced."""
_PLACEHOLDER: Final = re.compile(r"\$\{[^{}]*\}")
_ELEMENTS: Final = re.compile(rf"tasks\[[0-9]+\]\.(?:{'|'.join(elements.NAMES)})")
"""Where an earlier result is named."""
_MOST_PLACEHOLDERS: Final = 5

_ONLY_TASKS: Final = "this does nothing, only the tasks get it"
_ONLY_TASK: Final = "this does nothing in the entry of a task, only the task gets it"


class Doubt(NamedTuple):
    """A key that may be meant otherwise: a sentence about it and one of what to do, without full stops."""

    key: str
    what: str
    todo: str


def at_the_top(keys: Iterable[str], known: Sequence[str], present: Container[str]) -> Iterator[Doubt]:
    """Yield the doubtful keys of the top level of a config or of ``workspace.yaml``.

    Args:
        keys: the keys that the file has.
        known: the keys that mean something there.
        present: keys that are not suggested, because the config has them.
    """
    for key in keys:
        if key in WORDS:
            yield _word(key, _ONLY_TASKS)
        elif near := nearest_key(key, known, present):
            yield Doubt(
                key, "this is not a known key, so only the tasks get it", did_you_mean([quoted(near)])
            )


def in_entry(entry: Mapping[str, Json]) -> Iterator[Doubt]:
    """Yield the doubtful keys of a task's entry."""
    for key in entry:
        if key in OWN_OF_TASK or key in MAY_BE_A_PARAMETER:
            continue
        if key == "after" or OTHER_WORDS.get(key) == "after":
            yield Doubt(key, _ONLY_TASK, "Tasks run in the order of the list; take it out")
        elif key in WORDS:
            yield _word(key, _ONLY_TASK)
        elif key in RULES:
            yield Doubt(key, _ONLY_TASK, "Write it at the top of the config, for the whole run")
        elif (near := nearest_key(key, ("timeout", *RULES), entry)) and near not in MAY_BE_A_PARAMETER:
            where = "" if near == "timeout" else ", at the top of the config"
            what = "this is not a known key, so only the task gets it"
            yield Doubt(key, what, did_you_mean([f"{quoted(near)}{where}"]))


def in_values(values: Mapping[str, Json]) -> Iterator[Doubt]:
    """Yield the values of a config that hold a ``${…}``, by keys such as ``tasks[0].path``: the first few."""
    number = 0
    for key, text in _texts({key: value for key, value in values.items() if key not in _REPLACED}, ""):
        match = _PLACEHOLDER.search(text)
        if match is None or _ELEMENTS.fullmatch(key):
            continue
        number += 1
        if number > _MOST_PLACEHOLDERS:
            return
        what = f"{quoted(match[0])} is not replaced, the tasks get it as it stands"
        yield Doubt(
            key, what, "Write the value itself; only notify and callbackUrl know variables of the environment"
        )


def _texts(value: Json, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{key}[{number}]")


def _word(key: str, what: str) -> Doubt:
    if key in RESERVED:
        return Doubt(
            key, f"{what}; a later version will give it a meaning", "Choose another name for a parameter"
        )
    near = OTHER_WORDS[key]
    todo = did_you_mean([quoted(near)]) if near else "There are no conditions: let the task decide in run()"
    return Doubt(key, what, todo)
