"""The status of a job at one moment, as an application shows it. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs import status_codes
from job_orchestration.workspace.layout import Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.commands.status import StatusEntry


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The status of a job. `None`: not applicable, or unknown."""

    name: str
    status: str
    """``sources`` (not queued yet), ``to_run``, ``held``, ``running``, ``interrupted``, ``completed``,
    ``failed``, ``cancelled``, ``pruned``, or ``unknown`` if there is no such job."""
    status_code: int
    """One of `job_status_codes`."""
    message: str = ""
    """One sentence for people."""
    run_time_s: float | None = None
    """Seconds of work, of a running job until now."""
    peak_memory_bytes: int | None = None
    progress: float | None = None
    """Progress of the running task, from 0 to 1."""
    eta_s: float | None = None
    """Seconds of work left (median)."""
    links: Mapping[str, str] = field(default_factory=dict)
    """What to look at: ``results`` is the folder or address of the job's files."""
    submitted_at: str | None = None
    updated_at: str | None = None
    """The times are UTC, ISO 8601."""

    @property
    def status_text(self) -> str:
        """The text of the code, such as ``Accepted``."""
        return status_codes.job_status_codes[self.status_code]

    @property
    def completed(self) -> bool:
        """Whether it completed."""
        return self.status_code == status_codes.COMPLETED

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.status_code in status_codes.ENDED

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {**asdict(self), "status_text": self.status_text}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> JobStatus:
        """Read what `as_json` returned; keys of later releases are left out.

        Raises:
            TypeError: it is no status of a job.
        """
        return cls(**{key: found[key] for key in cls.__slots__ if key in found})


def unknown(name: str) -> JobStatus:
    """Return the status of a job that does not exist."""
    found = status_codes.of_place(None)
    return JobStatus(name, found.status, found.code, f"There is no job {escaped(name)}.")


def created(name: str, links: Mapping[str, str], at: str | None = None) -> JobStatus:
    """Return the status of a job that has files and was not queued yet."""
    found = status_codes.of_place(Place.SOURCES)
    return JobStatus(name, found.status, found.code, "It is not queued yet.", links=links, updated_at=at)


def of_entry(name: str, entry: StatusEntry, links: Mapping[str, str]) -> JobStatus:
    """Return the status of a job from the line that ``status`` has of its run."""
    found = status_codes.of_place(entry.place, entry.outcome)
    return JobStatus(
        name,
        found.status,
        found.code,
        _message(entry, found.code),
        entry.elapsed_s,
        None if entry.usage is None else entry.usage.peak_bytes,
        entry.progress,
        entry.eta_s,
        links,
        entry.readied_at,
        entry.ended_at or entry.started_at or entry.readied_at,
    )


def _message(entry: StatusEntry, code: int) -> str:
    if code == status_codes.COMPLETED:
        return "It completed."
    if code in status_codes.ENDED:
        return f"It {'was ' if entry.state in {'cancelled', 'pruned'} else ''}{entry.state}" + (
            f": {escaped(entry.error)}" if entry.error else "."
        )
    if entry.place is Place.RUNNING and entry.task is not None and entry.task_count:
        return f"Task {escaped(entry.task)} runs, {(entry.task_index or 0) + 1} of {entry.task_count}."
    words = {Place.SOURCES: "It is not queued yet.", Place.HELD: "It is held until it is released."}
    return words.get(entry.place, "It waits for a worker.")
