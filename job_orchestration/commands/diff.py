"""`diff`: what differs between runs, or between a run and the work tree as it is now."""

from __future__ import annotations

import functools
import hashlib
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from job_orchestration.code import newer_commits
from job_orchestration.code.snapshots import CodeStore
from job_orchestration.commands import selection
from job_orchestration.commands.selection import Selection
from job_orchestration.comparison import code_changes, difference
from job_orchestration.comparison.code_changes import TaskCode
from job_orchestration.comparison.difference import Side
from job_orchestration.config import metric_directions
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs import catalog, environments, inputs, opening, provenance_file, submitted_files
from job_orchestration.workspace import clock, safe_reads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from job_orchestration.comparison.code_changes import CodeChanges
    from job_orchestration.comparison.difference import Difference
    from job_orchestration.config.config import Json
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.runs.state import RunState
    from job_orchestration.workspace.layout import Workspace


def names_meant(workspace: Workspace, words: Sequence[str]) -> list[str]:
    """Return the names of the runs that some names and globs mean, each once.

    Raises:
        UsageError: if a glob matches nothing.
    """
    if not any(selection.GLOB & set(word) for word in words):
        return list(words)
    records = catalog.entries(workspace)
    found: dict[str, None] = {}
    for word in words:
        if selection.is_glob(records, word):
            chosen = selection.chosen(workspace, records, Selection((word,)))
            found |= dict.fromkeys(record.run for record in chosen if record.run is not None)
        else:
            found[word] = None
    return list(found)


def diff(workspace: Workspace, before: str, after: str) -> Difference:
    """Compare two runs. Changes nothing.

    Raises:
        UsageError: if a name matches no run, or more than one, or a config that is not queued yet.
    """
    one, other = _sides(workspace, [before, after])
    return difference.between(one, other, _code_between(workspace, one.state, other.state))


def has_cause(workspace: Workspace, before: RunRecord, after: RunRecord) -> bool:
    """Return whether anything that is recorded of two runs could explain other results. Changes nothing."""
    one, other = (side_of(workspace, record) for record in (before, after))
    found = difference.between(one, other, _code_between(workspace, one.state, other.state))
    return bool(found.causes) or found.only is not None


def diff_many(workspace: Workspace, names: Sequence[str]) -> list[dict[str, Json]]:
    """Return a row for each run with what differs between some of them. Changes nothing.

    Raises:
        UsageError: as for `diff`.
    """
    return difference.of_many(_sides(workspace, names))


def diff_work_tree(workspace: Workspace, name: str) -> CodeChanges:
    """Compare the code of a run with the work tree of its ``pathToTasks`` as it is now. Changes nothing.

    Raises:
        UsageError: as for `diff`, and if the run has no code of its own.
        CodeError: if the work tree cannot be read.
    """
    (side,) = _sides(workspace, [name])
    state, path = side.state, side.state.values.get("pathToTasks")
    if state.code is None or not isinstance(path, str):
        raise UsageError(f"{escaped(side.run)} has no code of its own", "Compare it with another run")
    tree = newer_commits.tree_of(workspace.root, path)
    store = CodeStore(Path(workspace.misc))
    return code_changes.with_work_tree(store, state.code.commit, tree.top, [tree.folder], imported(state))


def _sides(workspace: Workspace, names: Sequence[str]) -> list[Side]:
    records = catalog.entries(workspace)
    return [side_of(workspace, selection.one(records, name)) for name in names]


def side_of(workspace: Workspace, record: RunRecord) -> Side:
    """Return what is compared of a run.

    Raises:
        UsageError: if it is a config that is not queued yet.
    """
    if record.run is None or record.state is None:
        raise UsageError(f"{escaped(record.config)} is not queued yet", "Run: job-orchestration ready")
    row = selection.row_of(workspace, record, clock.now(), [])
    queued = provenance_file.read(workspace.run_folder(record.run)) or {}
    provenance = {**queued, **environments.of_run(workspace, record.run, record.state)}
    return Side(
        *(
            record.run,
            _parameters(workspace, record.run, row.parameters, record.state.values),
            row.results,
            record.state,
            provenance,
        ),
        aims=_aims(workspace, record.state, row.results),
        inputs={path: about.get("sha256") for path, about in inputs.recorded(workspace, queued).items()},
    )


def _parameters(
    workspace: Workspace, run: str, parameters: Mapping[str, Json], values: Mapping[str, Json]
) -> Mapping[str, Json]:
    """Return parameters with the name and content of files that were submitted with the run.

    Their paths hold the run's name, so they differ between any two runs.
    """
    above = os.path.join(workspace.run_folder(run), "")
    folder = os.path.join(above, opening.INPUTS, "")
    found = dict(parameters)
    located = submitted_files.located(values, workspace.run_folder(run))
    for key, value in {**parameters, **{key: located[key] for key in parameters if key in located}}.items():
        if isinstance(value, str) and value.startswith(folder):
            with suppress(OSError):
                digest = hashlib.sha256(safe_reads.whole(value)).hexdigest()
                found[key] = (
                    f"{value.removeprefix(workspace.run_folder(run) + os.sep)} (sha256 {digest[:12]})"
                )
    return found


def _aims(workspace: Workspace, state: RunState, results: Iterable[str]) -> dict[str, bool]:
    """Return the results of which the config or the search says it, and whether the highest is the best."""
    said = {name: metric_directions.is_highest_best(state.values, name) for name in results}
    found = {name: is_highest_best for name, is_highest_best in said.items() if is_highest_best is not None}
    if state.trial is None or state.trial.number is None:
        return found
    from job_orchestration.search import searches

    order = searches.read(workspace, state.trial.sweep)
    if order is None:
        return found
    metric, is_highest_best = order.search.aim
    return found | dict.fromkeys((name for name in results if name == metric), is_highest_best)


def _code_between(workspace: Workspace, one: RunState, other: RunState) -> CodeChanges:
    if one.code is None or other.code is None:
        before, after = (state.code.commit if state.code else None for state in (one, other))
        return code_changes.without(before, after, "One of the runs has no code of its own")
    between = functools.partial(
        code_changes.between_commits,
        CodeStore(Path(workspace.misc)),
        folders={one.code.folder, other.code.folder},
        imported=imported(one) | imported(other),
    )
    whole = between(one.code.commit, other.code.commit)
    known: dict[tuple[str, str], CodeChanges] = {}
    tasks = []
    commits = other.commits
    for task, before in one.commits.items():
        pair = before, commits.get(task, before)
        if pair[0] != pair[1] and pair != (whole.before, whole.after):
            known[pair] = found = known.get(pair) or between(*pair)
            if found.files or found.fault:
                tasks.append(TaskCode(task, *pair, tuple(file.path for file in found.files)))
    return replace(whole, tasks=tuple(tasks))


def imported(state: RunState) -> set[str]:
    """Return the files that the tasks of a run imported, relative to the top of the repository."""
    return {path for task in state.tasks for path in task.imported}
