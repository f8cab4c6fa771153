"""Experiments from a folder of YAML files: checked, pinned to a commit, checkpointed after every task."""

from __future__ import annotations

from job_orchestration.model.errors import PermanentError, TemporaryError
from job_orchestration.TaskBase import TaskBase

__all__ = ["PermanentError", "TaskBase", "TemporaryError", "__version__"]

__version__ = "0.1.0"
