"""Make the folder name and the config of a trial from its parameters.

A folder's name looks like ``a=1,lr=0.001``. A character that has a special meaning in a path or in a shell
becomes ``%XX``, as in a URL; a name too long for a folder is cut and gets a digest of the whole. Pure.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from job_orchestration.config.parameter_keys import split_key
from job_orchestration.config.settings import RULES
from job_orchestration.config.yaml_reader import Node
from job_orchestration.search.parameter_space import canonical
from job_orchestration.workspace import naming

if TYPE_CHECKING:
    from job_orchestration.config.config import Json

_AWKWARD: Final = re.compile(r"[^A-Za-z0-9._+-]")
_MOST_BYTES: Final = 150
_TREATMENT: Final = frozenset(RULES) - {"seed"} | {"outputDir", "priority", "after", "tags", "resources"}
"""Keys that do not change what a run computes; the template of ``outputDir`` is compared separately."""


def name_of(parameters: Mapping[str, Json], most: int = _MOST_BYTES) -> str:
    """Return the name of a trial's folder, in ASCII and at most so many bytes long."""
    name = ",".join(f"{_escaped(key)}={text_of(value)}" for key, value in parameters.items())
    return naming.bounded(name.lstrip("."), most)


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
