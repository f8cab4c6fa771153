"""`code`: the code of a run, as a clone to look at or to work in, or one of its files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from job_orchestration.code import clones, commits, large_files, newer_commits
from job_orchestration.code.snapshots import CodeStore
from job_orchestration.commands import selection
from job_orchestration.diagnostics import suggestions
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs import catalog, provenance_file

if TYPE_CHECKING:
    from job_orchestration.runs.events import Code
    from job_orchestration.runs.state import RunState
    from job_orchestration.workspace.layout import Workspace


@dataclass(frozen=True, slots=True)
class Checkout:
    """A clone that was made."""

    run: str
    folder: str
    """Absolute."""
    commit: str
    branch: str
    tasks: str
    """The folder of ``Tasks.py`` in the clone; ``.`` is its top."""
    captured_on: str | None
    """The commit that the code was captured on with uncommitted changes; `None` if it had none."""
    other_commits: dict[str, str]
    """The tasks that ran in another commit, by id, each with its commit."""

    def as_json(self) -> dict[str, Any]:
        """Return the clone as ``code --json`` prints it."""
        return {
            "run": self.run,
            "folder": self.folder,
            "commit": self.commit,
            "branch": self.branch,
            "tasks": self.tasks,
            "captured_on": self.captured_on,
            "other_commits": dict(self.other_commits),
        }


def check_out(workspace: Workspace, name: str, folder: str | None) -> Checkout:
    """Make a clone of the code of a run; neither the workspace nor a repository of a person is changed.

    Args:
        workspace: holds the run and its code.
        name: the run.
        folder: where the clone is made: absent or empty; default: ``<run>-code`` in the current folder.

    Raises:
        UsageError: if there is no such run, it has no code of its own, or the folder cannot be taken.
        CodeError: if the store does not hold the code.
        OSError: if the folder cannot be written.
    """
    run, state, code = _code_of(workspace, name)
    target = Path(os.path.abspath(os.path.expanduser(folder or f"{os.path.basename(run)}-code")))
    _refuse(workspace, target, code)
    provenance = provenance_file.read(workspace.run_folder(run)) or {}
    branch, origin = (provenance.get(key) for key in ("branch", "origin"))
    store = CodeStore(Path(workspace.misc))
    made = clones.clone(
        store,
        code.commit,
        target,
        branch if isinstance(branch, str) else None,
        origin if isinstance(origin, str) else None,
    )
    others = {id_: commit for id_, commit in state.commits.items() if commit != code.commit}
    captured = newer_commits.captured_on(store, code.commit)
    return Checkout(run, str(target), code.commit, made, code.folder, captured, others)


def file_of(workspace: Workspace, name: str, path: str) -> bytes:
    """Return the content of a file of the code of a run.

    Args:
        workspace: holds the run and its code.
        name: the run.
        path: relative to the top of the repository, or else to the folder of ``Tasks.py``.

    Raises:
        UsageError: if there is no such run or file.
        CodeError: if the store does not hold the code.
    """
    run, _, code = _code_of(workspace, name)
    store = CodeStore(Path(workspace.misc)).of(code.commit)
    files = commits.files(store, code.commit)
    wanted = (os.path.normpath(path), os.path.normpath(PurePosixPath(code.folder, path)))
    found = next((one for one in wanted if one in files), None)
    if found is None:
        near = suggestions.nearest_names(wanted[0], files, most=3)
        raise UsageError(
            f"The code of {escaped(run)} has no file {escaped(path)}",
            suggestions.did_you_mean([escaped(n) for n in near]) if near else "",
        )
    content = large_files.contents_of(store.repository, code.commit).get(found)
    return content.read_bytes() if content is not None else commits.content(store, files[found])


def _code_of(workspace: Workspace, name: str) -> tuple[str, RunState, Code]:
    record = selection.one(catalog.entries(workspace), name)
    if record.run is None or record.state is None:
        raise UsageError(f"{escaped(record.config)} is not queued yet", "Run: job-orchestration ready")
    if record.state.code is None:
        raise UsageError(
            f"{escaped(record.run)} has no code of its own: its tasks come from installed packages",
            f"See their versions with: job-orchestration show {escaped(record.run)} --json",
        )
    return record.run, record.state, record.state.code


def _refuse(workspace: Workspace, target: Path, code: Code) -> None:
    """Refuse a folder that holds something, or in which a clone would be in the way."""
    real = Path(os.path.realpath(target))
    shown = escaped(str(target))
    if os.path.lexists(target) and (target.is_symlink() or not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{shown} is there already", "Name an empty folder, or one that does not exist")
    if not target.parent.is_dir():
        raise UsageError(f"There is no folder {escaped(str(target.parent))}", "Make it first")
    kept = [
        Path(os.path.realpath(f)) for f in (*workspace.folders.values(), workspace.output, workspace.misc)
    ]
    if any(real.is_relative_to(folder) for folder in kept):
        raise UsageError(f"{shown} lies in a folder of the workspace", "Name a folder elsewhere")
    if code.work_tree and real.is_relative_to(os.path.realpath(code.work_tree)):
        raise UsageError(
            f"{shown} would be an uncommitted change in the work tree {escaped(code.work_tree)}",
            "Name a folder elsewhere",
        )
