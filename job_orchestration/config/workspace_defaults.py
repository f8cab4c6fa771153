"""Read ``workspace.yaml``, the defaults for every config of a workspace."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from job_orchestration.workspace.layout import DEFAULTS, Workspace

if TYPE_CHECKING:
    from job_orchestration.config.config import Json
    from job_orchestration.diagnostics.problems import Problem


def defaults(workspace: Workspace) -> tuple[dict[str, Json], list[Problem]]:
    """Return the values and problems of ``workspace.yaml``; no values if the file is absent or empty."""
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
    return values, problems
