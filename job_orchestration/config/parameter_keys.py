"""Where a parameter stands in a config: ``key`` at the top level, ``taskId.key`` in a task's entry. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
