"""A job as the API shows it: the state of a run or a dropped config, with the words of callbacks."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import BaseModel, Field

from job_orchestration.runs import status_codes
from job_orchestration.workspace.layout import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.commands.status import StatusEntry


class Job(BaseModel):
    """A job at one moment."""

    jobname: str = Field(description="The name of its config.", examples=["8e3jt5kz"])
    run: str | None = Field(
        description="Its output folder; null if it is not queued yet.", examples=["8e3jt5kz"]
    )
    status: str = Field(description="The text of the code.", examples=["Accepted"])
    status_code: int = Field(
        description="201 not queued, 202 waits or runs, 200 completed, 500 failed, 504 timeout, 404 unknown.",
        examples=[202],
    )
    state: str = Field(description="Where it is, as `status` prints it.", examples=["running"])
    message: str = Field(description="One sentence for people.")
    run_time: float | None = Field(description="Seconds of work, of a running job until now.")
    progress: float | None = Field(description="Progress of the running task, from 0 to 1.")
    eta: float | None = Field(description="Seconds of work that are left, if that is known.")
    task: str | None = Field(description="The first task that has not finished.")
    submitted_at: datetime | None = Field(description="When it was queued.")
    started_at: datetime | None = Field(description="When a worker began it.")
    ended_at: datetime | None = Field(description="When it ended.")
    links: dict[str, str] = Field(description="Paths of what there is of it.")


class JobList(BaseModel):
    """Some of the jobs of the workspace."""

    jobs: list[Job]
    total: int = Field(description="How many there are, those that are not listed here included.")
    limit: int
    offset: int


def job_of(entry: StatusEntry) -> dict[str, Any]:
    """Return the object of a config or run."""
    found = status_codes.of_place(entry.place, entry.outcome)
    return {
        "jobname": entry.config,
        "run": entry.run,
        "status": found.text,
        "status_code": found.code,
        "state": found.status,
        "message": _message_of(entry, found.status),
        "run_time": entry.elapsed_s,
        "progress": 1.0 if found.code == status_codes.COMPLETED else _fraction(entry.progress),
        "eta": None if found.code in status_codes.ENDED else entry.eta_s,
        "task": entry.task,
        "submitted_at": entry.readied_at,
        "started_at": entry.started_at,
        "ended_at": entry.ended_at,
        "links": links_of(entry.run or entry.config, is_run=entry.run is not None),
    }


def unknown(name: str, message: str) -> dict[str, Any]:
    """Return the object of a job that is not there, or that could not be queued."""
    found = status_codes.of_place(None)
    empty = ("run_time", "progress", "eta", "task", "submitted_at", "started_at", "ended_at")
    state = {"status": found.text, "status_code": found.code, "state": found.status, "message": message}
    return {"jobname": name, "run": None, **state, **dict.fromkeys(empty), "links": {}}


def accepted(config: str, run: str, task: str | None, at: str | None) -> dict[str, Any]:
    """Return the object of a run that waits for its first worker."""
    found = status_codes.of_place(Place.TO_RUN)
    empty = ("run_time", "progress", "eta", "started_at", "ended_at")
    state = {"status": found.text, "status_code": found.code, "state": found.status}
    return {
        "jobname": config,
        "run": run,
        **state,
        "message": _SENTENCES[found.status],
        **dict.fromkeys(empty),
        "task": task,
        "submitted_at": at,
        "links": links_of(run),
    }


def links_of(name: str, *, is_run: bool = True) -> dict[str, str]:
    """Return the paths of what there is of a job."""
    own = f"/jobs/{quote(name)}"
    parts: Sequence[str] = ("log", "files", "events") if is_run else ()
    return {"self": own, **{part: f"{own}/{part}" for part in parts}}


def _fraction(progress: float | None) -> float | None:
    return None if progress is None else min(max(progress, 0.0), 1.0)


def _message_of(entry: StatusEntry, state: str) -> str:
    if entry.error:
        return entry.error
    if entry.waits_for:
        return f"It waits for {', '.join(entry.waits_for)}."
    return f"It is {state.replace('_', ' ')}." if state not in _SENTENCES else _SENTENCES[state]


_SENTENCES = {
    "sources": "It lies in ConfigSources and is not queued yet.",
    "to_run": "It waits for a worker.",
    "completed": "It has completed.",
    "failed": "It has failed.",
    "cancelled": "It was cancelled.",
    "pruned": "Its search ended it early.",
}
