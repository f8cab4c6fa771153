"""Have the summary of a batch of gene sets written when its runs end.

With the last run that waits or is running come the heat maps; before that, the tables are written now and
then. Each worker looks after it has moved its run to its end, so that the last one sees that none is left.
What is not done here, because a worker is killed, is done by the command ``geneplexus summary``.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.problems import escaped
from job_orchestration.worker import own_commands
from job_orchestration.workspace import clock, safe_reads

if TYPE_CHECKING:
    from collections.abc import Callable

    from job_orchestration.runs.state import RunState
    from job_orchestration.workspace.layout import Workspace

_EVERY: Final = 60.0
"""Seconds between two summaries while runs of the batch are left."""


def summarize(
    workspace: Workspace,
    run: str,
    state: RunState,
    unwanted: Callable[[], bool],
    say: Callable[[str], None],
) -> None:
    """Write the summary of a run's batch, if it is due, and wait for it.

    Args:
        workspace: the workspace.
        run: a run that has ended.
        state: its state.
        unwanted: whether to stop waiting.
        say: called with the outcome if it fails.
    """
    if state.trial is None:
        return
    base = os.path.dirname(run)
    is_last = not _is_any_left(workspace, state.trial.sweep)
    if not is_last and _was_written_lately(workspace, base):
        return
    words = ["geneplexus", "summary", base, *([] if is_last else ["--tables"])]
    with suppress(OSError):
        if own_commands.exit_code_of(workspace, words, unwanted) and not unwanted():
            say(f"{escaped(base)}: its summary could not be written; see why with: geneplexus summary")


def _is_any_left(workspace: Workspace, sweep: str) -> bool:
    """Return whether a run of a sweep waits or is running, by the names of the tokens."""
    beginning = f"{sweep},"
    folders = (workspace.to_run, workspace.running)
    return any(name.startswith(beginning) for folder in folders for name in safe_reads.names_in(folder))


def _was_written_lately(workspace: Workspace, base: str) -> bool:
    path = os.path.join(workspace.run_folder(base), "summary", "summary.tsv")
    try:
        written = os.stat(path).st_mtime
    except OSError:
        return False
    return 0 <= clock.now().timestamp() - written < _EVERY
