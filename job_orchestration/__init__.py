"""Experiments from a folder of YAML files: checked, pinned to a commit, checkpointed after every task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from job_orchestration.diagnostics.errors import PermanentError, PrunedError, TemporaryError
from job_orchestration.TaskBase import Context, Store, TaskBase

if TYPE_CHECKING:
    from job_orchestration.api import Workspace

__all__ = [
    "Context",
    "PermanentError",
    "PrunedError",
    "Store",
    "TaskBase",
    "TemporaryError",
    "Workspace",
    "__version__",
]

__version__ = "0.1.0"


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """`Workspace` is imported when it is first asked for: every task imports this package."""
    if name == "Workspace":
        from job_orchestration.api import Workspace

        return Workspace
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
