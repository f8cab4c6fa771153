"""The layout of a workspace: its folders, how they are created, and their requirements."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.errors import WorkspaceError
from job_orchestration.workspace import durable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from importlib.abc import Traversable


class Place(StrEnum):
    """Place of a config in its life; each is also a key of ``counts`` in ``status --json``."""

    SOURCES = "sources"
    TO_RUN = "to_run"
    HELD = "held"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def said(self) -> str:
        """Return the end of a sentence that begins with "it is"."""
        match self:
            case Place.SOURCES:
                return "still in ConfigSources"
            case Place.TO_RUN:
                return "waiting"
            case _:
                return self.value


TOKEN_PLACES: Final = (Place.TO_RUN, Place.RUNNING, Place.COMPLETED, Place.FAILED)
"""The places that have a folder of tokens, in the order of a run's life."""
SETTLED_PLACES: Final = (Place.TO_RUN, Place.COMPLETED, Place.FAILED)
"""The places of tokens that no worker holds."""
FINAL_PLACES: Final = (Place.COMPLETED, Place.FAILED)
"""The places of runs that have ended."""
ACTIVE_PLACES: Final = frozenset({Place.TO_RUN, Place.RUNNING, Place.INTERRUPTED})
"""The places of runs that workers execute now, or will execute without further commands."""

FORMAT: Final = 1
"""The workspace format that this release writes; ``Misc/VERSION`` holds the format of a workspace."""

VARIABLE: Final = "JOB_ORCHESTRATION_WORKSPACE"

DEFAULTS: Final = "workspace.yaml"
"""The file of default values for every config of the workspace."""
_TEMPLATE: Final = "workspace_template"


@dataclass(frozen=True, slots=True)
class Workspace:
    """Absolute paths of the parts of a workspace."""

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
        """The folder of intents of `ready`: the runs that it is opening, or was opening when it died."""
        return os.path.join(self.misc, "opening")

    @property
    def workers(self) -> str:
        """The folder of the workers' heartbeats."""
        return os.path.join(self.misc, "workers")

    @property
    def bytecode(self) -> str:
        """The folder of the bytecode cache of snapshots."""
        return os.path.join(self.misc, "bytecode")

    @property
    def cache(self) -> str:
        """``Misc/cache``: what tasks have parsed, for all workers."""
        return os.path.join(self.misc, "cache")

    @property
    def imports(self) -> str:
        """The folder of the folders in which fork servers import tasks."""
        return os.path.join(self.misc, "imports")

    @property
    def reuse(self) -> str:
        """The folder of the index of checkpoints that later runs may take."""
        return os.path.join(self.misc, "reuse")

    @property
    def packages(self) -> str:
        """The folder of lists of packages, one for each distinct set."""
        return os.path.join(self.misc, "packages")

    @property
    def environments(self) -> str:
        """The folder of descriptions of the environments in which workers run tasks."""
        return os.path.join(self.misc, "environments")

    @property
    def envs(self) -> str:
        """The folder of the virtual environments with the packages of earlier runs."""
        return os.path.join(self.misc, "envs")

    @property
    def inputs(self) -> str:
        """The folder of lists of input files, one for each distinct content."""
        return os.path.join(self.misc, "inputs")

    @property
    def hashes(self) -> str:
        """The folder of the cache of hashes of input files."""
        return os.path.join(self.misc, "hashes")

    @property
    def outbox(self) -> str:
        """The folder of notifications that wait for delivery."""
        return os.path.join(self.misc, "outbox")

    @property
    def folders(self) -> Mapping[Place, str]:
        """The folder of tokens of each place."""
        return {
            Place.SOURCES: self.sources,
            Place.TO_RUN: self.to_run,
            Place.RUNNING: self.running,
            Place.COMPLETED: self.completed,
            Place.FAILED: self.failed,
        }

    def run_folder(self, run: str) -> str:
        """Return the output folder of a run."""
        return os.path.join(self.output, run)


_FOLDERS: Final = {
    "sources": "ConfigSources",
    "to_run": "ConfigsToRun",
    "running": "Running",
    "output": "Output",
    "misc": "Misc",
}


GITIGNORE: Final = ".gitignore"


def locate(root: str) -> Workspace:
    """Return the workspace at `root` without changing anything, so readers may use it.

    Raises:
        WorkspaceError: if there is none, or this release does not know its format.
    """
    if not root:
        raise WorkspaceError(
            "No workspace is given, and this folder lies in none",
            f"Go into your workspace, give --workspace DIR, or set {VARIABLE} to its folder",
        )
    root = os.path.realpath(os.path.expanduser(root))
    workspace = _at(root)
    if not (os.path.isdir(workspace.sources) or os.path.isdir(workspace.to_run)):
        import shlex

        raise WorkspaceError(
            f"{root} is not a workspace",
            f"Make it one with: job-orchestration init --workspace {shlex.quote(root)}",
        )
    _check_format(workspace)
    return workspace


def enclosing(folder: str) -> str:
    """Return the nearest workspace that a folder is, or lies in; empty if there is none."""
    here = os.path.realpath(folder)
    while True:
        found = _at(here)
        if os.path.isdir(found.sources) and os.path.isdir(found.to_run):
            return here
        here, below = os.path.dirname(here), here
        if here == below:
            return ""


def _at(root: str) -> Workspace:
    def either(name: str, old: str) -> str:
        new, of_first_release = os.path.join(root, name), os.path.join(root, old)
        return of_first_release if os.path.isdir(of_first_release) and not os.path.isdir(new) else new

    return Workspace(root, either("Completed", "ConfigsCompleted"), either("Failed", "ConfigsFailed"))


def _check_format(workspace: Workspace) -> None:
    path = os.path.join(workspace.misc, "VERSION")
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(64).strip()
    except FileNotFoundError:
        return  # created by the first release, or not complete yet
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
    """Return the workspace at `root`, after creating its missing folders.

    Raises:
        WorkspaceError: if a folder cannot be created, or the folders are on different file systems.
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


def require_writable(workspace: Workspace, todo: str) -> None:
    """Insist that this user can queue runs, before anything is done for them.

    Args:
        workspace: the workspace.
        todo: what to do if not.

    Raises:
        WorkspaceError: if a folder cannot be written; it is named.
    """
    for folder in (workspace.opening, workspace.to_run, workspace.output, workspace.imports):
        if os.path.isdir(folder) and not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            why = "its rights forbid it" if os.stat(folder).st_uid == os.geteuid() else "it is another user's"
            if os.statvfs(folder).f_flag & os.ST_RDONLY:
                why = "its file system is mounted read-only"
            raise WorkspaceError(f"{folder} cannot be written: {why}", todo)


def _template() -> Traversable:
    """Return the folder of the template: inside an installed package, beside the package in a checkout."""
    from importlib import resources

    package = resources.files("job_orchestration")
    inside = package / _TEMPLATE
    return inside if inside.is_dir() else package.joinpath(os.pardir, _TEMPLATE)


def install_template(workspace: Workspace) -> list[str]:
    """Copy the template's missing files into a workspace; return the names of the new files.

    A folder that holds other files, such as a repository, gets only the defaults: a README and examples would
    look like files of its own there, and count as uncommitted.
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

    shared = bool(other_names(workspace.root))
    copy([item for item in _template().iterdir() if not shared or item.name == DEFAULTS], workspace.root)
    return sorted(made)


def other_names(root: str) -> list[str]:
    """Return what a folder holds beside the parts of a workspace, sorted; nothing if there is no folder."""
    places = _at(root)
    paths = (*places.folders.values(), places.output, places.misc)
    own = {*map(os.path.basename, paths), *(item.name for item in _template().iterdir()), GITIGNORE, ".git"}
    return sorted(set(os.listdir(root)) - own) if os.path.isdir(root) else []
