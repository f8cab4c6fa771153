"""Saying how a child ended when it could not say so itself: in the journal's words, and in the run's log."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from job_orchestration.model.run import Outcome

if TYPE_CHECKING:
    from job_orchestration.files.token import Claim


def seconds_since(moment: str | None) -> float | None:
    """Seconds from a moment of the journal until now; never fewer than none."""
    if moment is None:
        return None
    return round(max((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds(), 0.0), 6)


def reading_of(code: int, stopped: Outcome | None, *, oom: bool) -> tuple[Outcome, str]:
    """How a try ended, and how to say it.

    Args:
        code: the child's exit code; a signal's number is negative.
        stopped: why the host had stopped it, if it had.
        oom: whether its memory had run out.
    """
    if stopped is Outcome.TIMEOUT:
        return stopped, "timeout: it took longer than it may and was stopped"
    if stopped is Outcome.HANG:
        return stopped, "hang: its interpreter did not run for the stallTimeout and was stopped"
    if oom and code == -signal.SIGKILL:
        return Outcome.OOM, "out of memory: the kernel killed it (SIGKILL)"
    if code == 0:
        return Outcome.LOST, "the task ended its process (exit code 0) without finishing"
    how = f"the task ended its process with exit code {code}" if code > 0 else f"signal {-code}"
    with suppress(ValueError):
        how = signal.Signals(-code).name
    return Outcome.CRASH, how


def note(claim: Claim, text: str) -> None:
    """Put into a run's log what happened when there was no child to print it."""
    with suppress(OSError), open(os.path.join(claim.run_folder, "log.log"), "a", encoding="utf-8") as file:
        file.write(f"[job_orchestration] {text.rstrip()}\n")
