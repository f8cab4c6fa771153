"""`config`: show the defaults of a workspace, and set some of them in its ``workspace.yaml``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from job_orchestration.config import validation, workspace_defaults, yaml_reader
from job_orchestration.config.settings import RULES, shown
from job_orchestration.config.yaml_writer import to_yaml
from job_orchestration.diagnostics.errors import ConfigRefusedError, UsageError
from job_orchestration.diagnostics.problems import escaped, named
from job_orchestration.diagnostics.suggestions import did_you_mean, nearest_names
from job_orchestration.workspace import durable, safe_reads
from job_orchestration.workspace.layout import DEFAULTS

if TYPE_CHECKING:
    from job_orchestration.config.config import Json
    from job_orchestration.config.yaml_reader import Node
    from job_orchestration.workspace.layout import Workspace


def config(workspace: Workspace, values: Mapping[str, Json], *, force: bool = False) -> dict[str, Json]:
    """Set defaults, and return all of them.

    Comments and all other lines of the file stay as they are.

    Args:
        workspace: with all its folders in place.
        values: keys and their values; without any nothing is changed.
        force: whether a key that has another value may get a new one.

    Raises:
        UsageError: if a key is none of a workspace, its value is wrong, or it has another one already.
        ConfigRefusedError: if the file is no YAML.
        OSError: the disk failed.
    """
    path = os.path.join(workspace.root, DEFAULTS)
    for key, value in values.items():
        _insist_on_sense(key, value)
    before, problems = workspace_defaults.defaults(workspace)
    if errors := [problem for problem in problems if problem.is_error]:
        raise ConfigRefusedError(errors)
    changed = {key: value for key, value in values.items() if key not in before or before[key] != value}
    taken = [key for key in changed if key in before]
    if taken and not force:
        todo = "Give --force to replace it, or edit the file"
        raise UsageError(f"{DEFAULTS} has other values for {escaped(named(taken))}", todo)
    if changed:
        text = b""
        with suppress(FileNotFoundError):
            text = safe_reads.whole(path)
        durable.replace(path, _with(text, changed))
    return {**before, **changed}


def _insist_on_sense(key: str, value: Json) -> None:
    if key not in validation.KNOWN_DEFAULTS or key == "tasks":
        near = nearest_names(key, validation.KNOWN_DEFAULTS)
        todo = did_you_mean(near) if near else "List the keys with: job-orchestration schema --workspace-file"
        raise UsageError(f"{escaped(key)} is not a default of a workspace", todo)
    rule = RULES.get(key)
    if rule is not None and value is not None and not isinstance(value, dict) and rule.read(value) is None:
        raise UsageError(f"{key}: {shown(value)} is not {rule.wanted}", f"Write {rule.example}")


def _with(text: bytes, values: Mapping[str, Json]) -> bytes:
    """Return the text of a file with other values: lines of known keys are replaced, others added."""
    lines = text.decode("utf-8").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    places = _places_in(text)
    for key in sorted(values, key=lambda key: places.get(key, (len(lines), 0)), reverse=True):
        start, end = places.get(key, (len(lines), len(lines)))
        lines[start:end] = [to_yaml({key: values[key]}).decode()]
    return "".join(lines).encode()


def _places_in(text: bytes) -> dict[str, tuple[int, int]]:
    """Return the lines of each key at the top of a file: the first, and the one behind its value."""
    root: Node | None = None
    if any(line.strip() and not line.lstrip().startswith(b"#") for line in text.splitlines()):
        root, _ = yaml_reader.read(text, DEFAULTS)
    if root is None or not isinstance(root.value, Mapping):
        return {}
    lines = text.decode("utf-8").splitlines()
    starts = {key: node.line - 1 for key, (node, _) in root.value.items()}
    found = {}
    for key, start in starts.items():
        end = start + 1
        while end < len(lines) and (lines[end][:1] in {" ", "\t"} or lines[end].startswith("- ")):
            end += 1
        found[key] = (start, end)
    return found
