"""Where a parameter stands in a config: ``key`` at the top level, ``taskId.key`` in a task's entry. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_orchestration.diagnostics.problems import Fault, escaped, named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from job_orchestration.config.config import Json


def split_key(key: str, ids: Iterable[str]) -> tuple[str | None, str]:
    """The task and the key that ``taskId.key`` means; no task for a key of the top level."""
    owners = [id_ for id_ in ids if id_ and key.startswith(f"{id_}.")]
    owner = max(owners, key=len, default=None)
    return owner, key if owner is None else key[len(owner) + 1 :]


def whole_values(values: Mapping[str, Json], parameters: Mapping[str, Json]) -> dict[str, Json]:
    """The parameters, where a key with dots that leads into a mapping stands for the whole mapping.

    ``model.layers`` is a part of the key ``model`` if that is a mapping and no task's id.
    """
    entries = values.get("tasks")
    tasks = [t for t in entries if isinstance(t, dict)] if isinstance(entries, list) else []
    by_id = {str(task.get("id")): task for task in tasks}
    found: dict[str, Json] = {}
    for key, value in parameters.items():
        owner, name = split_key(key, by_id)
        within = values if owner is None else by_id[owner]
        top, dot, rest = name.partition(".")
        start = f"{owner}.{top}" if owner is not None else top
        mapping = found.get(start, within.get(top))
        if dot and name not in within and isinstance(mapping, dict):
            found[start] = _with(mapping, rest, value)
        else:
            found[key] = value
    return found


def _with(mapping: Mapping[str, Json], key: str, value: Json) -> dict[str, Json]:
    """A mapping with another value for a key, whose dots lead into mappings below it."""
    top, dot, rest = key.partition(".")
    below = mapping.get(top)
    if dot and key not in mapping and isinstance(below, dict):
        return {**mapping, top: _with(below, rest, value)}
    return {**mapping, key: value}


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


def put(values: Mapping[str, Json], key: str, value: Json) -> tuple[dict[str, Json], Fault | None]:
    """Return a config with a value under a dotted key: ``taskId.key``, or the way into nested mappings.

    Args:
        values: the config, as its author wrote it.
        key: the dotted key. A key that has the dots in its own name comes first.
        value: the new value.

    Returns:
        The new config, and why the key leads nowhere, if it does; a mapping on its way must be there.
    """
    entries = values.get("tasks")
    tasks = [dict(t) if isinstance(t, dict) else t for t in entries] if isinstance(entries, list) else None
    found: dict[str, Json] = dict(values) if tasks is None else {**values, "tasks": list(tasks)}
    by_id = {str(task.get("id")): task for task in tasks or () if isinstance(task, dict)}
    owner, name = (None, key) if key in values else split_key(key, by_id)
    target: dict[str, Json] = found if owner is None else by_id[owner]
    while "." in name and name not in target:
        first, _, rest = name.partition(".")
        inner = target.get(first)
        if not isinstance(inner, dict):
            known = named(
                escaped(str(k)) for k in (*by_id, *(k for k, v in values.items() if isinstance(v, dict)))
            )
            todo = (
                f"Before a dot stands a task or a mapping: {known}" if known else "It has no tasks with ids"
            )
            return dict(values), Fault(f"there is no {escaped(first)} for {escaped(key)}", todo)
        target[first] = target = dict(inner)
        name = rest
    target[name] = value
    return found, None
