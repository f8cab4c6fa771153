"""Where the parts of the workspace lie, under the names that the first Job Orchestration gave them.

The workspace is the one that ``JOB_ORCHESTRATION_WORKSPACE`` names. It is looked up whenever a name is used
and not when the module is imported, so that importing it never fails, and all paths are absolute whatever
the variable says.
"""

from __future__ import annotations

import os
from typing import Final

from job_orchestration.workspace import layout

BASE_FOLDER: str
config_source_location: str
config_ready_location: str
config_completed_location: str
config_failed_location: str
output_location: str
misc_location: str

config_yaml: Final = "config.yaml"
"""What a run's own config is called, in the run's folder."""
max_error_count: Final = 3
"""How many tries a task gets when its config does not say ``maxAttempts``."""

_ATTRIBUTES: Final = {
    "BASE_FOLDER": "root",
    "config_source_location": "sources",
    "config_ready_location": "to_run",
    "config_completed_location": "completed",
    "config_failed_location": "failed",
    "output_location": "output",
    "misc_location": "misc",
}


def __getattr__(name: str) -> str:
    """The absolute path of one part of the workspace.

    Raises:
        WorkspaceError: when the variable is not set, or names no workspace.
    """
    if name not in _ATTRIBUTES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = layout.locate(os.environ.get(layout.VARIABLE, ""))
    path: str = getattr(found, _ATTRIBUTES[name])
    return path
