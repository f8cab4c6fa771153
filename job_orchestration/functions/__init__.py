"""Small public tools for plain functions that run as jobs: decorators, lists of arguments, NDJSON, a timer.

Start with `decorators`. Code of tasks imports from here: `from job_orchestration.functions import attempt`.
The package owns nothing on the disk.
"""

from __future__ import annotations

from job_orchestration.functions import nd_json
from job_orchestration.functions.argument_lists import bool_str, copy_update, is_str, truthy, update_list
from job_orchestration.functions.decorators import as_json, attempt, expand_args
from job_orchestration.functions.timer import Timer

__all__ = [
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
