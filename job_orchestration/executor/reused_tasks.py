"""With ``reuse: true``: take the checkpoints of earlier runs for leading tasks that are unchanged.

A task is looked at before its first try, as long as each task before it was taken too, or ran and left
nothing behind but its result and its store. It takes an earlier checkpoint if everything that is known of it
is the same; in doubt it runs. Its files are copied into the staging folder and renamed into place before
the journal names them, so a kill leaves either nothing or a folder that no checkpoint names.
"""

from __future__ import annotations

import errno
import functools
import os
import platform
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from job_orchestration.code import imported_files, observed_reads, provenance, task_importer
from job_orchestration.executor import task_traces
from job_orchestration.runs import checkpoint_copies, journal, lifecycle, reuse_records, stored_lists
from job_orchestration.runs.artifact_store import PARTIAL, ArtifactStore
from job_orchestration.runs.events import TaskFinished
from job_orchestration.runs.reuse_index import ReuseIndex
from job_orchestration.runs.reuse_records import Basis, Record, checkpoint_digest
from job_orchestration.runs.state import TaskStatus
from job_orchestration.workspace import layout

if TYPE_CHECKING:
    from job_orchestration.config.config import Json, TaskSpec
    from job_orchestration.executor.input_recorder import InputRecorder
    from job_orchestration.runs.state import TaskState

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_ALLOCATED: Final = frozenset({"CUDA_VISIBLE_DEVICES"})
"""Variables that name what the run got of the machine, which is another each time."""


_MOST_INPUTS: Final = 500
"""Inputs that are named one by one; of more it is known whether one of them has changed."""
_GONE: Final = "the checkpoint of {} is gone"


class RunInProcess(Protocol):
    """The run whose tasks are executed in this process."""

    run_name: str
    folder: str
    number: int
    """The attempt."""
    seed: int
    values: dict[str, Json]
    specs: tuple[TaskSpec, ...]


class ReusedTasks:
    """Takes checkpoints for one run, and records those that later runs may take.

    Args:
        workspace: its folder.
        run: the run.
        commit: its commit; `None` if it has no snapshot.
        recorder: its declared inputs, if it has some.
        is_new: whether none of its tasks has a checkpoint yet.

    Raises:
        OSError: the journal cannot be read.
    """

    def __init__(
        self,
        workspace: str,
        run: RunInProcess,
        commit: str | None,
        recorder: InputRecorder | None,
        *,
        is_new: bool,
    ) -> None:
        self._workspace = layout.locate(workspace)
        self._run = run
        if observed_reads.seen is not None:
            observed_reads.seen.staging = os.path.join(run.folder, PARTIAL, "")
        self._commit = commit
        self._recorder = recorder
        tasks = () if is_new else lifecycle.fold(journal.read(run.folder)).tasks
        self._finished: dict[str, TaskState | TaskFinished] = {
            task.id: task for task in tasks if task.status is TaskStatus.FINISHED
        }
        plan = task_importer.loaded()
        self._snapshot = plan.snapshot if plan else None
        self._place = plan.folder if plan and plan.snapshot else ""
        self._places = task_traces.Places(self._workspace.misc, commit, self._snapshot, run.folder)
        own = [name for name, task in self._finished.items() if task.reused_from is None]
        self._obstacle = f"task {own[0]} before it ran in another attempt" if own else None
        """Why no further task can be taken."""
        self._files: dict[str, tuple[int, int]] = {}
        self.reason: str | None = None
        """Why the last task that was looked for has to run."""

    def take(self, index: int, tries: int) -> TaskFinished | None:
        """Take an earlier checkpoint for a task; `None` if it has to run, for `reason`.

        Raises:
            OSError: the disk is full.
        """
        started = time.monotonic()
        spec = self._run.specs[index]
        store = ArtifactStore(self._run.folder, spec.id, f"{self._run.number}.reuse")
        with observed_reads.paused():
            try:
                found = self._taken(index, tries, store)
            except Exception as error:  # whatever is wrong with the earlier one: in doubt it runs
                store.discard()
                if isinstance(error, OSError) and error.errno in _FULL:
                    raise
                self.reason = f"the earlier checkpoint could not be taken: {error}"
                found = None
        return None if found is None else replace(found, duration_s=round(time.monotonic() - started, 6))

    def _taken(self, index: int, tries: int, store: ArtifactStore) -> TaskFinished | None:
        spec = self._run.specs[index]
        self.reason = self._obstacle_of(spec, tries)
        found = self._taken_unchanged(index, spec, store) if self.reason is None else None
        if found is None:
            self._files = task_traces.files_of_run(self._run.folder)
        return found

    def _taken_unchanged(self, index: int, spec: TaskSpec, store: ArtifactStore) -> TaskFinished | None:
        basis, known = self._basis(index), self._index(spec)
        for record in known.find(basis.key):
            if record.run == self._run.run_name:
                continue
            difference = task_traces.difference(record.traces, self._places)
            if difference is None:
                found = self._copied(record, known, store)
                if isinstance(found, TaskFinished):
                    known.add(replace(record, run=self._run.run_name))
                    return found
                difference = found
            self.reason = self.reason or difference
        if self.reason is None:
            latest = known.latest()
            self.reason = "no earlier run has this task" if latest is None else self._why_not(latest, basis)
        return None

    def _why_not(self, latest: Record, basis: Basis) -> str:
        packages_of = functools.partial(stored_lists.read, self._workspace.packages)
        return reuse_records.why_not(latest, basis, packages_of) or _GONE.format(latest.run)

    @functools.cached_property
    def _packages(self) -> str:
        return stored_lists.write(self._workspace.packages, provenance.environment()["packages"])

    def _copied(self, record: Record, known: ReuseIndex, store: ArtifactStore) -> TaskFinished | str:
        """Copy the checkpoint of a record; return why not if that is not possible."""
        task = known.checkpoint(record)
        if task is None:
            return _GONE.format(record.run)
        try:
            name, outputs = checkpoint_copies.take(self._workspace.run_folder(record.run), task, store)
        except checkpoint_copies.ChangedCheckpointError as error:
            store.discard()
            return f"in {record.run} {error}"
        return TaskFinished(
            *(record.task, 0.0, task.result, name, outputs, self._commit, record.imported),
            volatile=task.volatile,
            reused_from=record.run,
            inputs=self._recorder.digest if self._recorder is not None else None,
        )

    def _obstacle_of(self, spec: TaskSpec, tries: int) -> str | None:
        if tries:
            return "it was started before in this run"
        if self._obstacle is not None:
            return self._obstacle
        if not getattr(task_importer.resolve(spec.method), "reusable", True):
            return f"{spec.method} says reusable = False"
        if spec.is_mapped:
            return "its elements run in processes of their own, whose reads are not recorded"
        return None

    def shown(self, values: dict[str, Json], index: int) -> dict[str, Json]:
        """Return the config that a task gets: without the tasks behind it, on which it cannot depend then."""
        entries = values.get("tasks")
        return {**values, "tasks": entries[: index + 1]} if isinstance(entries, list) else values

    def keep(self, finished: TaskFinished) -> None:
        """Keep a task that has its checkpoint: the next ones depend on it."""
        self._finished[finished.task] = finished

    def note(self, index: int, finished: TaskFinished, *, reported: bool) -> None:
        """Record the checkpoint of a task that ran.

        Args:
            index: of the task.
            finished: the task.
            reported: whether it reported a metric to a search.
        """
        with observed_reads.paused():
            try:
                self._note(index, finished, reported)
            except Exception as error:  # noqa: BLE001  # the task has its checkpoint
                self._obstacle = f"task {finished.task} before it could not be recorded: {error}"
        self.keep(finished)

    def _note(self, index: int, finished: TaskFinished, reported: bool) -> None:  # noqa: FBT001  # see `note`
        spec = self._run.specs[index]
        if spec.is_mapped or not getattr(task_importer.resolve(spec.method), "reusable", True):
            self._obstacle = self._obstacle or f"task {spec.id} before it runs each time"
            return
        earlier = [f for task in self._finished.values() if (f := task.folder) is not None]
        inputs = self._recorder.paths if self._recorder is not None else ()
        traces, unusable = task_traces.collect(self._places, earlier, inputs)
        if reported:
            unusable = "reported a metric to its search"
        if self._recorder is not None and finished.inputs is None:
            unusable = "ran while its inputs changed"
        unusable = self._stray(finished) or unusable
        record = Record(
            self._run.run_name,
            spec.id,
            checkpoint_digest(finished),
            self._basis(index),
            traces,
            imported_files.known_ones(),
            unusable,
        )
        if self._obstacle is None:
            self._index(spec).add(record)
            self._obstacle = unusable and f"task {spec.id} before it {unusable}"

    def _stray(self, finished: TaskFinished) -> str | None:
        """Return what a task left in its run beside its store, as the end of a sentence."""
        now = task_traces.files_of_run(self._run.folder, but=finished.folder)
        changed = sorted(name for name, stamp in now.items() if self._files.get(name) != stamp)
        changed += [name for name in self._files if name not in now]
        if changed:
            return f"wrote {changed[0]}, which is not in its store"
        if finished.folder is not None and _has_links(os.path.join(self._run.folder, finished.folder)):
            return "saved what is no plain file"
        return None

    def _index(self, spec: TaskSpec) -> ReuseIndex:
        return ReuseIndex(self._workspace, self._place, spec.id, spec.method)

    def _inputs(self) -> dict[str, str | None]:
        """Return the digests of the declared inputs, and of the files that were submitted with the run."""
        found: dict[str, str | None] = {}
        if self._recorder is not None:
            contents = self._recorder.contents
            found = {**contents} if len(contents) <= _MOST_INPUTS else {"files": self._recorder.digest}
            found["list"] = self._recorder.digest
        return found | task_traces.submitted(self._run.folder)

    def _basis(self, index: int) -> Basis:
        run = self._run
        spec = run.specs[index]
        about = provenance.environment()
        python, variables, editable = about["python"], about["variables"], about["editable"]
        assert isinstance(python, dict), "it has a version"
        assert isinstance(variables, dict), "names and values"
        assert isinstance(editable, dict), "names and where they lie"
        return Basis(
            method=spec.method,
            code={name: self._places.content_of(name) or "" for name in imported_files.first_ones()},
            parameters=reuse_records.parameters_of(run.values, run.specs, index, run.folder),
            inputs=self._inputs(),
            seed=run.seed,
            packages=self._packages,
            machine={
                "Python": f"{python['implementation']} {python['version']}",
                "system": platform.system(),
                "processor": platform.machine(),
                **{f"variable {n}": str(v) for n, v in variables.items() if n not in _ALLOCATED},
                **{f"editable {name}": str(lies) for name, lies in editable.items()},
            },
            earlier={s.id: checkpoint_digest(self._finished[s.id]) for s in run.specs[:index]},
        )


def prepare() -> None:
    """Do in a fork server what each of its children would do otherwise."""
    with observed_reads.paused():
        task_traces.software()
        platform.system()
        platform.machine()


def _has_links(folder: str) -> bool:
    return any(
        os.path.islink(path) or not (os.path.isfile(path) or os.path.isdir(path))
        for parent, folders, names in os.walk(folder)
        for path in (os.path.join(parent, name) for name in (*folders, *names))
    )
