"""Make the folder name and the config of a trial from its parameters.

A folder's name looks like ``a=1,lr=0.001``. A character that has a special meaning in a path or in a shell
becomes ``%XX``, as in a URL; a name too long for a folder is cut and gets a digest of the whole. Of a path
only the last part is in the name, if no other value of that parameter in the sweep has the same. Pure.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Final, TypeAlias

from job_orchestration.config.parameter_keys import split_key
from job_orchestration.config.settings import RULES
from job_orchestration.config.yaml_reader import Node
from job_orchestration.search.parameter_space import canonical
from job_orchestration.workspace import naming

if TYPE_CHECKING:
    from collections.abc import Iterable

    from job_orchestration.config.config import Json

_AWKWARD: Final = re.compile(r"[^A-Za-z0-9._+-]")
_PATH: Final = re.compile(r"(?:/|~/|\.\.?/).*[^/].*|.+/[^/]*\.[A-Za-z0-9]+", re.DOTALL)
"""A text that is a path: it begins like one, or ends in a file's name with an ending."""
_MOST_BYTES: Final = 150
_MOST_PATHS: Final = 4
"""With more paths among the parameters of a trial, all of them or none are looked for by their last part."""
_TREATMENT: Final = frozenset(RULES) - {"seed"} | {"outputDir", "priority", "after", "tags", "resources"}
"""Keys that do not change what a run computes; the template of ``outputDir`` is compared separately."""


Texts: TypeAlias = "Mapping[str, Mapping[str, str]]"
"""By parameter and canonical value: the text in a folder's name, where it is not that of `text_of`."""


def name_of(parameters: Mapping[str, Json], shortened: Texts | None = None) -> str:
    """Return the name of a trial's folder, in ASCII and at most 150 bytes long.

    Args:
        parameters: the values of the trial.
        shortened: what `last_parts` found for the sweep; no path is shortened without it.
    """
    pieces = []
    for key, value in parameters.items():
        texts = shortened.get(key) if shortened else None
        text = texts.get(canonical(value)) if texts else None
        pieces.append(f"{_escaped(key)}={text_of(value) if text is None else text}")
    return naming.bounded(",".join(pieces).lstrip("."), _MOST_BYTES)


def last_parts(family: Iterable[Mapping[str, Json]]) -> Texts:
    """Return the paths among the values of a sweep that their last part tells apart from the other values."""
    found: dict[str, dict[str, str]] = {}
    others: dict[str, set[str]] = {}
    for parameters in family:
        for key, value in parameters.items():
            if (text := _last_part(value)) is not None:
                found.setdefault(key, {})[canonical(value)] = text
            else:
                others.setdefault(key, set()).add(text_of(value))
    for key, texts in found.items():
        count = Counter(texts.values())
        count.update(others.get(key, ()))
        found[key] = {value: text for value, text in texts.items() if count[text] == 1}
    return {key: texts for key, texts in found.items() if texts}


def names_of(parameters: Mapping[str, Json]) -> set[str]:
    """Return the names that a trial with paths can have, whatever other values its sweep had."""
    short = last_parts([parameters])
    if not short:
        return set()
    keys = list(short)
    whole_or_not = [range(len(keys) + 1)] if len(keys) <= _MOST_PATHS else [(0, len(keys))]
    chosen = (some for numbers in whole_or_not for n in numbers for some in combinations(keys, n))
    return {name_of(parameters, {key: short[key] for key in some}) for some in chosen}


def _last_part(value: Json) -> str | None:
    """Return the last part of a path, or those of a list of paths; `None` for all other values."""
    if isinstance(value, str):
        return _escaped(value.rstrip("/").rpartition("/")[2]) if _PATH.fullmatch(value) else None
    parts = [_last_part(item) for item in value] if isinstance(value, list) else []
    return "+".join(map(str, parts)) if parts and None not in parts else None


def text_of(value: Json) -> str:
    """Return a value as part of a folder's name."""
    if isinstance(value, str):
        return _escaped(value)
    if isinstance(value, list) and value and not any(isinstance(item, list | dict) for item in value):
        return "+".join(text_of(item) for item in value)
    return _escaped(canonical(value))


def _escaped(text: str) -> str:
    return _AWKWARD.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), text)


def config_with(root: Node, parameters: Mapping[str, Node]) -> Node:
    """Return a config without its ``sweep`` and with these values, at their positions in the sweep."""
    assert isinstance(root.value, Mapping), "a root is a mapping"
    entries = {key: entry for key, entry in root.value.items() if key != "sweep"}
    tasks = entries["tasks"][1] if "tasks" in entries else None
    ids = ids_of(root)
    for key, node in parameters.items():
        owner, name = split_key(key, ids)
        entry = (Node(node.line, node.column, name), node)
        if owner is None:
            entries[name] = entry
        elif tasks is not None and isinstance(tasks.value, tuple):
            changed = tuple(_with(task, entry) if _id(task) == owner else task for task in tasks.value)
            tasks = Node(tasks.line, tasks.column, changed)
    if tasks is not None:
        entries["tasks"] = (entries["tasks"][0], tasks)
    return Node(root.line, root.column, entries)


def ids_of(root: Node) -> list[str]:
    """Return the valid ids of a config's tasks."""
    entry = root.value.get("tasks") if isinstance(root.value, Mapping) else None
    tasks = entry[1].value if entry else ()
    return [id_ for task in tasks if (id_ := _id(task))] if isinstance(tasks, tuple) else []


def keys_of(root: Node) -> tuple[set[str], dict[str, set[str]]]:
    """Return the keys at the top of a config, and those of each task's entry by task id."""
    top = root.value if isinstance(root.value, Mapping) else {}
    tasks = top["tasks"][1].value if "tasks" in top else ()
    entries = tasks if isinstance(tasks, tuple) else ()
    found = {
        id_: set(task.value) for task in entries if (id_ := _id(task)) and isinstance(task.value, Mapping)
    }
    return set(top), {id_: keys - {"id", "method"} for id_, keys in found.items()}


def is_always_overlaid(root: Node, key: str) -> bool:
    """Return whether each task of a config overrides a key of the top level."""
    entry = root.value.get("tasks") if isinstance(root.value, Mapping) else None
    tasks = entry[1].value if entry else ()
    if not isinstance(tasks, tuple) or not tasks:
        return False
    return all(isinstance(task.value, Mapping) and key in task.value for task in tasks)


def _id(task: Node) -> str:
    entry = task.value.get("id") if isinstance(task.value, Mapping) else None
    return entry[1].value if entry and isinstance(entry[1].value, str) else ""


def _with(task: Node, entry: tuple[Node, Node]) -> Node:
    assert isinstance(task.value, Mapping), "a task with an id is a mapping"
    return Node(task.line, task.column, {**task.value, str(entry[0].value): entry})


def digest_of(values: Mapping[str, Json], parameters: Mapping[str, Json], template: str) -> str:
    """Return a digest: equal for trials that compute the same into folders of the same pattern."""
    computed = {key: value for key, value in values.items() if key not in _TREATMENT}
    text = json.dumps([computed, dict(parameters), template], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
