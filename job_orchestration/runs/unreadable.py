"""Say what is wrong with a run whose files cannot be read, and what to do about it.

Such a run is no reason to stop for anybody else: views list it as unreadable, workers take other runs.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from job_orchestration.diagnostics.problems import Fault, escaped
from job_orchestration.workspace.safe_reads import DamagedFileError

if TYPE_CHECKING:
    from job_orchestration.workspace.layout import Workspace

NOTE = "unreadable"
"""The note of such a run in overviews."""


def fault_of(workspace: Workspace, error: OSError) -> Fault:
    """Return what is wrong with a run, by the error that reading one of its files met."""
    path, why = _parts_of(workspace, error)
    what = f"{path} cannot be read: {why}"
    if isinstance(error, DamagedFileError):
        return Fault(what, "Put it back from a copy; the next worker or retry sets aside what is damaged")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return Fault(what, f"Give yourself the right to read it: chown -R $USER {path}")
    return Fault(what, "See whether the disk is there and sound; workers try the run again by themselves")


def path_and_words(workspace: Workspace, error: OSError) -> str:
    """Return the path that an error names, relative to the workspace, and what the system says."""
    return ": ".join(_parts_of(workspace, error))


def _parts_of(workspace: Workspace, error: OSError) -> tuple[str, str]:
    named = error.filename if isinstance(error.filename, str | bytes) else workspace.output
    path = os.fsdecode(named)
    if path.startswith(workspace.root + os.sep):
        path = os.path.relpath(path, workspace.root)
    return escaped(path), escaped(error.strerror or str(error) or type(error).__name__)
