"""`foreach` in the entry of a task: the elements that the task is called for, one after another.

Elements are a list, a whole number (that many, from 0), ``${tasks.ID.result}`` (what an earlier task
returned, or a part of it), or the path of an NDJSON file. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.diagnostics.problems import Fault, quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from job_orchestration.config.config import Json

FOREACH: Final = "foreach"
NAMES: Final = (FOREACH, "argsList")
"""The key, and its name in DL jobs."""
PARALLEL: Final = "parallel"
ELEMENT: Final = "element"
INDEX: Final = "elementIndex"
"""Keys of the config of one element: the element itself, and its number from 0."""
MOST: Final = 10_000_000
_MOST_PARALLEL: Final = 1024
_RESULT: Final = re.compile(r"\$\{tasks\.([^.{}]+)\.result((?:\.[^.{}]+)*)\}")
_WANTED: Final = "a list, a number of elements, ${tasks.ID.result} or the path of an NDJSON file"


def given(entry: Mapping[str, Json]) -> Json:
    """Return what an entry of a task says about its elements; `None` if it is no mapped task."""
    for name in NAMES:
        if name in entry:
            return entry[name]
    return None


def earlier_result(value: Json) -> tuple[str, tuple[str, ...]] | None:
    """Return the task and the keys that lead into its result, if elements come from there."""
    found = _RESULT.fullmatch(value) if isinstance(value, str) else None
    return (found[1], tuple(filter(None, found[2].split(".")))) if found else None


def is_file(value: Json) -> bool:
    """Return whether the elements lie in a file."""
    return isinstance(value, str) and "${" not in value


def listed(value: Json) -> Sequence[Json] | None:
    """Return the elements as far as the config itself has them, or what an earlier task returned is them."""
    if isinstance(value, list):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST:
        return range(value)
    return None


def inside(result: Json, keys: tuple[str, ...]) -> Json:
    """Return a part of a result.

    Raises:
        LookupError: if it has no such part.
    """
    for key in keys:
        if isinstance(result, Mapping) and key in result:
            result = result[key]
        elif isinstance(result, list) and key.isdecimal() and int(key) < len(result):
            result = result[int(key)]
        else:
            raise LookupError(key)
    return result


def without(values: Mapping[str, Json]) -> dict[str, Json]:
    """Return the config of a mapped task without the elements, which no element gets: they may be many."""
    entries = values.get("tasks")
    kept = _without(values)
    if not isinstance(entries, list):
        return kept
    return {**kept, "tasks": [_without(entry) if isinstance(entry, dict) else entry for entry in entries]}


def _without(entry: Mapping[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in entry.items() if key not in NAMES}


def values_for(values: Mapping[str, Any], element: Json, index: int, *, spread: bool) -> dict[str, Any]:
    """Return the config of one element.

    Args:
        values: the config of the task.
        element: the element.
        index: its number, from 0.
        spread: whether the keys of a mapping override those of the config.
    """
    own = element if spread and isinstance(element, Mapping) else {}
    return {**values, **own, ELEMENT: element, INDEX: index}


def is_parallel(value: Json) -> bool:
    """Return whether a value of ``parallel`` is right."""
    if isinstance(value, bool) or not isinstance(value, int):
        return value in (None, "auto")
    return 1 <= value <= _MOST_PARALLEL


def faults_of(entry: Mapping[str, Json], earlier: Collection[str]) -> list[tuple[str, Fault]]:
    """Return what is wrong with the elements of a task, each with its key.

    Args:
        entry: the entry of the task.
        earlier: the ids of the tasks before it.
    """
    names = [name for name in NAMES if name in entry]
    if not names:
        return []
    name, value = names[0], entry[names[0]]
    found: list[tuple[str, Fault]] = []
    if len(names) > 1:
        found.append((names[1], Fault(f"this means the same as {FOREACH}", "Leave one of the two out")))
    if not is_parallel(entry.get(PARALLEL)):
        fault = Fault(
            f"this is no number of processes from 1 to {_MOST_PARALLEL}",
            "Write a number, or auto for one a CPU",
        )
        found.append((PARALLEL, fault))
    if not isinstance(value, str):
        if listed(value) is None:
            found.append((name, Fault(f"this is not {_WANTED}", f"Write {FOREACH}: [1, 2, 3]")))
        return found
    source = earlier_result(value)
    if source is not None and source[0] not in earlier:
        todo = f"The tasks before it are: {', '.join(earlier)}" if earlier else "There is no task before it"
        found.append((name, Fault(f"there is no earlier task {quoted(source[0])}", todo)))
    elif source is None and (not value or "\0" in value or not is_file(value)):
        found.append(
            (name, Fault(f"{quoted(value)} is not {_WANTED}", f"Write {FOREACH}: ${{tasks.ID.result}}"))
        )
    return found
