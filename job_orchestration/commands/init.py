"""`init`: create or repair a workspace."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_orchestration.config import json_schema
from job_orchestration.diagnostics.problems import named
from job_orchestration.workspace import durable, layout, safe_reads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from job_orchestration.workspace.layout import Workspace


@dataclass(frozen=True, slots=True)
class Made:
    """Result of `init`."""

    workspace: Workspace
    folders: tuple[str, ...]
    """Created folders, relative to the workspace."""
    files: tuple[str, ...]
    """Created or updated files, relative to the workspace."""
    notes: tuple[str, ...] = ()
    """Sentences about what else is in the folder, and about git."""


def init(root: str) -> Made:
    """Create what a workspace needs in a folder; existing content is kept.

    A new workspace inside of a git work tree does not show up in it: it gets a ``.gitignore``.

    Raises:
        WorkspaceError: if the folder cannot be a workspace.
    """
    before = _folders_in(os.path.expanduser(root))
    others = layout.other_names(os.path.realpath(os.path.expanduser(root)))
    workspace = layout.prepare(root)
    files = [*layout.install_template(workspace), *_write_schemas(workspace)]
    folders = _folders_in(workspace.root) - before
    notes: list[str] = []
    if os.path.basename(workspace.misc) in folders:
        if others:
            notes.append(f"The folder holds other things, which stay as they are: {named(others)}.")
        notes += _keep_out_of_git(workspace, folders, files, is_shared=bool(others))
    return Made(workspace, tuple(sorted(folders)), tuple(sorted(files)), tuple(notes))


def _keep_out_of_git(
    workspace: Workspace, folders: Iterable[str], files: list[str], *, is_shared: bool
) -> Iterator[str]:
    """Write a ``.gitignore`` if the folder lies in a git work tree and has none."""
    if not _is_in_work_tree(workspace.root):
        return
    tops = sorted({*folders, *(f.partition("/")[0] for f in files if "/" not in f)})
    lines = ["*"] if not is_shared else [f"/{name}" for name in (layout.GITIGNORE, *tops)]
    path = os.path.join(workspace.root, layout.GITIGNORE)
    if os.path.lexists(path):
        yield f"Git will see the workspace; to keep it out, add to {layout.GITIGNORE}: {' '.join(lines)}"
        return
    durable.write_view(path, "".join(f"{line}\n" for line in lines).encode())
    files.append(layout.GITIGNORE)
    yield f"The folder lies in a git work tree; {layout.GITIGNORE} keeps the workspace out of it."


def _is_in_work_tree(folder: str) -> bool:
    while not os.path.lexists(os.path.join(folder, ".git")):
        folder, below = os.path.dirname(folder), folder
        if folder == below:
            return False
    return True


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
