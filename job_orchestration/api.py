"""What a Python program may ask of a workspace: `from job_orchestration import Workspace`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from job_orchestration.commands import results, selection
from job_orchestration.config import expressions
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.results import text_formats
from job_orchestration.workspace import layout

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from job_orchestration.results.tables import Table


class Workspace:
    """A workspace, to be looked at. Nothing of it is changed or locked.

    Args:
        path: its folder; the one that ``JOB_ORCHESTRATION_WORKSPACE`` names when there is none.

    Raises:
        WorkspaceError: when there is no workspace.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        named = os.environ.get(layout.VARIABLE, "") if path is None else os.fspath(path)
        self._workspace = layout.locate(named)

    def __repr__(self) -> str:
        return f"Workspace({self._workspace.root!r})"

    def results(self, *names: str, status: str | Iterable[str] = (), filter: str = "") -> pd.DataFrame:  # noqa: A002 - it is called so everywhere
        """Parameters and results of runs as a data frame of pandas, a row a run.

        Args:
            names: runs by name or glob; all when there are none.
            status: words of ``--status``, in a list or separated by commas.
            filter: an expression as ``--filter`` takes it.

        Returns:
            The columns that ``results --csv`` has, in the order in which the runs were readied.

        Raises:
            UsageError: when something is named that is not there, or pandas is not installed.
        """
        from job_orchestration.results.columnar import data_frame

        return data_frame(self._table(names, status, filter))

    def rows(self, *names: str, status: str | Iterable[str] = (), filter: str = "") -> list[dict[str, Any]]:  # noqa: A002 - the same
        """The same as a list of dicts, as ``results --json`` has them; it needs no pandas."""
        return text_formats.json_rows(self._table(names, status, filter))

    def _table(self, names: tuple[str, ...], status: str | Iterable[str], expression: str) -> Table:
        words = status if isinstance(status, str) else ",".join(status)
        try:
            choice = selection.Selection(
                names,
                selection.statuses_of(words) if words else frozenset(),
                expressions.parse(expression) if expression else None,
            )
        except ValueError as error:
            raise UsageError(str(error)) from None
        return results.results(self._workspace, choice).table
