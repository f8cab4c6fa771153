"""Have a completed rerun compared with its original, in a process of its own.

What is not done here, because the worker stops, is done by the command `verify`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from collections.abc import Callable

    from job_orchestration.workspace.layout import Workspace

_CODES: Final = {
    0: "verified: the results are those of its original",
    1: "verified: the results are different",
}


def verify(workspace: Workspace, run: str, unwanted: Callable[[], bool], say: Callable[[str], None]) -> None:
    """Run ``verify`` for a completed rerun, and wait for it.

    Args:
        workspace: the workspace.
        run: the rerun.
        unwanted: whether to stop waiting.
        say: called with the outcome.
    """
    from job_orchestration.worker import own_commands

    with suppress(OSError):
        code = own_commands.exit_code_of(workspace, ["verify", run, "--once"], unwanted)
        say(f"{escaped(run)}: {_CODES.get(code, 'could not be verified; see why with: verify')}")
