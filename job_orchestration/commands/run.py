"""`run`: queue a run of one plain function."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.commands.submit import submit
from job_orchestration.config import elements as foreach
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.submission.reports import Report
    from job_orchestration.workspace.layout import Workspace

DEFAULT: Final = "task"
"""The function of a module that is named without one."""
_RUN_FOLDER: Final = "run"
"""A folder whose modules are looked for first: they prepare jobs, and may be called like what they run."""


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function, and what it is called with."""

    name: str
    """``package.module.function``, ``package.module:function``, or a module that has a function ``task``."""
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    elements: Any = None
    """What it is called with one after another, as ``foreach`` takes it; `None`: it is called once."""
    parallel: int | str | None = None


def run(
    workspace: Workspace,
    call: FunctionCall,
    folder: str | None,
    *,
    name: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    uncommitted: bool = False,
) -> Report:
    """Queue a run of one function.

    Args:
        workspace: with all its folders in place.
        call: the function and its arguments.
        folder: where its module is looked for, in a git work tree. A module that is not there is one of the
            environment; so is any with `None`.
        name: of the run; default: the date, the function and the time.
        parameters: dotted key to a value, for the rest of the config.
        uncommitted: whether uncommitted changes are captured instead of refused.

    Raises:
        UsageError: if the name is none of a function.
        OSError: the disk failed.
    """
    method, code = find(call.name, folder)
    function = method.rpartition(":")[2]
    entry: dict[str, Any] = {"id": function, "method": method}
    if call.args:
        entry["args"] = list(call.args)
    if call.kwargs:
        entry["kwargs"] = dict(call.kwargs)
    if call.elements is not None:
        entry |= {foreach.FOREACH: call.elements, foreach.PARALLEL: call.parallel or 1}
    config: dict[str, Any] = {"outputDir": f"{{date}}/{function}_{{time}}", "tasks": [entry]}
    if code is not None:
        config["pathToTasks"] = code
    if uncommitted:
        config["UNSAFE_ignoreDirtyCheck"] = True
    return submit(workspace, [config], name=name, parameters=parameters)


def find(name: str, folder: str | None) -> tuple[str, str | None]:
    """Return the method that a name means, and the folder of its code; `None` if that is not in the folder.

    Raises:
        UsageError: if the name is none of a function.
    """
    module, colon, function = name.partition(":")
    if colon:
        parts = [*module.split("."), function]
        code = folder if _module_length(module.split("."), folder) == len(parts) - 1 else None
        return _method(parts, len(parts) - 1, name), code
    parts = name.split(".")
    for first in ([_RUN_FOLDER], []):
        length = _module_length([*first, *parts], folder)
        if length > len(first):
            return _method([*first, *parts], length, name), folder
    return _method(parts, len(parts) - 1, name), None


def _method(parts: Sequence[str], length: int, name: str) -> str:
    module, function = parts[:length], parts[length:] or [DEFAULT]
    if not module or len(function) > 1 or not all(part.isidentifier() for part in (*module, *function)):
        todo = "Name it as package.module.function, from the folder that the package lies in"
        raise UsageError(f"{escaped(name)} is not the name of a function", todo)
    return f"{'.'.join(module)}:{function[0]}"


def _module_length(parts: Sequence[str], folder: str | None) -> int:
    """Return how many of the parts name a module in a folder; 0 if there is none."""
    if folder is None or not all(part.isidentifier() for part in parts):
        return 0
    for length in range(len(parts), 0, -1):
        path = os.path.join(folder, *parts[:length])
        if os.path.isfile(f"{path}.py") or os.path.isfile(os.path.join(path, "__init__.py")):
            return length
    return 0


def elements_in(path: str) -> Json:
    """Return the elements in a file: one JSON value a line in NDJSON, otherwise a list in YAML or JSON.

    Raises:
        UsageError: if the file cannot be read, or has no list.
    """
    from job_orchestration.config import json_floats, yaml_reader
    from job_orchestration.workspace import safe_reads

    shown = escaped(path)
    try:
        data = safe_reads.whole(os.path.realpath(os.path.expanduser(path)))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{shown} cannot be read: {reason}", "Name a file with the arguments") from None
    if path.endswith((".ndjson", ".jsonl")):
        try:
            return [json_floats.value_of(line) for line in data.splitlines() if line.strip()]
        except ValueError as error:
            raise UsageError(f"{shown} is not NDJSON: {error}", "Write one JSON value a line") from None
    indented = b"".join(b"  " + line for line in data.splitlines(keepends=True))
    root, problems = yaml_reader.read(b"elements:\n" + indented, path)
    found = yaml_reader.plain(root) if root is not None and not problems else None
    values = found.get("elements") if isinstance(found, dict) else None
    if not isinstance(values, list):
        why = f": {problems[0].what}" if problems else ""
        raise UsageError(
            f"{shown} has no list{why}", "Write a list in YAML or JSON, or name the file .ndjson"
        )
    return values
