"""`import`: take the runs of exports into this workspace."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from job_orchestration.exchange.imports import Imported
    from job_orchestration.workspace.layout import Workspace


@dataclass(frozen=True, slots=True)
class ImportResult:
    """Result of `import_runs`, run by run."""

    runs: tuple[Imported, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every run was imported."""
        return all(one.run is not None for one in self.runs)

    def as_json(self) -> dict[str, Any]:
        """Return the result as ``import --json`` prints it."""
        done = [{"run": one.run, "original": one.original} for one in self.runs if one.run is not None]
        refused = [
            {"original": one.original, "what": one.fault.what, "todo": one.fault.todo}
            for one in self.runs
            if one.fault is not None
        ]
        return {"runs": done, "refused": refused}


def import_runs(workspace: Workspace, path: str) -> ImportResult:
    """Import the runs of an export; nothing in it is executed.

    Args:
        workspace: with all its folders in place.
        path: a folder or an archive that `export` wrote.

    Raises:
        UsageError: if there is none, or it is damaged as a whole.
        OSError: if the workspace cannot be written.
    """
    from job_orchestration.exchange import imports, sources

    path = os.path.abspath(os.path.expanduser(path))
    if not os.path.exists(path):
        raise UsageError(f"There is no {escaped(path)}", "Name a folder or an archive that `export` wrote")
    with sources.Source(path) as source:
        return ImportResult(tuple(imports.import_all(workspace, source)))
