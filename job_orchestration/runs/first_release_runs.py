"""Read the runs of the first release as states of this one.

Its tokens are plain configs in ConfigsCompleted and ConfigsFailed. The ``status.yaml`` of the output folder
holds a run's outcome in eight keys; times are text in local time, and a missing end is the word ``None``. If
the folder is gone or the file is unreadable, the place of the token decides the status.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from job_orchestration.runs.events import Code, Outcome
from job_orchestration.runs.state import RunState, Status, TaskState, TaskStatus
from job_orchestration.workspace import safe_reads
from job_orchestration.workspace.layout import Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.config.config import Json
    from job_orchestration.workspace.layout import Workspace

MAX_BYTES: Final = 1 << 20
"""Bytes read of a config or status file."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def read(workspace: Workspace, data: bytes, config: str, place: Place) -> tuple[str | None, RunState]:
    """Read a run from its config and its ``status.yaml``.

    Args:
        workspace: the run's workspace.
        data: the content of its config.
        config: the config's name.
        place: completed or failed.

    Returns:
        The output folder relative to ``Output/``, if the config names one, and the state.
    """
    values = _mapping(data)
    run = _run_of(workspace, values.get("outputDir"))
    reported: Mapping[str, Json] = {}
    if run is not None:
        with suppress(OSError):
            status_yaml = os.path.join(workspace.run_folder(run), "status.yaml")
            reported = _mapping(safe_reads.whole(status_yaml, MAX_BYTES))
    commit = str(reported.get("current_test_sha"))
    state = RunState(
        status=Status.COMPLETE if place is Place.COMPLETED else Status.FAILED,
        config=config,
        values=values,
        code=Code(commit, ".") if _COMMIT.fullmatch(commit) else None,
        tasks=_tasks(values, str(reported.get("current_job")), place),
        readied_at=_moment(reported.get("start_time")),
        started_at=_moment(reported.get("start_time")),
        ended_at=_moment(reported.get("end_time")) or _moment(reported.get("last_updated")),
        outcome=Outcome.OK if place is Place.COMPLETED else Outcome.ERROR,
    )
    return run, state


def _mapping(data: bytes) -> Mapping[str, Json]:
    from job_orchestration.config import yaml_reader

    root, _ = yaml_reader.read(data, "")
    values = yaml_reader.plain(root) if root is not None else {}
    return values if isinstance(values, dict) else {}


def _run_of(workspace: Workspace, folder: Json) -> str | None:
    """Return the run of an output folder, even if the workspace was moved since."""
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
    """Convert a local time without a zone to UTC."""
    with suppress(ValueError, TypeError, OverflowError, OSError):
        return datetime.fromisoformat(str(text)).astimezone(UTC).isoformat(timespec="microseconds")
    return None
