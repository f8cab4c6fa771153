"""`init`: make a workspace, or mend one that lacks a part."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_orchestration.files import workspace as workspaces

if TYPE_CHECKING:
    from job_orchestration.files.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a folder that is to be a workspace."""

    workspace: Workspace
    folders: tuple[str, ...]
    """Those that were not there, relative to the workspace."""
    files: tuple[str, ...]
    """Those of the template that were not there, relative to the workspace."""


def init(root: str) -> Made:
    """Make the folder a workspace; what is there already stays as it is.

    Raises:
        WorkspaceError: when it cannot be one.
    """
    before = _folders_in(os.path.expanduser(root))
    workspace = workspaces.prepare(root)
    files = workspaces.furnish(workspace)
    return Made(workspace, tuple(sorted(_folders_in(workspace.root) - before)), tuple(files))


def _folders_in(root: str) -> set[str]:
    return {e.name for e in os.scandir(root) if e.is_dir()} if os.path.isdir(root) else set()
