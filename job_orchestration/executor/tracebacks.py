"""Tracebacks of a task's code: without the frames of this package that called it."""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING, Final

from job_orchestration.code import task_importer
from job_orchestration.diagnostics.errors import PermanentError

if TYPE_CHECKING:
    from types import TracebackType

_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CALLERS: Final = frozenset(os.path.join(_PACKAGE, name) for name in ("executor", "cli"))
"""The packages whose code calls that of the tasks."""
_FILES: Final = frozenset({task_importer.__file__, os.path.join(_PACKAGE, "code", "function_tasks.py")})
"""Modules of another package that do so."""
_FROZEN: Final = "<frozen importlib"


def text_of(error: BaseException) -> str:
    """Return an exception with its traceback, which begins in the code of the tasks."""
    return "".join(traceback.format_exception(type(error), error, from_the_task_on(error)))


def from_the_task_on(error: BaseException) -> TracebackType | None:
    """Return the traceback of an exception without the frames that called the code of the tasks."""
    found = error.__traceback__
    is_awaited = False
    while found is not None:
        name = found.tb_frame.f_code.co_filename
        is_ours = os.path.dirname(name) in _CALLERS or name in _FILES
        is_awaited |= is_ours and found.tb_frame.f_code.co_name == "awaited"
        if not (is_ours or name.startswith(_FROZEN) or (is_awaited and "asyncio" in name)):
            return found
        found = found.tb_next
    return None if isinstance(error, PermanentError) else error.__traceback__
