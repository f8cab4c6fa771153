"""`check`: everything that is looked at before a config is queued, without queueing it.

The order is that of a dropped file's way: read, check, pin, choose the output folder, ask the tasks. A
finding of one step does not keep the next from looking, as far as it still can: all problems of a file come
in one go, and a bad file never stops the others. What is paid per repository is paid once a batch: one look
at the work tree, one pin, one host.
"""

from __future__ import annotations

import functools
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from job_orchestration.actions import predecessors, sweeps, who_is_told
from job_orchestration.engine import checks
from job_orchestration.engine.hosts import Hosts
from job_orchestration.engine.loading import CodePlan, modules_named
from job_orchestration.files import intake, opening, worktree
from job_orchestration.files import workspace as workspaces
from job_orchestration.files.code import CodeStore
from job_orchestration.model.errors import CodeError, HostError
from job_orchestration.model.event import Code
from job_orchestration.model.problem import Problem, Severity, escaped, named
from job_orchestration.rules import naming

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from job_orchestration.actions.candidates import Candidate
    from job_orchestration.files.intake import Drop
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.files.worktree import WorkTree
    from job_orchestration.model.config import Config
    from job_orchestration.rules.naming import Fault

T = TypeVar("T")


class Check:
    """The checks of one batch after another; warm hosts and pins are kept from one to the next.

    Args:
        workspace: with all its folders in place.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._hosts = Hosts(workspace)
        self._store = CodeStore(Path(workspace.misc))
        self.look_anew()

    def close(self) -> None:
        """End the hosts."""
        self._hosts.close()

    def look_anew(self) -> None:
        """Begin a go: from now on repositories are what they are now, for all its batches together."""
        self._looked: dict[str, WorkTree | CodeError] = {}
        self._pinned: dict[tuple[str, bool], str | CodeError] = {}

    def examine(self, drops: Sequence[Drop]) -> list[Candidate]:
        """Look at some drops in every way there is; each comes back with all that was found."""
        defaults, problems = workspaces.defaults(self.workspace)
        if "sweep" in defaults:
            todo = "Write it into the config that it is for"
            problems.append(Problem(workspaces.DEFAULTS, "a sweep is no default", todo, "sweep"))
        found = [candidate for drop in drops for candidate in sweeps.candidates_of(drop, defaults)]
        for candidate in found:
            candidate.problems += problems
        self._pin(found)
        self._choose_runs(found)
        self._ask(found)
        who_is_told.check(found, defaults)
        predecessors.resolve(self.workspace, found)
        for candidate in found:
            candidate.problems.sort(key=lambda p: (p.line, p.column))
        return found

    # -- the code -----------------------------------------------------------------------------------------

    def _pin(self, candidates: Iterable[Candidate]) -> None:
        for candidate in candidates:
            path = candidate.checked.path_to_tasks
            modules = modules_named(t.method for t in candidate.checked.tasks if t.method)
            if path is None:
                candidate.plan = CodePlan(modules=modules, fallback=self.workspace.root)
                continue
            folder = os.path.join(self.workspace.root, os.path.expanduser(path))
            try:
                if folder not in self._looked:
                    self._looked[folder] = _caught(
                        functools.partial(worktree.look, Path(folder), Path(self.workspace.root))
                    )
                tree = _raised(self._looked[folder])
                self._pin_one(candidate, tree)
            except CodeError as error:
                candidate.add(error.what, error.todo, "pathToTasks")
                continue
            assert candidate.code is not None
            snapshot = self._store.snapshot(candidate.code.commit)
            if not os.path.isfile(os.path.join(snapshot, tree.folder, "Tasks.py")):
                candidate.add(
                    f"the commit {candidate.code.commit[:12]} has no file Tasks.py in {tree.folder}",
                    "Let pathToTasks name the folder of your Tasks.py, and commit the file",
                    "pathToTasks",
                )
                continue
            candidate.plan = CodePlan(
                str(snapshot), tree.folder, str(tree.top), modules, bytecode=self.workspace.bytecode
            )

    def _pin_one(self, candidate: Candidate, tree: WorkTree) -> None:
        capture = bool(tree.dirty) and candidate.checked.values.get("UNSAFE_ignoreDirtyCheck") is True
        if tree.dirty and not capture:
            candidate.add(
                "You have uncommitted changes, so what is checked now could not be run again: "
                + escaped(named(tree.dirty)),
                "Commit them, or say UNSAFE_ignoreDirtyCheck: true to have them captured",
                "pathToTasks",
            )
        key = (str(tree.top), capture)
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

    # -- the output folder --------------------------------------------------------------------------------

    def _choose_runs(self, candidates: Sequence[Candidate]) -> None:
        now = datetime.now().astimezone()
        families: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            if candidate.trial is not None:
                families.setdefault(candidate.drop.filename, []).append(candidate)
        for family in families.values():
            sweeps.choose_runs(self.workspace, family, now)
        claimed = _Claimed()
        for candidate in candidates:
            self._choose_run(candidate, claimed, now)

    def _choose_run(self, candidate: Candidate, claimed: _Claimed, now: datetime) -> None:
        config = candidate.checked.config
        if config is None or candidate.there:
            return
        rendered: str | Fault = candidate.run
        if candidate.trial is None:
            commit = candidate.code.commit if candidate.code else None
            rendered = naming.render_output_dir(config.output_dir, name=config.name, now=now, commit=commit)
            if isinstance(rendered, str) and "{time}" in config.output_dir:
                taken = claimed.runs
                rendered = naming.numbered(rendered, lambda run: run in taken or self._exists(run))
        if not rendered:
            return  # a trial without a folder: its problem is noted
        fault = rendered if not isinstance(rendered, str) else self._fault_of_run(rendered, config, claimed)
        if fault is not None:
            candidate.run = ""
            candidate.add(fault.what, fault.todo, "outputDir")
        elif isinstance(rendered, str):
            candidate.run = rendered
            claimed.add(candidate)

    def _exists(self, run: str) -> bool:
        return os.path.lexists(self.workspace.run_folder(run))

    def _fault_of_run(self, run: str, config: Config, claimed: _Claimed) -> Fault | None:
        todo = "Choose another outputDir"
        obstacle = _obstacle(self.workspace, run)
        if obstacle is not None:
            return naming.Fault(obstacle, todo)
        above = opening.enclosing_run(self.workspace, run) or next(
            (r for r in _ancestors(run) if r in claimed.runs), None
        )
        if above is not None:
            return naming.Fault(f"Output/{run} would lie inside the run {above}", todo)
        if run in claimed.runs:
            other = claimed.runs[run]
            return naming.Fault(
                f"{escaped(other)}, readied in the same go, has the same output folder {run}", todo
            )
        below = claimed.above.get(run)
        if below is not None:
            return naming.Fault(f"the run {below} would lie inside Output/{run}", todo)
        if self._exists(run) and not config.settings.overwrite_output:
            return naming.Fault(
                f"The path {run} already exists in Output",
                f"{todo}, or say overwriteOutputFine: true to have the old one moved to Misc/trash",
            )
        return None

    # -- the tasks themselves -----------------------------------------------------------------------------

    def _ask(self, candidates: Sequence[Candidate]) -> None:
        groups: dict[CodePlan, list[int]] = {}
        for number, candidate in enumerate(candidates):
            if (
                candidate.plan is not None
                and not candidate.there
                and any(t.method for t in candidate.checked.tasks)
            ):
                groups.setdefault(candidate.plan, []).append(number)
        for plan, numbers in groups.items():
            questions = [self._question(n, candidates[n]) for n in numbers]
            try:
                answers = checks.ask(self._hosts.get(plan), questions)
            except HostError as error:
                for n in numbers:
                    key = "pathToTasks" if plan.snapshot else "tasks"
                    candidates[n].add(error.what.splitlines()[0], error.todo, key)
                continue
            for n in numbers:
                for finding in answers[n]:
                    _note(candidates[n], finding)

    def _question(self, number: int, candidate: Candidate) -> checks.Question:
        values = {**candidate.checked.values, "outputDir": self.workspace.run_folder(candidate.run)}
        tasks = tuple(t.merged_with({}) for t in candidate.checked.tasks if t.method)
        return checks.Question(number, values, tasks, ask=candidate.config is not None)


class _Claimed:
    """The folders that the candidates of one go have chosen so far."""

    def __init__(self) -> None:
        self.runs: dict[str, str] = {}
        """Run to the file that becomes it."""
        self.above: dict[str, str] = {}
        """Folder to a run inside it."""

    def add(self, candidate: Candidate) -> None:
        """Note the folder that a candidate has chosen."""
        self.runs[candidate.run] = candidate.drop.filename
        self.above.update(dict.fromkeys(_ancestors(candidate.run), candidate.run))


def _note(candidate: Candidate, finding: checks.Finding) -> None:
    specs = [(i, t) for i, t in enumerate(candidate.checked.tasks) if t.method]
    if finding.task < 0:
        candidate.add(finding.what, key="tasks")
        return
    index, spec = specs[finding.task]
    candidate.add(f"{spec.id}: {finding.what}", key=f"tasks[{index}]")


def _ancestors(run: str) -> list[str]:
    parts = run.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def _obstacle(workspace: Workspace, run: str) -> str | None:
    """What on the way to a run's folder is no folder."""
    for above in (*_ancestors(run), run):
        path = workspace.run_folder(above)
        if os.path.islink(path):
            return f"Output/{run} leads through a symbolic link"
        if above != run and os.path.lexists(path) and not os.path.isdir(path):
            return f"Output/{above} is a file, and a folder is needed there"
    return None


def _caught(call: Callable[[], T]) -> T | CodeError:
    """A result or the error in its stead, so that it can be kept and raised for each config it concerns."""
    try:
        return call()
    except CodeError as error:
        return error


def _raised(found: T | CodeError) -> T:
    if isinstance(found, CodeError):
        raise found
    return found


def drops_in(
    workspace: Workspace, settled: Callable[[str, os.stat_result], bool]
) -> tuple[list[Drop], dict[str, list[Problem]], list[str]]:
    """What lies in ConfigSources.

    Args:
        workspace: where to look.
        settled: whether a file of a name, with this status, has been at rest long enough.

    Returns:
        The drops that were read, the problems of files that never can be, and the names of those not
        settled yet.
    """
    drops: list[Drop] = []
    refused: dict[str, list[Problem]] = {}
    unsettled: list[str] = []
    for filename in sorted(os.listdir(workspace.sources)):
        if not naming.is_config_name(filename):
            continue
        fault = naming.stem_problem(filename)
        if fault is not None:
            refused[filename] = [Problem(filename, fault.what, fault.todo)]
            continue
        taken = intake.take_in(
            Path(workspace.sources), filename, settled=functools.partial(settled, filename)
        )
        if taken is None:
            unsettled.append(filename)
        elif isinstance(taken, Problem):
            refused[filename] = [taken]
        else:
            drops.append(taken)
    return drops, refused, unsettled
