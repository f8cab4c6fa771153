"""Trials: the name of the folder that a trial's parameters make, and the config that they make.

A folder is called ``a=1,lr=0.001``. A character that would be awkward in a path or in a shell becomes
``%XX``, as in a web address; a name too long for a folder is cut and gets a digest of the whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from job_orchestration.rules.domains import canonical
from job_orchestration.rules.reading import Node
from job_orchestration.rules.settings import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from job_orchestration.model.task import Json

_AWKWARD: Final = re.compile(r"[^A-Za-z0-9._+-]")
_MOST_BYTES: Final = 150
_DIGEST: Final = 10
_TREATMENT: Final = frozenset(RULES) - {"seed"} | {"outputDir", "priority", "after", "tags", "resources"}
"""Keys that say how a run is treated and not what it computes; ``outputDir`` is asked for by its template."""


def name_of(parameters: Mapping[str, Json], most: int = _MOST_BYTES) -> str:
    """The name of a trial's folder; of at most so many bytes, which are ASCII."""
    name = ",".join(f"{_escaped(key)}={text_of(value)}" for key, value in parameters.items())
    return bounded(name.lstrip("."), most)


def bounded(name: str, most: int) -> str:
    """A name, or its beginning and a digest of it when it is too long."""
    if len(name.encode()) <= most:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
    return f"{name.encode()[: most - _DIGEST - 1].decode(errors='ignore')}+{digest}"


def text_of(value: Json) -> str:
    """A value as it stands in a folder's name."""
    if isinstance(value, str):
        return _escaped(value)
    if isinstance(value, list) and value and not any(isinstance(item, list | dict) for item in value):
        return "+".join(text_of(item) for item in value)
    return _escaped(canonical(value))


def _escaped(text: str) -> str:
    return _AWKWARD.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), text)


def split_key(key: str, ids: Iterable[str]) -> tuple[str | None, str]:
    """The task and the key that ``taskId.key`` means; no task for a key of the top level."""
    owners = [id_ for id_ in ids if id_ and key.startswith(f"{id_}.")]
    owner = max(owners, key=len, default=None)
    return owner, key if owner is None else key[len(owner) + 1 :]


def config_with(root: Node, parameters: Mapping[str, Node]) -> Node:
    """A config without its ``sweep`` and with these values, each at the place where the sweep says it."""
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
    """The ids of a config's tasks, as far as they can be read."""
    entry = root.value.get("tasks") if isinstance(root.value, Mapping) else None
    tasks = entry[1].value if entry else ()
    return [id_ for task in tasks if (id_ := _id(task))] if isinstance(tasks, tuple) else []


def is_always_overlaid(root: Node, key: str) -> bool:
    """Whether each task of a config has a value of its own for a key of the top level."""
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


def values_with(values: Mapping[str, Json], parameters: Mapping[str, Json]) -> dict[str, Json]:
    """A checked config with other values for its parameters."""
    entries = values.get("tasks")
    tasks = [dict(t) for t in entries if isinstance(t, dict)] if isinstance(entries, list) else []
    by_id = {str(task.get("id")): task for task in tasks}
    found: dict[str, Json] = {**values, "tasks": list(tasks)}
    for key, value in parameters.items():
        owner, name = split_key(key, by_id)
        (found if owner is None else by_id[owner])[name] = value
    return found


def digest_of(values: Mapping[str, Json], parameters: Mapping[str, Json], template: str) -> str:
    """What is equal for two trials that compute the same into folders of the same pattern."""
    computed = {key: value for key, value in values.items() if key not in _TREATMENT}
    text = json.dumps([computed, dict(parameters), template], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
