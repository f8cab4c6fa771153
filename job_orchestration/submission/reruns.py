"""Queue runs once more: a new run with the recorded code, config and seed of an earlier one, or with changes.

What `retry` checks before a failed run continues in other code is checked here for all tasks of the new run:
values, commit, imports, and each task's ``validate``. The earlier run is only read.
"""

from __future__ import annotations

import functools
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.code import provenance
from job_orchestration.code.provenance import Provenance
from job_orchestration.config import json_floats
from job_orchestration.diagnostics.problems import Severity, escaped, named
from job_orchestration.runs import (
    cache_maintenance,
    environments,
    opening,
    provenance_file,
    stored_lists,
    submitted_files,
    taken_checkpoints,
    working_folder,
)
from job_orchestration.runs.checkpoint_copies import ChangedCheckpointError
from job_orchestration.runs.events import Requeued
from job_orchestration.runs.queued_sources import Source
from job_orchestration.runs.state import Status, TaskStatus
from job_orchestration.submission import acceptance, environment_changes
from job_orchestration.submission.continuation import Continuation, ContinuationChecker
from job_orchestration.workspace import clock, failures, naming

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.diagnostics.problems import Problem
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.runs.state import RunState, TaskState
    from job_orchestration.runs.taken_checkpoints import TakenCheckpoint
    from job_orchestration.submission.environment_changes import EnvironmentChange
    from job_orchestration.workspace.layout import Workspace

ENDING: Final = "-rerun"
"""What the name of a rerun has after that of its original; a number may follow."""
_MOST_PART_BYTES: Final = 190
_WITHOUT: Final = "Rerun it without --from, or from an earlier task"
NOT_REPEATED: Final = frozenset({"after", "sweep", "reuse"})
"""Keys of a config: the runs that the original waited for, how its parameters were chosen, and whether it
may take results of earlier runs, which would be its original's."""


@dataclass(slots=True)
class Rerun:
    """A new run on its way into the queue."""

    run: str
    """Its name."""
    original: str
    """The run that it repeats."""
    record: RunRecord
    """The original."""
    checked: Continuation
    verify: Mapping[str, Json] | None = None
    """How it is to be compared with the original."""
    changes: tuple[EnvironmentChange, ...] = ()
    """What is not as it was when the original was executed."""
    stem: str = ""
    """The stem of its token, once it is queued."""

    @property
    def state(self) -> RunState:
        """The state that it will have once it is queued."""
        return self.checked.state

    @property
    def checkpoints(self) -> tuple[TaskState, ...]:
        """The tasks that it takes from its original: the first ones, up to one that is to run."""
        return tuple(takewhile(lambda task: task.status is TaskStatus.FINISHED, self.state.tasks))

    @property
    def problems(self) -> list[Problem]:
        """What is wrong with it, and what is to be said about it."""
        return self.checked.problems

    @property
    def is_refused(self) -> bool:
        """Whether a problem keeps it from being queued."""
        return self.checked.is_refused

    @property
    def commit(self) -> str | None:
        """The commit that it executes."""
        return self.state.code.commit if self.state.code else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be different from the original."""

    commit: str | None = None
    """A revision of the tasks' repository, or a commit of the workspace's store; `None`: the recorded one."""
    parameters: Mapping[str, Json] = field(default_factory=dict)
    """Config key, or ``taskId.key``, to its new value."""
    has_recorded_environment: bool = False
    """Whether the tasks are to run with the recorded packages and Python instead of those of the worker."""
    is_strict: bool = False
    """Whether a run is refused if anything is not as it was."""
    task: str | None = None
    """The first task that runs; the checkpoints of those before it are taken from the original."""
    verify: Mapping[str, Json] | None = None
    """With which ``rtol``, ``atol`` and ``ignore`` it is to be compared with the original."""


def check(
    workspace: Workspace, records: Sequence[RunRecord], wanted: Wanted
) -> tuple[list[Rerun], tuple[str, ...]]:
    """Check the reruns of some ended runs; nothing is queued.

    Args:
        workspace: with all its folders in place.
        records: the runs; each has a state.
        wanted: what is to be different.

    Returns:
        A rerun for each, with its problems, and sentences about all.
    """
    checker = ContinuationChecker(workspace, wanted.commit, wanted.parameters, "rerun")
    taken: set[str] = set()
    subjects = [
        _subject(workspace, record, taken, own_environment=wanted.has_recorded_environment)
        for record in records
    ]
    found = checker.check(subjects, Requeued("rerun", wanted.task, fresh=wanted.task is None))
    reruns = [
        Rerun(str(checked.record.run), str(record.run), record, checked, wanted.verify)
        for record, checked in zip(records, found, strict=True)
    ]
    for rerun in reruns:
        _compare_environments(workspace, rerun, wanted)
        if wanted.has_recorded_environment:
            _warn_of_editable_packages(rerun)
        if wanted.commit is None and not rerun.is_refused:
            _warn_of_other_commits(rerun)
        if rerun.checkpoints and not rerun.is_refused:
            _warn_of_other_files(workspace, rerun)
    return reruns, tuple(checker.notes)


def _compare_environments(workspace: Workspace, rerun: Rerun, wanted: Wanted) -> None:
    assert rerun.record.state is not None, "it was queued"
    rerun.changes = environment_changes.changes_since(
        *(workspace, rerun.original, rerun.record.state), with_packages=not wanted.has_recorded_environment
    )
    if wanted.is_strict and rerun.changes:
        what = f"not everything is as it was: {named(map(str, rerun.changes))}"
        rerun.checked.add(what, "Restore it, or rerun it without --strict")


def _warn_of_other_commits(rerun: Rerun) -> None:
    """Say which tasks the original ran in other code, before it was retried: a rerun has one commit."""
    before = rerun.record.state.commits if rerun.record.state is not None else {}
    taken = {task.id for task in rerun.checkpoints}
    others = {id_: c for id_, c in before.items() if id_ not in taken and c != rerun.commit}
    if others and rerun.commit is not None:
        ran = named([f"{escaped(id_)} in {commit[:12]}" for id_, commit in others.items()])
        what = f"the original ran {ran}; the rerun runs every task in {rerun.commit[:12]}"
        todo = "To have the code of a task again, name its commit with --commit"
        rerun.checked.add(what, todo, severity=Severity.WARNING)


def _warn_of_editable_packages(rerun: Rerun) -> None:
    """Say what becomes of packages that were installed from a folder: no index has them."""
    own = rerun.state.own_environment or {}
    editable = own.get("editable")
    for name, folder in editable.items() if isinstance(editable, dict) else ():
        if name == "job-orchestration":
            continue
        there = isinstance(folder, str) and os.path.isdir(folder)
        what = f"{escaped(name)} was installed as editable from {escaped(str(folder))}"
        how = (
            "it is imported from there as it is now" if there else "it is left out, since the folder is gone"
        )
        rerun.checked.add(f"{what}; {how}", severity=Severity.WARNING)


def _warn_of_other_files(workspace: Workspace, rerun: Rerun) -> None:
    """Say that files are not taken which tasks wrote beside their stores: nothing says which task did."""
    written = working_folder.files_in(workspace.run_folder(rerun.original))
    if written:
        what = f"what its tasks wrote by a relative name is not taken: {escaped(named(written))}"
        todo = "Have tasks save files with self.context.store, or rerun it without --from"
        rerun.checked.add(what, todo, severity=Severity.WARNING)


def _subject(workspace: Workspace, record: RunRecord, taken: set[str], *, own_environment: bool) -> RunRecord:
    """Return the record of the run to be: that of the original under a new name, as if it had failed."""
    state = record.state
    assert state is not None, "it was queued"
    assert record.run is not None, "it was queued"
    located = submitted_files.located(state.values, workspace.run_folder(record.run))
    values = {key: value for key, value in located.items() if key not in NOT_REPEATED}
    own = _recorded_environment(workspace, record.run, state) if own_environment else None
    ended = replace(state, status=Status.FAILED, values=values, trial=None, changes=(), own_environment=own)
    run = _free_name(workspace, record.run, taken)
    return replace(record, run=run, folded=ended, cached=None, output=None)


def _recorded_environment(workspace: Workspace, run: str, state: RunState) -> Mapping[str, Json]:
    """Return what is needed to make the environment of a run again; its packages are stored by digest."""
    found = environments.of_run(workspace, run, state)
    packages, python = found[environments.PACKAGES], found.get("python")
    editable = found.get("editable")
    folders = {n: e.get("folder") for n, e in editable.items()} if isinstance(editable, dict) else {}
    return {
        "python": str(python.get("version")) if isinstance(python, dict) else "",
        "packages": stored_lists.write(workspace.packages, packages) if packages else "",
        **({"editable": folders} if folders else {}),
    }


def _free_name(workspace: Workspace, original: str, taken: set[str]) -> str:
    """Choose the name of a rerun, beside its original, and add it to those that are taken."""
    folder, _, name = original.rpartition("/")
    wanted = os.path.join(folder, naming.bounded(f"{name}{ENDING}", _MOST_PART_BYTES))
    run = naming.numbered(wanted, lambda n: n in taken or os.path.lexists(workspace.run_folder(n)))
    taken.add(run)
    return run


def queue(workspace: Workspace, reruns: Sequence[Rerun]) -> list[Rerun]:
    """Queue checked reruns; one that cannot be opened gets a problem.

    Returns:
        Those that are queued.

    Raises:
        OSError: the disk failed; the next `ready` settles what is half-made.
    """
    with taken_checkpoints.staging(workspace) as path:  # copied before the lock, for which others wait
        taken = {
            rerun.run: _take(workspace, rerun, os.path.join(path, str(number)))
            for number, rerun in enumerate(reruns)
            if not rerun.is_refused and rerun.checkpoints
        }
        fit = [rerun for rerun in reruns if not rerun.is_refused]
        return _open(workspace, fit, [taken.get(rerun.run, ()) for rerun in fit]) if fit else []


def _take(workspace: Workspace, rerun: Rerun, path: str) -> tuple[TakenCheckpoint, ...]:
    """Copy the checkpoints that a rerun takes; that one cannot be copied is a problem of the rerun."""
    try:
        return taken_checkpoints.take(workspace.run_folder(rerun.original), rerun.checkpoints, path)
    except ChangedCheckpointError as error:
        rerun.checked.add(f"a checkpoint of {rerun.original} cannot be taken: {error}", _WITHOUT)
    except OSError as error:
        if failures.concerns_all(error):
            raise
        reason = failures.reason_of(error, workspace.root)
        rerun.checked.add(f"a checkpoint of {rerun.original} cannot be taken: {reason}", _WITHOUT)
    return ()


def _open(
    workspace: Workspace, fit: Sequence[Rerun], taken: Sequence[tuple[TakenCheckpoint, ...]]
) -> list[Rerun]:
    with opening.only_one(workspace):
        opening.recover(workspace)
        stems, runs = opening.taken_stems(workspace), set[str]()
        for rerun in fit:  # another process may have taken a name meanwhile
            rerun.run = _free_name(workspace, rerun.original, runs)
        pairs = zip(fit, taken, strict=True)
        openings = {rerun.run: _opening(workspace, rerun, stems, copies) for rerun, copies in pairs}
        by_name = {rerun.run: rerun for rerun in fit}
        for run, one in openings.items():
            by_name[run].stem = one.stem

        def refuse(one: opening.Opening, error: OSError) -> None:
            reason = failures.reason_of(error, workspace.root)
            by_name[one.run].checked.add(f"Output/{one.run} cannot be made: {reason}")

        announce = acceptance.announcer(workspace, openings.values())
        opened = opening.open_runs(
            workspace, list(openings.values()), may_wait=True, refuse=refuse, before_queued=announce
        )
        with suppress(OSError):
            cache_maintenance.note_opened(workspace, "ready", opened)
    return [by_name[one.run] for one in opened]


def _opening(
    workspace: Workspace, rerun: Rerun, taken: set[str], checkpoints: tuple[TakenCheckpoint, ...]
) -> opening.Opening:
    state = rerun.state
    added = rerun.run.removeprefix(rerun.original) if rerun.run.startswith(rerun.original) else ENDING
    config = naming.bounded(f"{state.config}{added}", naming.MOST_STEM_BYTES)
    values, inputs = _with_inputs(workspace, rerun)
    checked = opening.CheckedRun(
        Source(f"{config}.rerun", (0, 0, 0, 0)),
        rerun.run,
        config,
        config,
        {**values, "outputDir": rerun.run},
        state.code,
        trial=None,
        seed=state.seed,
        rerun_of=rerun.original,
        verify=rerun.verify,
        own_environment=state.own_environment,
        inputs=inputs,
        checkpoints=checkpoints,
    )
    return opening.prepare(checked, taken, functools.partial(_provenance, workspace, rerun))


def _with_inputs(workspace: Workspace, rerun: Rerun) -> tuple[Mapping[str, Json], tuple[str, ...]]:
    """Return the values of a rerun, and the files that were submitted with its original.

    The new run gets links to these files, and its config names the links.
    """
    before, after = (
        os.path.join(workspace.run_folder(run), opening.INPUTS) for run in (rerun.original, rerun.run)
    )
    values: dict[str, Json] = dict(rerun.state.values)
    inputs: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, str) and os.path.dirname(value) == before and os.path.isfile(value):
            inputs[key] = value
            values[key] = os.path.join(after, os.path.basename(value))
    return values, tuple(dict.fromkeys(inputs.values()))


def _text(provenance: Mapping[str, Any], key: str) -> str | None:
    value = provenance.get(key)
    return value if isinstance(value, str) else None


def _environment(workspace: Workspace, rerun: Rerun) -> dict[str, Json]:
    """Return the environment that a rerun is queued in, with the Python and packages that its tasks get."""
    now, own = environments.of_this_process(workspace), rerun.state.own_environment
    if own is None:
        return now
    assert rerun.record.state is not None, "it was queued"
    before = environments.of_run(workspace, rerun.original, rerun.record.state)
    kept: dict[str, Json] = {
        key: before[key] for key in ("python", "editable", "job_orchestration") if key in before
    }
    return {**now, **kept, environments.DIGEST: own["packages"]}


def _provenance(workspace: Workspace, rerun: Rerun, digest: str, seed: int) -> bytes:
    """Return the content of ``provenance.json``: the code's as the original has it, the machine's of now."""
    before: Mapping[str, Any] = provenance_file.read(workspace.run_folder(rerun.original)) or {}
    code = rerun.state.code
    is_same = code is not None and code.commit == before.get("commit")
    repository = rerun.state.values.get("githubRepository")
    dirty = before.get("dirty") if is_same else rerun.checked.event.dirty
    found = Provenance(
        run=rerun.run,
        config=rerun.state.config,
        digest=digest,
        readied_at=clock.timestamp(),
        seed=seed,
        commit=code.commit if code else None,
        folder=code.folder if code else None,
        work_tree=code.work_tree if code else None,
        branch=before.get("branch") if is_same else None,
        origin=before.get("origin"),
        github_repository=str(repository) if repository is not None else None,
        dirty=tuple(map(str, dirty or ())),
        argv=provenance.command_line(sys.argv),
        source=before.get("source"),
        environment=_environment(workspace, rerun),
        author=_text(before, "author") if is_same else None,
        authored_at=_text(before, "authored_at") if is_same else None,
        subject=_text(before, "subject") if is_same else None,
    )
    whole = {**found.as_json(), "rerun_of": rerun.original}
    return f"{json_floats.text_of(whole, indent=1, ensure_ascii=False)}\n".encode("utf-8", "backslashreplace")
