"""The tasks that every config may name without having them in its ``Tasks.py``.

The module's name, and those of the tasks, are those of the first Job Orchestration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from job_orchestration.hyperparameter_optimisation.tasks import (
    HyperparameterEvaluate,
    HyperparameterTrial,
    StartHyperparameterOptimization,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.configBase import TaskWithInitAndValidate

__all__ = [
    "HyperparameterEvaluate",
    "HyperparameterTrial",
    "StartHyperparameterOptimization",
    "specialTasks",
]

specialTasks: Final[Mapping[str, type[TaskWithInitAndValidate]]] = {
    "StartHyperparameterOptimization": StartHyperparameterOptimization,
    "HyperparameterTrial": HyperparameterTrial,
    "HyperparameterEvaluate": HyperparameterEvaluate,
}
