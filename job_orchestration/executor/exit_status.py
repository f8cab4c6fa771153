"""Turn a child's exit status into an outcome and a log line."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from job_orchestration.diagnostics import secrets
from job_orchestration.runs.events import Outcome
from job_orchestration.workspace import clock, durable

if TYPE_CHECKING:
    from job_orchestration.runs.claims import Claim


def seconds_since(moment: str | None) -> float | None:
    """Seconds from a moment of the journal until now, at least 0."""
    if moment is None:
        return None
    return round(max((clock.now() - datetime.fromisoformat(moment)).total_seconds(), 0.0), 6)


def classify_exit(code: int, stopped: Outcome | None, *, oom: str | None) -> tuple[Outcome, str]:
    """Return the outcome of a try, with a sentence about it.

    Args:
        code: the child's exit code; the negative number of a signal.
        stopped: why the fork server stopped it; `None` if it did not.
        oom: what happened if its memory ran out; `None` if it did not.
    """
    if stopped is Outcome.TIMEOUT:
        return stopped, "timeout: it took longer than it may and was stopped"
    if stopped is Outcome.HANG:
        return stopped, "hang: its interpreter did not run for the stallTimeout and was stopped"
    if oom is not None and code == -signal.SIGKILL:
        return Outcome.OOM, oom
    if code == 0:
        return Outcome.LOST, "the task ended its process (exit code 0) without finishing"
    how = f"the task ended its process with exit code {code}" if code > 0 else f"signal {-code}"
    with suppress(ValueError):
        how = signal.Signals(-code).name
    return Outcome.CRASH, how


def without_secrets(claim: Claim, text: str) -> str:
    """Return a text about a run without the secrets of its config and of this process."""
    known = secrets.values_in(os.environ) | secrets.values_in(claim.state.values)
    return secrets.masked(text, known)


def append_to_log(claim: Claim, text: str) -> None:
    """Append a line, without secrets, to the log of a run that has no child to print it."""
    line = without_secrets(claim, text.rstrip())
    with suppress(OSError):
        descriptor = durable.open_log(os.path.join(claim.run_folder, "log.log"))
        try:
            os.write(descriptor, f"[job_orchestration] {line}\n".encode("utf-8", "replace"))
        finally:
            os.close(descriptor)
