"""The state of a workspace at one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from job_orchestration.api import html_tables
from job_orchestration.api.run_lists import Runs

if TYPE_CHECKING:
    from job_orchestration.api.reading import Reader
    from job_orchestration.commands.status import Overview


class Status:
    """The state of a workspace at the moment when it was asked for."""

    def __init__(self, reader: Reader, overview: Overview) -> None:
        self._reader = reader
        self._overview = overview

    @property
    def counts(self) -> dict[str, int]:
        """Number of configs and runs in each state, with zeros: ``{"to_run": 3, "running": 1, …}``."""
        return {str(place): number for place, number in self._overview.counts.items()}

    @property
    def runs(self) -> Runs:
        """The runs: running ones first, completed ones last."""
        return Runs(self._reader, [entry.run for entry in self._overview.runs if entry.run is not None])

    def as_json(self) -> dict[str, Any]:
        """Return everything as ``status --json`` prints it."""
        return self._overview.as_json()

    def __repr__(self) -> str:
        shown = ", ".join(f"{n} {place.replace('_', ' ')}" for place, n in self.counts.items() if n)
        return f"<{shown or 'no runs'}>"

    def _repr_html_(self) -> str:
        entries = self._overview.runs[: html_tables.MOST_ROWS]
        number = len(self._overview.runs)
        more = f"; the first {len(entries)} of {number}" if number > len(entries) else ""
        caption = f"{repr(self)[1:-1]}{more}"
        return html_tables.table(html_tables.HEADER, map(html_tables.cells, entries), caption)


Status.__module__ = "job_orchestration"
