"""`export`: write ended runs into a folder or a ZIP archive that stands alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.commands import changes, selection
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs import catalog

if TYPE_CHECKING:
    from job_orchestration.commands.selection import Selection
    from job_orchestration.diagnostics.problems import Fault
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.workspace.layout import Workspace


_UNENDED: Final = changes.Unended(
    not_recorded="neither code nor journal",
    if_first_release="Copy its folder in Output",
    if_not_ended="Wait until it has ended",
    if_unreadable="See what is wrong with: job-orchestration doctor",
)


@dataclass(frozen=True, slots=True)
class Export:
    """An export that was written."""

    path: str
    """Absolute."""
    runs: tuple[str, ...]
    files: int
    bytes: int
    left_out: tuple[str, ...]
    """What is no plain file in the folders of the runs."""

    def as_json(self) -> dict[str, Any]:
        """Return the export as ``export --json`` prints it."""
        return {
            "path": self.path,
            "runs": list(self.runs),
            "files": self.files,
            "bytes": self.bytes,
            "left_out": list(self.left_out),
        }


def export(workspace: Workspace, choice: Selection, to: str, *, ro_crate: bool = False) -> Export:
    """Write ended runs into a folder or an archive; all of them or nothing.

    Args:
        workspace: has the runs.
        choice: which runs.
        to: a path at which nothing is; one that ends in ``.zip`` becomes an archive.
        ro_crate: whether the export is an RO-Crate too.

    Raises:
        UsageError: if a name matches no run, a run has not ended, or the path cannot be taken.
        CodeError: if the store does not hold the code of a run.
        OSError: if something cannot be read or written.
    """
    from job_orchestration.exchange import exports

    target = Path(os.path.abspath(os.path.expanduser(to)))
    records = catalog.entries(workspace)
    chosen = selection.chosen(workspace, records, choice)
    changes.require(records, choice, _fault_of)
    runs = {r.run: r.state for r in chosen if r.run is not None and r.state is not None and not _fault_of(r)}
    if not runs:
        raise UsageError("No run fits that has ended", "See what there is with: job-orchestration status")
    _refuse(workspace, target)
    if ro_crate:
        from job_orchestration.exchange import ro_crates

        ro_crates.require()
    found = exports.write(workspace, runs, target, ro_crate=ro_crate)
    size = sum(file.bytes for file in found.files.values())
    return Export(str(target), tuple(runs), len(found.files), size, found.left_out)


def _fault_of(record: RunRecord) -> Fault | None:
    return changes.fault_unless_ended(record, _UNENDED)


def _refuse(workspace: Workspace, target: Path) -> None:
    shown = escaped(str(target))
    if os.path.lexists(target):
        raise UsageError(f"{shown} is there already", "Name a path at which nothing is")
    if not target.parent.is_dir():
        raise UsageError(f"There is no folder {escaped(str(target.parent))}", "Make it first")
    real = Path(os.path.realpath(target))
    kept = (*workspace.folders.values(), workspace.output, workspace.misc)
    if any(real.is_relative_to(os.path.realpath(folder)) for folder in kept):
        raise UsageError(f"{shown} lies in a folder of the workspace", "Name a path elsewhere")
