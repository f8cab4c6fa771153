"""Several runs: a sequence that a notebook shows as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, overload

from job_orchestration.api import html_tables, steering
from job_orchestration.api.reading import selection_of
from job_orchestration.api.run_views import Run

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from job_orchestration.api.reading import Reader


class Runs(Sequence[Run]):
    """A list of runs: ``runs[0]``, ``len(runs)``, ``for run in runs``; a notebook shows it as a table.

    Which runs it holds was decided when it was made; what each of them shows is read when it is asked for.
    """

    def __init__(self, reader: Reader, names: Iterable[str]) -> None:
        self._reader = reader
        self._names = tuple(names)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the runs."""
        return self._names

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until all of them have ended, however they end.

        Args:
            timeout: the most seconds to wait.

        Raises:
            TimeoutError: if some have not ended in time; it names them. They go on.
        """
        if self._names:
            steering.wait(self._reader, self._names, timeout)
        return self

    def results(self) -> pd.DataFrame:
        """Return parameters and results as a data frame of pandas, a row a run."""
        from job_orchestration.commands.results import results
        from job_orchestration.results.columnar import data_frame

        return data_frame(results(self._reader.workspace, selection_of(self._names)).table)

    @overload
    def __getitem__(self, at: int) -> Run: ...

    @overload
    def __getitem__(self, at: slice) -> Runs: ...

    def __getitem__(self, at: int | slice) -> Run | Runs:
        if isinstance(at, slice):
            return Runs(self._reader, self._names[at])
        return Run(self._reader, self._names[at])

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, run: Any) -> bool:
        return (run.name if isinstance(run, Run) else run) in self._names

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, (Runs, list, tuple)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._names)

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self._names[:5]))
        more = f", … {len(self._names) - 5} more" if len(self._names) > 5 else ""  # noqa: PLR2004 - as many as shown
        return f"<{len(self._names)} runs: {shown}{more}>" if self._names else "<no runs>"

    def _repr_html_(self) -> str:
        if not self._names:
            return html_tables.table(html_tables.HEADER, [])
        found = {entry.run: entry for entry in self._reader.overview().runs}
        shown = self._names[: html_tables.MOST_ROWS]
        rows = [html_tables.cells(found[name]) if name in found else (name, "gone") for name in shown]
        number = len(self._names)
        caption = f"the first {len(shown)} of {number} runs" if number > len(shown) else ""
        return html_tables.table(html_tables.HEADER, rows, caption)


Runs.__module__ = "job_orchestration"
