"""`debug`: run one task of a config in the foreground, with the code as it is; nothing is queued."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_orchestration.code.task_importer import need_tasks_file
from job_orchestration.code.tasks_file import missing_tasks_file
from job_orchestration.commands import selection
from job_orchestration.config import workspace_defaults
from job_orchestration.config.config import specs_of
from job_orchestration.config.settings import settings_of
from job_orchestration.diagnostics import suggestions
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import Problem, escaped
from job_orchestration.executor.foreground import ForegroundRun
from job_orchestration.runs import catalog, journal, lifecycle, submitted_files
from job_orchestration.runs.state import TaskStatus, replace
from job_orchestration.submission import chosen_files, sweep_candidates
from job_orchestration.workspace import naming

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.config.config import Json, TaskSpec
    from job_orchestration.runs.state import TaskState
    from job_orchestration.workspace.layout import Workspace


@dataclass(frozen=True, slots=True)
class DebugPlan:
    """What `debug` is going to run."""

    run: ForegroundRun
    tasks: tuple[TaskSpec, ...]
    """The tasks to run, in order; the last one is the one that was asked for."""
    taken: tuple[str, ...]
    """Ids of tasks whose results are taken from `source`."""
    source: str | None
    parameters: Mapping[str, Json]
    """Those of the trial, if the config is a sweep: the first trial is run."""
    problems: tuple[Problem, ...]
    """Why nothing can be run, if one is an error."""


@dataclass(frozen=True, slots=True)
class _Subject:
    """A config: of a file, or of a run."""

    name: str
    values: Mapping[str, Json]
    parameters: Mapping[str, Json]
    problems: tuple[Problem, ...]
    done: Mapping[str, TaskState]
    source: str | None


def plan(workspace: Workspace, name: str, *, task: str | None = None, source: str | None = None) -> DebugPlan:
    """Find out what to run.

    Args:
        workspace: for the defaults of configs, and to look up names.
        name: a config, as `check` takes it, or a run.
        task: the id of the task; default: the first one, of a run the first that has not finished.
        source: a run whose finished tasks are not run again; default: the run itself, if `name` is one.

    Raises:
        UsageError: if there is no such config, run or task.
    """
    subject = _subject(workspace, name)
    done, origin = subject.done, subject.source
    if source is not None:
        origin, _, done = _run(workspace, source)
    specs = specs_of(subject.values)
    refused = any(p.is_error for p in subject.problems)
    chosen = -1 if refused else _index(specs, task, subject)
    taken = tuple(s.id for s in specs[: max(chosen, 0)] if s.id in done)
    code, problem = (None, None) if refused else _code_folder(workspace, name, subject.values)
    seed = settings_of(subject.values).seed
    made = ForegroundRun(
        subject.name,
        random.SystemRandom().getrandbits(32) if seed is None else seed,
        subject.values,
        code,
        {id_: done[id_] for id_ in taken},
    )
    to_run = tuple(s for s in specs[: chosen + 1] if s.id not in taken)
    problems = (*subject.problems, problem) if problem else subject.problems
    return DebugPlan(made, to_run, taken, origin if taken else None, subject.parameters, problems)


def _subject(workspace: Workspace, name: str) -> _Subject:
    try:
        files = chosen_files.find(workspace, [name])
    except UsageError as error:
        try:
            run, values, done = _run(workspace, name)
        except UsageError:
            raise error from None
        return _Subject(run, values, {}, (), done, run)
    if len(files) > 1:
        found = ", ".join(escaped(file.name) for file in files)
        raise UsageError(f"{escaped(name)} may mean {found}", "Name one config")
    drop = files[0].read_through_links()
    if isinstance(drop, Problem):
        return _Subject(name, {}, {}, (drop,), {}, None)
    defaults, problems = workspace_defaults.defaults(workspace, check_keys=True)
    first = sweep_candidates.candidates_of(drop, defaults)[0]
    parameters = first.trial.parameters if first.trial else {}
    stem = naming.stem_of(drop.filename)
    return _Subject(stem, first.checked.values, parameters, (*problems, *first.problems), {}, None)


def _run(workspace: Workspace, name: str) -> tuple[str, Mapping[str, Json], dict[str, TaskState]]:
    """Return the name, the config and the finished tasks of a run; their folders are absolute."""
    record = selection.one(catalog.entries(workspace), name)
    if record.run is None:
        raise UsageError(f"{escaped(name)} was not readied yet", "Name its file to debug it")
    folder = workspace.run_folder(record.run)
    state = lifecycle.fold(journal.read(folder))
    done = {
        t.id: replace(t, folder=t.folder and os.path.join(folder, t.folder))
        for t in state.tasks
        if t.status is TaskStatus.FINISHED
    }
    return record.run, submitted_files.located(state.values, folder), done


def _index(specs: Sequence[TaskSpec], task: str | None, subject: _Subject) -> int:
    ids = [spec.id for spec in specs]
    if task is None:
        return next((i for i, id_ in enumerate(ids) if id_ not in subject.done), 0)
    if task not in ids:
        near = suggestions.nearest_names(task, ids)
        todo = suggestions.did_you_mean(near) if near else f"It has {escaped(', '.join(ids))}"
        raise UsageError(f"{escaped(subject.name)} has no task {escaped(task)}", todo)
    return ids.index(task)


def _code_folder(
    workspace: Workspace, name: str, values: Mapping[str, Json]
) -> tuple[str | None, Problem | None]:
    path = values.get("pathToTasks")
    if not isinstance(path, str):
        return None, None
    folder = os.path.normpath(os.path.join(workspace.root, os.path.expanduser(path)))
    fault = missing_tasks_file(folder, f"{folder} has no file Tasks.py")
    is_needed = need_tasks_file(spec.method for spec in specs_of(values))
    return folder, Problem(name, fault.what, fault.todo, "pathToTasks") if fault and is_needed else None
