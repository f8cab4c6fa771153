"""`init`: create or repair a workspace."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_orchestration.config import json_schema
from job_orchestration.workspace import durable, layout, safe_reads

if TYPE_CHECKING:
    from job_orchestration.workspace.layout import Workspace


@dataclass(frozen=True, slots=True)
class Made:
    """Result of `init`."""

    workspace: Workspace
    folders: tuple[str, ...]
    """Created folders, relative to the workspace."""
    files: tuple[str, ...]
    """Created or updated files, relative to the workspace."""


def init(root: str) -> Made:
    """Create what a workspace needs in a folder; existing content is kept.

    Raises:
        WorkspaceError: if the folder cannot be a workspace.
    """
    before = _folders_in(os.path.expanduser(root))
    workspace = layout.prepare(root)
    files = sorted([*layout.install_template(workspace), *_write_schemas(workspace)])
    return Made(workspace, tuple(sorted(_folders_in(workspace.root) - before)), tuple(files))


def _write_schemas(workspace: Workspace) -> list[str]:
    """Put the schemas where the editor lines of the template point to, those of this release."""
    schemas = {
        json_schema.CONFIG_FILE: json_schema.config_schema(),
        json_schema.WORKSPACE_FILE: json_schema.workspace_schema(),
    }
    made: list[str] = []
    for name, content in schemas.items():
        path = os.path.join(workspace.misc, name)
        data = f"{json.dumps(content, indent=1)}\n".encode()
        if not os.path.isfile(path) or safe_reads.whole(path) != data:
            durable.write_view(path, data)
            made.append(os.path.relpath(path, workspace.root))
    return made


def _folders_in(root: str) -> set[str]:
    return {e.name for e in os.scandir(root) if e.is_dir()} if os.path.isdir(root) else set()
