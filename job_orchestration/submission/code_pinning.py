"""The first check of a batch: pin each candidate to a commit, and find the code that it executes."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from job_orchestration.code import checkouts, work_tree
from job_orchestration.code.snapshots import CodeStore
from job_orchestration.code.task_importer import CodePlan, modules_named, need_tasks_file
from job_orchestration.code.tasks_file import missing_tasks_file
from job_orchestration.config.settings import settings_of
from job_orchestration.diagnostics.errors import CodeError
from job_orchestration.diagnostics.problems import Severity, escaped, named
from job_orchestration.runs.events import Code
from job_orchestration.submission.candidate import guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from job_orchestration.code.work_tree import WorkTree
    from job_orchestration.submission.candidate import Candidate
    from job_orchestration.workspace.layout import Workspace

T = TypeVar("T")


class CodePinning:
    """Look at each work tree once a pass, and pin its commit once.

    Args:
        workspace: where the snapshots are kept.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._store = CodeStore(Path(workspace.misc))
        self._outward: dict[str, list[str]] = {}
        self.start_pass()

    def start_pass(self) -> None:
        """Forget what was seen: a pass uses one state of each repository for all its batches."""
        self._looked: dict[tuple[str, tuple[str, ...]], WorkTree | CodeError] = {}
        self._pinned: dict[tuple[str, bool, tuple[str, ...]], str | CodeError] = {}

    def pin(self, candidates: Iterable[Candidate]) -> None:
        """Give each candidate its commit and its code plan, or a problem."""
        for candidate in candidates:
            guarded([candidate], functools.partial(self._plan, candidate))

    def _plan(self, candidate: Candidate) -> None:
        path = candidate.checked.path_to_tasks
        methods = [task.method for task in candidate.checked.tasks if task.method]
        modules = modules_named(methods)
        if path is None:
            candidate.plan = CodePlan(
                modules=modules, fallback=self._workspace.root, imports=self._workspace.imports
            )
            return
        folder = os.path.join(self._workspace.root, os.path.expanduser(path))
        ignored = settings_of(candidate.checked.values).ignored_files
        try:
            tree = self._look(folder, ignored)
            self._pin_one(candidate, tree)
        except CodeError as error:
            more = "" if os.path.isdir(folder) else _about_path(path)
            candidate.add(f"{error.what}{more}", error.todo, "pathToTasks")
            return
        assert candidate.code is not None
        snapshot = self._store.snapshot(candidate.code.commit)
        where = "its top folder" if tree.folder == "." else escaped(tree.folder)
        what = f"the commit {candidate.code.commit[:12]} has no file Tasks.py in {where}"
        fault = missing_tasks_file(os.path.join(snapshot, tree.folder), what)
        if fault is not None and need_tasks_file(methods):
            candidate.add(fault.what, fault.todo, "pathToTasks")
            return
        self._refuse_outward_links(candidate, candidate.code.commit, snapshot)
        candidate.plan = CodePlan(
            *(str(snapshot), tree.folder, str(tree.top), modules),
            bytecode=self._workspace.bytecode,
            imports=self._workspace.imports,
        )

    def _refuse_outward_links(self, candidate: Candidate, commit: str, snapshot: Path) -> None:
        """Note the links that lead out of the repository: what they point to is not pinned."""
        if commit not in self._outward:
            self._outward[commit] = checkouts.outward_links(snapshot)
        if links := self._outward[commit]:
            candidate.add(
                f"the commit {commit[:12]} has links that lead out of the repository: "
                + escaped(named(links)),
                "Their targets may change: take them out (git rm --cached NAME), name them in the config",
                "pathToTasks",
            )

    def _look(self, folder: str, ignored: tuple[str, ...]) -> WorkTree:
        """Look at a work tree once a pass."""
        key = folder, ignored
        if key not in self._looked:
            root = Path(self._workspace.root)
            self._looked[key] = _caught(
                functools.partial(work_tree.inspect_work_tree, Path(folder), root, ignored)
            )
        return _raised(self._looked[key])

    def _pin_one(self, candidate: Candidate, tree: WorkTree) -> None:
        capture = bool(tree.dirty) and candidate.checked.values.get("UNSAFE_ignoreDirtyCheck") is True
        if tree.dirty and not capture:
            candidate.add(
                "You have uncommitted changes, so what is checked now could not be run again: "
                + escaped(named(tree.dirty)),
                "Commit them, or say UNSAFE_ignoreDirtyCheck: true to have them captured",
                "pathToTasks",
            )
        key = (str(tree.top), capture, tree.dirty)
        if key not in self._pinned:
            self._pinned[key] = _caught(
                functools.partial(self._store.capture if capture else self._store.pin, tree)
            )
        commit = _raised(self._pinned[key])
        candidate.tree = tree
        candidate.code = Code(commit, tree.folder, str(tree.top))
        if capture:
            candidate.add(
                f"Skipping the dirty check: the uncommitted changes were captured as commit {commit[:12]}",
                "Commit them, and these results can be repeated from your repository too",
                "UNSAFE_ignoreDirtyCheck",
                Severity.WARNING,
            )


def _about_path(path: str) -> str:
    """Return how a path was understood that leads nowhere, if it could be meant otherwise."""
    if os.path.isabs(os.path.expanduser(path)):
        return ""
    if "$" in path:
        return "; variables are not replaced in it, only ~ is"
    return "; a relative path begins at the workspace"


def _caught(call: Callable[[], T]) -> T | CodeError:
    """Return a result or its error, to keep it and raise it for each config that it concerns."""
    try:
        return call()
    except CodeError as error:
        return error


def _raised(found: T | CodeError) -> T:
    if isinstance(found, CodeError):
        raise found
    return found
