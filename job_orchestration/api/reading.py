"""What all objects of one workspace share to read it: its place, and a catalog that caches ended runs."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Protocol

from job_orchestration.commands import selection
from job_orchestration.config import expressions
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs import catalog
from job_orchestration.runs.catalog import Catalog
from job_orchestration.workspace.naming import TokenName

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from job_orchestration.commands.selection import Selection
    from job_orchestration.commands.status import Overview
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.workspace.layout import Workspace


class Reader:
    """Reads a workspace; any number of threads may use it, and a child that its process forks.

    Args:
        workspace: the workspace.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._catalog = Catalog(workspace)
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._stems: dict[str, str] = {}
        """Run to the stem of its token, which it keeps for life, as far as it was seen."""

    def records(self) -> list[RunRecord]:
        """List every config and run, as they are now."""
        with self._alone():
            return self._catalog.records()

    def _alone(self) -> threading.Lock:
        """Return the lock of the catalog; in a forked child both are new.

        At the time of the fork another thread may have held the lock, which does not exist in the child.
        """
        if self._process != os.getpid():
            self._process, self._lock = os.getpid(), threading.Lock()
            self._catalog = Catalog(self.workspace)
        return self._lock

    def record(self, run: str) -> RunRecord:
        """Return the record of one run, as it is now.

        Raises:
            UsageError: if it is gone.
        """
        stem = self._stems.get(run) or os.path.basename(run)
        found = catalog.find(self.workspace, run, stem)
        if found is not None:
            return found
        for record in self.records():  # its token has another name, or has just moved
            if record.run == run:
                name = TokenName.parse(os.path.basename(record.path))
                if name is not None:
                    self._stems[run] = name.stem
                return record
        raise UsageError(f"There is no run {escaped(run)}", "Its folder was deleted, or moved to the trash")

    def overview(self, choice: Selection = selection.EVERYTHING) -> Overview:
        """Return the states of runs with their times left."""
        from job_orchestration.commands.status import status

        with self._alone():
            return status(self.workspace, self._catalog, choice)


class Named(Protocol):
    """Has the name of a run: a `Run`."""

    @property
    def name(self) -> str:
        """Its output folder."""


def name_of(run: Named | str) -> str:
    """Return the name of a run, or what is a name or a glob already.

    Raises:
        UsageError: if it is neither.
    """
    if isinstance(run, str | os.PathLike):
        return os.fspath(run)
    name = getattr(run, "name", None)
    if not isinstance(name, str):
        raise UsageError(
            f"{escaped(repr(run))} is no run", "Give names, globs or runs; of a list of runs: *runs"
        )
    return name


def selection_of(
    names: Sequence[Named | str] = (), status: str | Iterable[str] = (), expression: str = ""
) -> Selection:
    """Return a selection as the options of the command line make it.

    Raises:
        UsageError: if a status is unknown or the expression cannot be read.
    """
    words = status if isinstance(status, str) else ",".join(status)
    try:
        return selection.Selection(
            tuple(map(name_of, names)),
            selection.statuses_of(words) if words else frozenset(),
            expressions.parse(expression) if expression else None,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
