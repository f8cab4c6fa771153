"""Check failed runs that are to continue in other code or with other parameters.

What `ready` checks before a run is queued is checked again for the tasks that have no checkpoint: the values,
the commit, the imports, and each task's ``validate``. Nothing of a run is changed here. What was checked is
returned as the `requeued` event that makes it so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from job_orchestration.code import newer_commits
from job_orchestration.code.snapshots import CodeStore
from job_orchestration.code.task_importer import need_tasks_file
from job_orchestration.code.tasks_file import has_tasks_file
from job_orchestration.config import parameter_keys
from job_orchestration.config.config import specs_of
from job_orchestration.diagnostics.errors import CodeError, ForkServerError
from job_orchestration.diagnostics.problems import Problem, Severity, escaped, named
from job_orchestration.executor import code_plans, validation_client
from job_orchestration.executor.fork_server_client import ForkServerPool
from job_orchestration.runs import lifecycle, submitted_files
from job_orchestration.runs.events import Code, JournalEntry, Requeued
from job_orchestration.runs.state import TaskStatus
from job_orchestration.submission import changed_values, task_check
from job_orchestration.workspace import clock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.code.task_importer import CodePlan
    from job_orchestration.code.work_tree import WorkTree
    from job_orchestration.config.config import Json
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.runs.state import RunState, TaskState
    from job_orchestration.workspace.layout import Workspace

TODAY: Final = ""
"""In the place of a revision: HEAD if the work tree is clean and the tasks agree, otherwise the code of the
run."""


@dataclass(slots=True)
class Continuation:
    """A failed run on its way back to the queue, with its problems so far."""

    record: RunRecord
    event: Requeued
    state: RunState
    """The state that the run will have."""
    problems: list[Problem] = field(default_factory=list)
    plan: CodePlan | None = None

    @property
    def is_refused(self) -> bool:
        """Whether a problem keeps the run from being queued."""
        return any(problem.is_error for problem in self.problems)

    @property
    def open_tasks(self) -> list[int]:
        """The indices of the tasks that will run."""
        return [i for i, t in enumerate(self.state.tasks) if t.status is not TaskStatus.FINISHED]

    def add(self, what: str, todo: str = "", key: str = "", severity: Severity = Severity.ERROR) -> None:
        """Add a problem."""
        self.problems.append(Problem(os.path.basename(self.record.path), what, todo, key, severity=severity))


class ContinuationChecker:
    """Check the runs of one retry; each repository is looked at once.

    Args:
        workspace: with all its folders in place.
        revision: the commit to continue in, `TODAY`, or `None` for the code of the run.
        parameters: config key, or ``taskId.key``, to its new value.
        command: ``retry``, or ``rerun``. The runs of a rerun are new ones, so they are checked also if
            nothing is to change, and their commit may be the one that they had.
    """

    def __init__(
        self,
        workspace: Workspace,
        revision: str | None,
        parameters: Mapping[str, Json],
        command: str = "retry",
    ) -> None:
        self.notes: list[str] = []
        """Sentences about runs that keep their code although another was asked for."""
        self._workspace = workspace
        self._revision = revision
        self._parameters = parameters
        self._command = command
        self._store = CodeStore(Path(workspace.misc))
        self._trees: dict[str, WorkTree | CodeError] = {}
        self._chosen: dict[tuple[str, bool], tuple[str, WorkTree] | CodeError] = {}
        self._changed: dict[tuple[str, str], tuple[str, ...]] = {}

    def check(self, records: Sequence[RunRecord], event: Requeued) -> list[Continuation]:
        """Check some failed runs.

        Args:
            records: the runs; each has a state.
            event: what is asked of all of them, without code and parameters.
        """
        found = [self._prepared(record, event) for record in records]
        changed = [c for c in found if c.event.code is not None or c.event.parameters or self._is_rerun]
        for continuation in changed:
            self._plan(continuation)
        self._ask([c for c in changed if not c.is_refused])
        if self._revision == TODAY and not self._parameters:
            for continuation in changed:
                self._keep_code(continuation, event)
        for continuation in changed:
            if not continuation.is_refused:
                self._warn_of_changed_files(continuation)
        return found

    @property
    def _is_rerun(self) -> bool:
        return self._command == "rerun"

    # -- values and code --------------------------------------------------------------------------------

    def _prepared(self, record: RunRecord, event: Requeued) -> Continuation:
        state = record.state
        assert state is not None, "a run that was queued has a journal"
        found = Continuation(record, event, _after(state, event))
        parameters = self._parameters
        if parameters and self._is_rerun:
            parameters = parameter_keys.whole_values(found.state.values, parameters)
        if parameters:
            with_commit = self._revision is not None
            found.problems += changed_values.problems_of(
                *(found.state, parameters, record.path),
                with_commit=with_commit,
                is_new=self._is_rerun,
            )
            if found.is_refused:
                return found
            found.event = replace(event, parameters=dict(parameters))
            found.state = _after(state, found.event)
        if self._revision is not None:
            self._choose(found, self._revision)
            found.state = _after(state, found.event)
        return found

    def _choose(self, found: Continuation, revision: str) -> None:
        state = found.state
        path = state.values.get("pathToTasks")
        if state.code is None or not isinstance(path, str):
            if revision != TODAY:
                found.add(
                    "its tasks come from installed packages, not from a repository",
                    f"Install the packages that are to run, and {self._command} it without --commit",
                )
            return
        capture = state.values.get("UNSAFE_ignoreDirtyCheck") is True
        try:
            commit, tree = self._pinned(path, revision, may_capture=capture)
        except CodeError as error:
            if self._choose_stored(found, revision, path):
                return
            if revision == TODAY:
                self._note(f"{error.what}: its runs keep the code that they were queued with")
            else:
                found.add(error.what, error.todo, "pathToTasks")
            return
        code = Code(commit, tree.folder, str(tree.top))
        if code != state.code:
            found.event = replace(found.event, code=code, dirty=tree.dirty)
        self._remark(found, revision, self._tree(path), is_same=commit == state.code.commit)

    def _remark(self, found: Continuation, revision: str, tree: WorkTree, *, is_same: bool) -> None:
        """Say what is to be known about the choice of a commit, which is or is not the one of before."""
        if is_same and revision == newer_commits.HEAD and tree.dirty and not self._is_rerun:
            found.add(
                f"HEAD is the commit that it failed in; these changes are not committed: "
                f"{escaped(named(tree.dirty))}",
                "Commit them first, or retry it without --commit",
                "pathToTasks",
            )
        elif revision == newer_commits.HEAD or not (is_same or revision in {TODAY, newer_commits.WORK_TREE}):
            self._warn_of_dirt(found, tree)

    def _choose_stored(self, found: Continuation, revision: str, path: str) -> bool:
        """Choose a commit of the store if the repository is gone; return whether there is such a commit.

        One that the store does not hold whole is a problem of the run.
        """
        code = found.state.code
        if code is None or not isinstance(self._trees.get(path), CodeError):
            return False
        try:
            commit = newer_commits.pin_stored(self._store, revision)
        except CodeError as error:
            found.add(error.what, error.todo, "pathToTasks")
            return True
        if commit is None:
            return False
        if commit != code.commit:
            found.event = replace(found.event, code=replace(code, commit=commit))
        return True

    def _warn_of_dirt(self, found: Continuation, tree: WorkTree) -> None:
        if tree.dirty:
            what = f"uncommitted changes are not part of the commit: {escaped(named(tree.dirty))}"
            todo = f"Commit them, and {self._command} the run again if it needs them"
            found.add(what, todo, "", Severity.WARNING)

    def _tree(self, path: str) -> WorkTree:
        if path not in self._trees:
            try:
                self._trees[path] = newer_commits.tree_of(self._workspace.root, path)
            except CodeError as error:
                self._trees[path] = error
        tree = self._trees[path]
        if isinstance(tree, CodeError):
            raise tree
        return tree

    def _pinned(self, path: str, revision: str, *, may_capture: bool) -> tuple[str, WorkTree]:
        key = path, may_capture
        if key not in self._chosen:
            try:
                tree = self._tree(path)
                if revision == TODAY:
                    revision = _today(tree, may_capture=may_capture)
                chosen = newer_commits.choose(self._store, tree, revision, may_capture=may_capture)
                self._chosen[key] = chosen
            except CodeError as error:
                self._chosen[key] = error
        found = self._chosen[key]
        if isinstance(found, CodeError):
            raise found
        return found

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)

    # -- the tasks --------------------------------------------------------------------------------------

    def _plan(self, found: Continuation) -> None:
        """Make the snapshot that the run will be executed in."""
        if found.is_refused:
            return
        code = found.state.code
        try:
            plan = code_plans.plan_of(self._workspace, self._store, found.state)
        except CodeError as error:
            found.add(error.what, error.todo, "pathToTasks")
            return
        is_needed = need_tasks_file(spec.method for spec in specs_of(found.state.values))
        if code is not None and is_needed and not has_tasks_file(plan.tasks_folder):
            found.add(
                f"the commit {code.commit[:12]} has no file Tasks.py in {escaped(code.folder)}",
                "Choose a commit that has it",
                "pathToTasks",
            )
        found.plan = plan

    def _ask(self, continuations: Sequence[Continuation]) -> None:
        """Import the tasks and call the ``validate`` of those that will run."""
        groups: dict[CodePlan, list[Continuation]] = {}
        for continuation in continuations:
            if continuation.plan is not None:
                groups.setdefault(continuation.plan, []).append(continuation)
        if not groups:
            return
        fork_servers = ForkServerPool(self._workspace)
        try:
            for plan, asked in groups.items():
                questions = [self._question(n, continuation) for n, continuation in enumerate(asked)]
                try:
                    limit = task_check.limit_of(continuation.state.values for continuation in asked)
                    answers = validation_client.ask(fork_servers.get(plan, limit), questions, limit)
                except ForkServerError as error:
                    for continuation in asked:
                        todo = f"Mend the import, commit it, and {self._command} the run again"
                        continuation.add(error.what.splitlines()[0], todo, "pathToTasks")
                    continue
                for n, continuation in enumerate(asked):
                    for fault in answers[n]:
                        _note_fault(continuation, fault)
        finally:
            fork_servers.close()

    def _question(self, number: int, found: Continuation) -> validation_client.Question:
        assert found.record.run is not None, "it has a state"
        folder = self._workspace.run_folder(found.record.run)
        values = {**submitted_files.located(found.state.values, folder), "outputDir": folder}
        specs = specs_of(found.state.values)
        tasks = tuple(specs[i].merged_with({}) for i in found.open_tasks)
        return validation_client.Question(number, values, tasks, ask=True)

    def _keep_code(self, found: Continuation, event: Requeued) -> None:
        """Let a run that today's code refuses continue in its own, and say why."""
        if found.is_refused and found.event.code is not None:
            for problem in found.problems:
                self._note(f"{problem} It keeps the code that it was queued with.")
            found.problems.clear()
            assert found.record.state is not None, "it was checked"
            found.event, found.state = event, _after(found.record.state, event)

    # -- what has run already ---------------------------------------------------------------------------

    def _warn_of_changed_files(self, found: Continuation) -> None:
        """Name the files that have changed since a finished task imported them."""
        code = found.event.code
        finished = [t for t in found.state.tasks if t.status is TaskStatus.FINISHED]
        affected: dict[str, set[str]] = {}
        for task in finished if code is not None else ():
            if code is None or task.commit is None or task.commit == code.commit:
                continue
            stale = self._stale_files(task, finished, code)
            if stale:
                affected[task.id] = stale
        if not affected:
            return
        first = next(iter(affected))
        files = sorted(set().union(*affected.values()))
        found.add(
            f"{escaped(named(files))} changed since {escaped(named(affected))} ran, "
            f"whose {'result stays' if len(affected) == 1 else 'results stay'} as before",
            f"To run {'it' if len(affected) == 1 else 'them'} again in the new code, "
            f"add --from {escaped(first)}",
            severity=Severity.WARNING,
        )

    def _stale_files(self, task: TaskState, finished: Sequence[TaskState], code: Code) -> set[str]:
        assert task.commit is not None, "asked for a task with a commit"
        key = task.commit, code.commit
        if key not in self._changed:
            try:
                self._changed[key] = newer_commits.changed_files(self._store, *key)
            except CodeError:
                self._changed[key] = ()  # the old commit is gone, so no difference is known
        same = [t for t in finished if t.attempt == task.attempt]
        known = {name for t in same[: same.index(task) + 1] for name in t.imported}
        if not known:  # an older release ran it
            return {path for path in self._changed[key] if path.endswith(".py")}
        return {path for path in self._changed[key] if path in known}


def _today(tree: WorkTree, *, may_capture: bool) -> str:
    """Return the revision that `TODAY` means for a work tree.

    Raises:
        CodeError: it has uncommitted changes, which may not be captured.
    """
    if tree.dirty and not may_capture:
        raise CodeError(f"{tree.top} has uncommitted changes ({escaped(named(tree.dirty))})")
    return newer_commits.WORK_TREE if may_capture else newer_commits.HEAD


def _after(state: RunState, event: Requeued) -> RunState:
    """Return the state of a failed run after a `requeued` event."""
    return lifecycle.step(state, JournalEntry(0, clock.timestamp(), event))


def _note_fault(found: Continuation, fault: validation_client.TaskFault) -> None:
    if fault.task < 0:
        found.add(fault.what, key="tasks")
        return
    index = found.open_tasks[fault.task]
    spec = specs_of(found.state.values)[index]
    own = fault.key == "method" or fault.key in spec.parameters
    place = f"tasks[{index}]"
    found.add(f"{spec.id}: {fault.what}", key=f"{place}.{fault.key}" if own else fault.key or place)
