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
