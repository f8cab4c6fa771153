"""Read ``workspace.yaml``, the defaults for every config of a workspace."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from job_orchestration.workspace.layout import DEFAULTS, Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from job_orchestration.config.config import Json
    from job_orchestration.config.yaml_reader import Node
    from job_orchestration.diagnostics.problems import Problem


def defaults(workspace: Workspace, *, check_keys: bool = False) -> tuple[dict[str, Json], list[Problem]]:
    """Return the values and problems of ``workspace.yaml``; no values if the file is absent or empty.

    Args:
        workspace: the workspace.
        check_keys: whether to warn of keys that look as if they did something and do nothing.
    """
    from job_orchestration.config import yaml_reader

    path = os.path.join(workspace.root, DEFAULTS)
    try:
        with open(path, "rb") as file:
            data = file.read(yaml_reader.MAX_BYTES + 1)
    except FileNotFoundError:
        return {}, []
    if all(not line.strip() or line.lstrip().startswith(b"#") for line in data.splitlines()):
        return {}, []
    root, problems = yaml_reader.read(data, DEFAULTS)
    if root is None:
        return {}, problems
    values = yaml_reader.plain(root)
    assert isinstance(values, dict)
    return values, [*problems, *(_doubts(root) if check_keys else ())]


def _doubts(root: Node) -> Iterator[Problem]:
    from job_orchestration.config import validation, words_without_effect
    from job_orchestration.diagnostics.problems import Problem, Severity

    entries = root.value
    assert isinstance(entries, Mapping), "a root is a mapping"
    keys = [key for key in entries if key not in validation.OLD_NAMES]
    for key, what, todo in words_without_effect.at_the_top(keys, validation.KNOWN_DEFAULTS, entries):
        at, _ = entries[key]
        yield Problem(DEFAULTS, what, todo, key, at.line, at.column, Severity.WARNING)
