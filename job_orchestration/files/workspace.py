"""The folder that holds everything: where its parts lie, how it is made, and what it takes for granted."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from job_orchestration.files import durable
from job_orchestration.model.errors import WorkspaceError
from job_orchestration.model.run import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from importlib.abc import Traversable

    from job_orchestration.model.problem import Problem
    from job_orchestration.model.task import Json

FORMAT: Final = 1
"""The format of workspaces that this release writes; ``Misc/VERSION`` names a workspace's own."""

VARIABLE: Final = "JOB_ORCHESTRATION_WORKSPACE"

DEFAULTS: Final = "workspace.yaml"
"""The file with what holds for every config of the workspace."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where the parts of a workspace lie; absolute paths."""

    root: str
    completed: str
    failed: str
    sources: str = field(init=False)
    to_run: str = field(init=False)
    running: str = field(init=False)
    output: str = field(init=False)
    misc: str = field(init=False)

    def __post_init__(self) -> None:
        for name, folder in _FOLDERS.items():
            object.__setattr__(self, name, os.path.join(self.root, folder))

    @property
    def opening(self) -> str:
        """The intents of `ready`: what it was about to open when it died."""
        return os.path.join(self.misc, "opening")

    @property
    def workers(self) -> str:
        """The workers' beats."""
        return os.path.join(self.misc, "workers")

    @property
    def bytecode(self) -> str:
        """The cache for the bytecode of snapshots."""
        return os.path.join(self.misc, "bytecode")

    @property
    def outbox(self) -> str:
        """News that is still to be told."""
        return os.path.join(self.misc, "outbox")

    @property
    def folders(self) -> Mapping[Place, str]:
        """The folders that hold tokens, by what lying there means."""
        return {
            Place.SOURCES: self.sources,
            Place.TO_RUN: self.to_run,
            Place.RUNNING: self.running,
            Place.COMPLETED: self.completed,
            Place.FAILED: self.failed,
        }

    def run_folder(self, run: str) -> str:
        """The output folder of a run."""
        return os.path.join(self.output, run)


_FOLDERS: Final = {
    "sources": "ConfigSources",
    "to_run": "ConfigsToRun",
    "running": "Running",
    "output": "Output",
    "misc": "Misc",
}


def locate(root: str) -> Workspace:
    """The workspace at `root`, as it is: nothing is made or changed, so a reader may use it.

    Raises:
        WorkspaceError: when there is none, or it has a format that this release does not know.
    """
    if not root:
        raise WorkspaceError(
            "No workspace is named",
            f"Give --workspace DIR, or set {VARIABLE} to the folder of your workspace",
        )
    root = os.path.realpath(os.path.expanduser(root))
    workspace = _at(root)
    if not (os.path.isdir(workspace.sources) or os.path.isdir(workspace.to_run)):
        raise WorkspaceError(
            f"{root} is not a workspace", f"Make it one with: job-orchestration init --workspace {root}"
        )
    _check_format(workspace)
    return workspace


def _at(root: str) -> Workspace:
    def either(name: str, old: str) -> str:
        new, former = os.path.join(root, name), os.path.join(root, old)
        return former if os.path.isdir(former) and not os.path.isdir(new) else new

    return Workspace(root, either("Completed", "ConfigsCompleted"), either("Failed", "ConfigsFailed"))


def _check_format(workspace: Workspace) -> None:
    path = os.path.join(workspace.misc, "VERSION")
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(64).strip()
    except FileNotFoundError:
        return  # made by the first Job Orchestration, or not finished being made
    except (OSError, UnicodeDecodeError) as error:
        raise WorkspaceError(
            f"{path} cannot be read: {error}", "Restore it; it holds the single number 1"
        ) from None
    if not text.isdecimal() or int(text) > FORMAT:
        raise WorkspaceError(
            f"{workspace.root} has workspace format {text[:20]!r}; this release knows formats up to {FORMAT}",
            "Install the newer job_orchestration that made it",
        )


def prepare(root: str) -> Workspace:
    """The workspace at `root` with every folder it needs: made where it lacks one, otherwise left alone.

    Raises:
        WorkspaceError: when a folder cannot be made, or they do not lie on one file system.
    """
    root = os.path.realpath(os.path.expanduser(root))
    workspace = _at(root)
    _check_format(workspace)
    try:
        for folder in (*workspace.folders.values(), workspace.output, workspace.opening, workspace.workers):
            durable.make_folder(folder)
        version = os.path.join(workspace.misc, "VERSION")
        if not os.path.exists(version):
            durable.replace(version, f"{FORMAT}\n".encode())
    except (FileExistsError, NotADirectoryError) as error:
        raise WorkspaceError(f"{error.filename} is in the way: it is not a folder", "Move it aside") from None
    except PermissionError as error:
        raise WorkspaceError(f"{error.filename} cannot be written", "Use a folder that is yours") from None
    devices = {os.stat(f).st_dev for f in (*workspace.folders.values(), workspace.output, workspace.misc)}
    if len(devices) > 1:
        raise WorkspaceError(
            f"The folders of {root} lie on different file systems, where a rename is not one step",
            "Keep all of them on one; link to data from the configs instead",
        )
    return workspace


def furnish(workspace: Workspace) -> list[str]:
    """Copy the template's files into a workspace that lacks them; returns the names of those made.

    A folder that holds other things too, a repository for instance, gets the defaults alone: a README and
    examples would be taken for files of its own there, and for uncommitted ones.
    """
    made: list[str] = []

    def copy(items: Iterable[Traversable], folder: str) -> None:
        for item in items:
            target = os.path.join(folder, item.name)
            if item.is_dir():
                durable.make_folder(target)
                copy(item.iterdir(), target)
            elif not os.path.lexists(target):
                durable.write_view(target, item.read_bytes())
                made.append(os.path.relpath(target, workspace.root))

    from importlib import resources

    template = list((resources.files("job_orchestration") / "workspace_template").iterdir())
    paths = (*workspace.folders.values(), workspace.output, workspace.misc)
    own = {*map(os.path.basename, paths), *(item.name for item in template)}
    shared = not own.issuperset(os.listdir(workspace.root))
    copy([item for item in template if not shared or item.name == DEFAULTS], workspace.root)
    return sorted(made)


def defaults(workspace: Workspace) -> tuple[dict[str, Json], list[Problem]]:
    """What ``workspace.yaml`` gives to every config; an absent or empty file gives nothing."""
    from job_orchestration.rules import reading

    path = os.path.join(workspace.root, DEFAULTS)
    try:
        with open(path, "rb") as file:
            data = file.read(reading.MAX_BYTES + 1)
    except FileNotFoundError:
        return {}, []
    if all(not line.strip() or line.lstrip().startswith(b"#") for line in data.splitlines()):
        return {}, []
    root, problems = reading.read(data, DEFAULTS)
    if root is None:
        return {}, problems
    values = reading.plain(root)
    assert isinstance(values, dict)
    return values, problems
