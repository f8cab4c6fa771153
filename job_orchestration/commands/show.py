"""`show`: state, tasks, provenance and files of one run."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from job_orchestration.code import commits
from job_orchestration.code.snapshots import CodeStore
from job_orchestration.commands import families, logs, selection
from job_orchestration.commands.status import StatusEntry, entry, reasons_of
from job_orchestration.config import json_floats
from job_orchestration.forecast.time_left import TimeLeft, pending_trials, places_of
from job_orchestration.results import tables
from job_orchestration.runs import environments, inputs, provenance_file, run_usage, working_folder
from job_orchestration.runs.catalog import Catalog, living_workers
from job_orchestration.workspace import clock
from job_orchestration.workspace.layout import Place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.code.commits import CommitDetails
    from job_orchestration.commands.families import Family
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.runs.run_usage import Asked
    from job_orchestration.runs.state import Change, RunState, TaskState
    from job_orchestration.workspace.layout import Workspace


_MOST_NAMED: Final = 20
"""Files of one folder that are named."""


class ShownFile(NamedTuple):
    """A file or folder of a run."""

    name: str
    """Its path in the run's folder; a folder ends in ``/``."""
    bytes: int | None
    """`None` for a folder, or if it is unknown."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One run, read from its journal, provenance and folder."""

    entry: StatusEntry
    tasks: tuple[TaskState, ...]
    provenance: dict[str, Any] | None
    folder: str | None
    """The run's output folder; `None` for a config that was not readied yet."""
    files: tuple[ShownFile, ...]
    """What lies in it: of the working directory and of what tasks saved each file, up to a limit."""
    commit: CommitDetails | None = None
    """Author, date and subject of the commit; `None` if there is none or the store cannot tell them."""
    commits: Mapping[str, str] = field(default_factory=dict)
    """The commit of each task, by task id."""
    changes: tuple[Change, ...] = ()
    """The retries in other code or with other parameters."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """What the config says beside how the run is treated, flattened as in `results`."""
    results: Mapping[str, Any] = field(default_factory=dict)
    """What the tasks returned and saved, flattened as in `results`."""
    headline: tuple[str, ...] = ()
    """The results for people: one copy of each, without hashes."""

    log: tuple[str, ...] = ()
    """The last lines of the log, or, of a failed run, its last error with the traceback."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Where its last attempt ran, if an attempt has recorded it."""
    rerun_of: str | None = None
    """The run that it repeats."""
    verifications: Sequence[Mapping[str, Any]] = ()
    """The records of the comparisons of it with its original, or with its reruns, the last first."""
    asked: tuple[Asked, ...] = ()
    """What it asked for in ``resources``, and used."""
    tasks_s: float = 0.0
    """Seconds that its finished tasks took."""

    @property
    def changed_inputs(self) -> list[dict[str, Any]]:
        """The inputs that changed after the run had begun: ``path``, ``how``, ``noticed_at``, ``task``."""
        return inputs.changes_of(self.provenance)

    def as_json(self) -> dict[str, Any]:
        """Return the run as ``show --json`` prints it."""
        return {
            **self.entry.as_json(),
            "tasks": [{**_task(t), "commit": self.commits.get(t.id)} for t in self.tasks],
            "changes": [provenance_file.as_json(change) for change in self.changes],
            "provenance": self.provenance,
            "environment": dict(self.environment) or None,
            "rerun_of": self.rerun_of,
            "verifications": list(self.verifications),
            "asked": {one.resource: {"asked": one.asked, "used": one.used} for one in self.asked},
            "commit_details": None if self.commit is None else asdict(self.commit),
            "parameters": json_floats.strict(dict(self.parameters)),
            "results": json_floats.strict(dict(self.results)),
        }


def show(workspace: Workspace, name: str) -> Shown | Family:
    """Return one run, or a sweep or search. Changes nothing.

    Raises:
        UsageError: if the name matches no run, or more than one.
    """
    records = Catalog(workspace).records()
    living = [heartbeat.worker for heartbeat in living_workers(workspace)]
    coming, places = pending_trials(workspace, records), places_of(workspace, records)
    ahead = TimeLeft(records, clock.now(), living, coming, places)
    family = families.named(workspace, records, name, ahead)
    if family is not None:
        return family
    record = selection.one(records, name)
    state = record.state
    folder = workspace.run_folder(record.run) if record.run else None
    verified = _verifications(folder, state)
    row = selection.row_of(workspace, record, clock.now(), [])
    table = tables.table_of([row])
    return Shown(
        entry(record, ahead)._replace(
            why=reasons_of(workspace, records, places).of(record),
            verdict=verified[0].get("verdict") if verified else None,
        ),
        state.tasks if state else (),
        _provenance(workspace, folder),
        folder,
        _files(folder, state) if folder else (),
        _described(workspace, state),
        state.commits if state else {},
        state.changes if state else (),
        row.parameters,
        row.results,
        tuple(column for column in table.shown if column in row.results),
        _end_of_log(record, folder),
        environments.of_run(workspace, record.run, state)
        if record.run and state and state.environment
        else {},
        state.rerun_of if state else None,
        verified,
        tuple(run_usage.asked_and_used(state)) if state else (),
        run_usage.tasks_seconds(state) if state else 0.0,
    )


def _verifications(folder: str | None, state: RunState | None) -> Sequence[Mapping[str, Any]]:
    """Return the verifications of a run; nothing is imported where there are none."""
    if folder is None or state is None or not os.path.isdir(os.path.join(folder, ".verifications")):
        return ()
    from job_orchestration.comparison import verdicts

    return verdicts.of_run(folder, state.readied_at)


def _provenance(workspace: Workspace, folder: str | None) -> dict[str, Any] | None:
    """Return the provenance of a run, with its packages."""
    found = provenance_file.read(folder) if folder else None
    if found is None:
        return None
    return {**found, environments.PACKAGES: environments.packages_of(workspace, found)}


def _end_of_log(record: RunRecord, folder: str | None) -> tuple[str, ...]:
    if folder is None:
        return ()
    failed = record.summary.task if record.place is Place.FAILED and record.summary else None
    with suppress(OSError):
        return logs.last_lines(folder, failed)
    return ()


def _described(workspace: Workspace, state: RunState | None) -> CommitDetails | None:
    if state is None or state.code is None:
        return None
    return commits.describe(CodeStore(Path(workspace.misc)), state.code.commit)


def _task(task: TaskState) -> dict[str, Any]:
    return {
        "id": task.id,
        "method": task.method,
        "status": str(task.status),
        "tries": task.tries,
        "started_at": task.started_at,
        "ended_at": task.ended_at,
        "duration_s": task.duration_s,
        "result": task.result,
        "usage": None if task.usage is None else asdict(task.usage),
        "preload_s": task.preload_s,
        "preload_mb": task.preload_mb,
        "outputs": [asdict(o) for o in task.outputs],
        "error": task.error,
        "reused_from": task.reused_from,
        "not_reused": task.not_reused,
    }


def _files(folder: str, state: RunState | None) -> tuple[ShownFile, ...]:
    saved: dict[str, list[ShownFile]] = {}
    for task in state.tasks if state else ():
        for output in task.outputs:
            saved.setdefault(output.path.partition("/")[0], []).append(ShownFile(output.path, output.bytes))
    found: list[ShownFile] = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in saved:
                found += _some(saved[entry.name], entry.name)
            elif entry.name != working_folder.NAME:
                found.append(_file(folder, f"{entry.name}/" if entry.is_dir() else entry.name))
    written = [_file(folder, name) for name in working_folder.files_in(folder)]
    return (*sorted(found), *_some(written, working_folder.NAME))


def _some(files: list[ShownFile], folder: str) -> list[ShownFile]:
    """Return the first files of a folder, and a line for the others."""
    left = files[_MOST_NAMED:]
    sizes = [file.bytes for file in left if file.bytes is not None]
    more = [ShownFile(f"… {len(left)} more in {folder}/", sum(sizes) if len(sizes) == len(left) else None)]
    return [*files[:_MOST_NAMED], *(more if left else [])]


def _file(folder: str, name: str) -> ShownFile:
    if name.endswith("/"):
        return ShownFile(name, None)
    with suppress(OSError):
        return ShownFile(name, os.lstat(os.path.join(folder, name)).st_size)
    return ShownFile(name, None)
