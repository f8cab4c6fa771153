"""Small public tools for plain functions that run as jobs: decorators, lists of arguments, NDJSON, a timer.

Start with `decorators`. Code of tasks imports from here: `from job_orchestration.functions import attempt`.
The package owns nothing on the disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from job_orchestration.functions import nd_json
from job_orchestration.functions.argument_lists import bool_str, copy_update, is_str, truthy, update_list
from job_orchestration.functions.decorators import as_json, attempt, expand_args
from job_orchestration.functions.timer import Timer

if TYPE_CHECKING:
    from job_orchestration.functions.job import DLJob, Job, JobResult

__all__ = [
    "DLJob",
    "Job",
    "JobResult",
    "Timer",
    "as_json",
    "attempt",
    "bool_str",
    "copy_update",
    "expand_args",
    "is_str",
    "nd_json",
    "truthy",
    "update_list",
]


def __getattr__(name: str) -> Any:
    """`Job` is imported when it is first asked for: code of tasks needs only the rest."""
    if name in {"DLJob", "Job", "JobResult"}:
        from job_orchestration.functions import job

        return getattr(job, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
