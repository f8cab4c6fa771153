"""Experiments from a folder of YAML files: checked, pinned to a commit, checkpointed after every task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from job_orchestration.diagnostics.errors import (
    ConfigRefusedError,
    OrchestrationError,
    PermanentError,
    PrunedError,
    RunRefusedError,
    TemporaryError,
    UsageError,
    WorkspaceError,
)
from job_orchestration.TaskBase import Context, NotApplicable, Store, TaskBase

if TYPE_CHECKING:
    from job_orchestration.api import Run, Runs, Workspace

__all__ = [
    "ConfigRefusedError",
    "Context",
    "NotApplicable",
    "OrchestrationError",
    "PermanentError",
    "PrunedError",
    "Run",
    "RunRefusedError",
    "Runs",
    "Store",
    "TaskBase",
    "TemporaryError",
    "UsageError",
    "Workspace",
    "WorkspaceError",
    "__version__",
]

__version__ = "0.1.0"

_OF_PROGRAMS = frozenset({"Run", "Runs", "Workspace"})


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """`Workspace` and `Run` are imported when they are first asked for: every task imports this package."""
    if name in _OF_PROGRAMS:
        from job_orchestration import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
