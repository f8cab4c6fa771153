"""Read files of results: ``results.yaml`` in a run's folder, ``metrics.json`` in a task's.

Tasks write these files themselves: they may be large, incomplete or of another kind. Each is read completely,
or left out with a sentence, and none can harm the reader.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Final

import yaml

from job_orchestration.config import json_floats
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.workspace.safe_reads import READ_ONLY

if TYPE_CHECKING:
    from job_orchestration.config.config import Json
    from job_orchestration.runs.state import RunState

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

RESULTS: Final = "results.yaml"
METRICS: Final = "metrics.json"
MOST_BYTES: Final = 1 << 20
_DEEPEST: Final = 32
_LONGEST: Final = 10_000
"""Bits of the largest integer that is accepted; Python refuses to print longer ones."""


def saved(run_folder: str, state: RunState) -> tuple[list[tuple[str, Json]], list[str]]:
    """Return the contents of a run's files of results.

    Returns:
        Each under the id of the task whose folder it lies in, or under none; and a sentence for each file
        that had to be left out.
    """
    names = [("", RESULTS)]
    for task in state.tasks:
        own = {os.path.join(task.folder or "", name) for name in (RESULTS, METRICS)}
        names += [(task.id, output.path) for output in task.outputs if output.path in own]
    found: list[tuple[str, Json]] = []
    notes: list[str] = []
    for task_id, name in names:
        path = os.path.join(run_folder, name)
        try:
            found.append((task_id, _read(path)))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
            reason = " ".join(str(error).split())[:200]
            notes.append(f"{escaped(path)} is left out of the results: {escaped(reason)}.")
    return found, notes


def _read(path: str) -> Json:
    try:
        descriptor = os.open(path, READ_ONLY)
    except OSError as error:
        raise ValueError("it is a symbolic link") if error.errno == errno.ELOOP else error from None
    with open(descriptor, "rb") as file:
        data = file.read(MOST_BYTES + 1) or b""
    if len(data) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES >> 20} MiB")
    return _plain(json_floats.value_of(data) if path.endswith(".json") else _loaded(data))


def _loaded(data: bytes) -> object:
    """The value of a YAML document, looked through first: the loader itself knows no bounds."""
    depth = 0
    for event in yaml.parse(data, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST or isinstance(event, yaml.AliasEvent):
            raise ValueError(
                f"it is nested more than {_DEEPEST} levels deep, or says *this instead of a value"
            )
    return yaml.load(data, Loader=_Loader)


def _plain(value: object) -> Json:
    """A value in the words of JSON; NaN and infinity stay what they are."""
    match value:
        case int() if value.bit_length() > _LONGEST:
            raise ValueError("a number in it has thousands of digits")
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple() | set():
            return [_plain(inner) for inner in value]
        case date():
            return value.isoformat()
        case _:
            return str(value)
