"""Runs that the first Job Orchestration left in a workspace, in the words of this one.

Its tokens are plain configs in ConfigsCompleted and ConfigsFailed. What became of a run stands in the
``status.yaml`` of its output folder: eight keys, every time a text in the local time of that day, and the
word ``None`` where there is no end. The folder may be gone and the file may be garbage; the place of the
token then has to say enough.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from job_orchestration.model.event import Code
from job_orchestration.model.run import Outcome, Place, RunState, Status, TaskState, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.task import Json

_ENDS: Final = {Place.COMPLETED: Status.COMPLETE, Place.FAILED: Status.FAILED}
MAX_BYTES: Final = 1 << 20
"""Bytes of a config or a status that are looked at."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def read(workspace: Workspace, data: bytes, config: str, place: Place) -> tuple[str | None, RunState]:
    """A run as its config and its ``status.yaml`` tell it.

    Args:
        workspace: where it was found.
        data: the config, as it lies in the folder of completed or of failed ones.
        config: its name.
        place: which of the two.

    Returns:
        The run's output folder relative to ``Output/``, when the config names one, and its state.
    """
    values = _mapping(data)
    run = _run_of(workspace, values.get("outputDir"))
    told: Mapping[str, Json] = {}
    if run is not None:
        with suppress(OSError), open(os.path.join(workspace.run_folder(run), "status.yaml"), "rb") as file:
            told = _mapping(file.read(MAX_BYTES))
    commit = str(told.get("current_test_sha"))
    state = RunState(
        status=_ENDS[place],
        config=config,
        values=values,
        code=Code(commit, ".") if _COMMIT.fullmatch(commit) else None,
        tasks=_tasks(values, str(told.get("current_job")), place),
        readied_at=_moment(told.get("start_time")),
        started_at=_moment(told.get("start_time")),
        ended_at=_moment(told.get("end_time")) or _moment(told.get("last_updated")),
        outcome=Outcome.OK if place is Place.COMPLETED else Outcome.ERROR,
    )
    return run, state


def _mapping(data: bytes) -> Mapping[str, Json]:
    from job_orchestration.rules import reading

    root, _ = reading.read(data, "")
    values = reading.plain(root) if root is not None else {}
    return values if isinstance(values, dict) else {}


def _run_of(workspace: Workspace, folder: Json) -> str | None:
    """The run that an output folder belongs to, also when the workspace was moved since."""
    if not isinstance(folder, str) or "\0" in folder:
        return None
    path = os.path.normpath(os.path.join(workspace.output, folder))
    if not path.startswith(workspace.output + os.sep):
        _, inside, path = path.rpartition(f"{os.sep}Output{os.sep}")
        return path if inside and not path.startswith("..") else None
    return os.path.relpath(path, workspace.output)


def _tasks(values: Mapping[str, Json], current: str, place: Place) -> tuple[TaskState, ...]:
    entries = values.get("tasks")
    specs = [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    ids = [str(spec.get("id")) for spec in specs]
    failed = ids.index(current) if place is Place.FAILED and current in ids else None
    found: list[TaskState] = []
    for i, spec in enumerate(specs):
        status = TaskStatus.WAITING
        if place is Place.COMPLETED or (failed is not None and i < failed):
            status = TaskStatus.FINISHED
        elif i == failed:
            status = TaskStatus.FAILED
        found.append(TaskState(ids[i], str(spec.get("method")), status))
    return tuple(found)


def _moment(text: Json) -> str | None:
    """A local time without a zone, as UTC."""
    with suppress(ValueError, TypeError, OverflowError, OSError):
        return datetime.fromisoformat(str(text)).astimezone(UTC).isoformat(timespec="microseconds")
    return None
