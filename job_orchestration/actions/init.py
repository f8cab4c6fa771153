"""`init`: make a workspace, or mend one that lacks a part."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_orchestration.files import durable, journal
from job_orchestration.files import workspace as workspaces
from job_orchestration.rules import schema

if TYPE_CHECKING:
    from job_orchestration.files.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a folder that is to be a workspace."""

    workspace: Workspace
    folders: tuple[str, ...]
    """Those that were not there, relative to the workspace."""
    files: tuple[str, ...]
    """Those that were not there, or said something else, relative to the workspace."""


def init(root: str) -> Made:
    """Make the folder a workspace; what is there already stays as it is.

    Raises:
        WorkspaceError: when it cannot be one.
    """
    before = _folders_in(os.path.expanduser(root))
    workspace = workspaces.prepare(root)
    files = sorted([*workspaces.furnish(workspace), *_write_schemas(workspace)])
    return Made(workspace, tuple(sorted(_folders_in(workspace.root) - before)), tuple(files))


def _write_schemas(workspace: Workspace) -> list[str]:
    """Put the schemas where the editor lines of the template point to, those of this release."""
    schemas = {
        schema.CONFIG_FILE: schema.config_schema(),
        schema.WORKSPACE_FILE: schema.workspace_schema(),
    }
    made: list[str] = []
    for name, content in schemas.items():
        path = os.path.join(workspace.misc, name)
        data = f"{json.dumps(content, indent=1)}\n".encode()
        if not os.path.isfile(path) or journal.whole(path) != data:
            durable.write_view(path, data)
            made.append(os.path.relpath(path, workspace.root))
    return made


def _folders_in(root: str) -> set[str]:
    return {e.name for e in os.scandir(root) if e.is_dir()} if os.path.isdir(root) else set()
