"""`selftest`: queue a run whose function returns what it is called with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from job_orchestration.commands.run import FunctionCall, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.submission.reports import Report
    from job_orchestration.workspace.layout import Workspace

_FUNCTION: Final = "job_orchestration.functions.selftest:task"


def selftest(
    workspace: Workspace, number: int, args: Sequence[Any], kwargs: Mapping[str, Any], name: str | None = None
) -> Report:
    """Queue a run that calls the function a number of times.

    Args:
        workspace: with all its folders in place.
        number: of the calls.
        args: positional arguments of each.
        kwargs: keyword arguments of each.
        name: of the run.

    Raises:
        OSError: the disk failed.
    """
    call = FunctionCall(_FUNCTION, args, kwargs, [[] for _ in range(number)])
    return run(workspace, call, None, name=name or "selftest/{date}_{time}")
