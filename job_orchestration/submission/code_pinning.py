"""The first check of a batch: pin each candidate to a commit, and find the code that it executes.

Git may stand still in a repository: on a mount that does not answer, or before a pipe in the place of a file.
So several work trees are looked at side by side, and configs of one that takes long come after the others.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from job_orchestration.code import checkouts, work_tree
from job_orchestration.code.snapshots import CodeStore
from job_orchestration.code.task_importer import CodePlan, modules_named, need_tasks_file
from job_orchestration.code.tasks_file import missing_tasks_file
from job_orchestration.config.settings import settings_of
from job_orchestration.diagnostics.errors import CodeError
from job_orchestration.diagnostics.problems import Severity, escaped, named
from job_orchestration.runs.events import Code
from job_orchestration.submission.candidate import guarded
from job_orchestration.submission.validation_lanes import GIVES_WAY_AFTER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from job_orchestration.code.work_tree import WorkTree
    from job_orchestration.submission.candidate import Candidate
    from job_orchestration.workspace.layout import Workspace

    Key: TypeAlias = tuple[str, tuple[str, ...]]
    """A folder, and the files in it that do not count as changes."""

T = TypeVar("T")
_LOOKS_AT_ONCE: Final = 16
"""Number of work trees that are looked at side by side."""


class CodePinning:
    """Look at each work tree once a pass, and pin its commit once.

    Args:
        workspace: where the snapshots are kept.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._store = CodeStore(Path(workspace.misc))
        self._outward: dict[str, list[str]] = {}
        self._changed = threading.Condition()
        self._places = threading.Semaphore(_LOOKS_AT_ONCE)
        self.start_pass()

    def start_pass(self) -> None:
        """Forget what was seen: a pass uses one state of each repository for all its batches."""
        self._looked: dict[Key, WorkTree | Exception] = {}
        self._looking: set[Key] = set()
        """What threads look at, or have looked at."""
        self._pinned: dict[tuple[str, bool, tuple[str, ...]], str | Exception] = {}

    def pin(self, candidates: Sequence[Candidate], *, alone: bool = True, may_be_slow: bool = False) -> None:
        """Give each candidate its commit and its code plan, or a problem.

        Args:
            candidates: of one batch.
            alone: whether no other configs wait for these.
            may_be_slow: whether to mark candidates as slow whose work trees take long, while others wait.
        """
        keys = [self._key_of(candidate) for candidate in candidates]
        wanted = {key for key in keys if key is not None}
        if self._looking or len(wanted) > 1 or not alone:
            self._look_side_by_side(dict.fromkeys(key for key in keys if key), may_be_slow=may_be_slow)
        for candidate, key in zip(candidates, keys, strict=True):
            if key in self._looking and key not in self._looked:
                candidate.is_slow = True
            else:
                guarded([candidate], functools.partial(self._plan, candidate))

    def _key_of(self, candidate: Candidate) -> Key | None:
        path = candidate.checked.path_to_tasks
        if path is None:
            return None
        folder = os.path.join(self._workspace.root, os.path.expanduser(path))
        return folder, settings_of(candidate.checked.values).ignored_files

    def _look_side_by_side(self, wanted: dict[Key, None], *, may_be_slow: bool) -> None:
        """Look at work trees in threads until all are done, or only slow ones are left."""
        found = self._looked
        for key in wanted:
            if key not in found and key not in self._looking:
                self._looking.add(key)
                look = functools.partial(self._look_into, found, key)
                threading.Thread(target=look, name="work tree", daemon=True).start()
        deadline = time.monotonic() + GIVES_WAY_AFTER
        with self._changed:
            while any(key not in found for key in wanted):
                left = deadline - time.monotonic() if may_be_slow else GIVES_WAY_AFTER
                if left <= 0:
                    return
                self._changed.wait(left)

    def _look_into(self, found: dict[Key, WorkTree | Exception], key: Key) -> None:
        with self._places:
            result = self._inspect(key)
        with self._changed:
            found[key] = result
            self._changed.notify_all()

    def _inspect(self, key: Key) -> WorkTree | Exception:
        folder, ignored = key
        root = Path(self._workspace.root)
        return _caught(functools.partial(work_tree.inspect_work_tree, Path(folder), root, ignored))

    def _plan(self, candidate: Candidate) -> None:
        path = candidate.checked.path_to_tasks
        methods = [task.method for task in candidate.checked.tasks if task.method]
        modules = modules_named(methods)
        if path is None:
            candidate.plan = CodePlan(
                modules=modules, fallback=self._workspace.root, imports=self._workspace.imports
            )
            return
        key = self._key_of(candidate)
        assert key is not None, "it has a path"
        folder, _ = key
        try:
            tree = self._look(key)
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

    def _look(self, key: Key) -> WorkTree:
        """Look at a work tree once a pass."""
        if key not in self._looked:
            self._looked[key] = self._inspect(key)
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


def _caught(call: Callable[[], T]) -> T | Exception:
    """Return a result or its error, to keep it and raise it for each config that it concerns."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001  # raised for each config
        return error


def _raised(found: T | Exception) -> T:
    if isinstance(found, Exception):
        raise found
    return found
