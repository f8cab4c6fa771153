"""How long a run has been worked on, and how long it has waited. Pure.

Work is what its attempts took, each from its claim to its end. Of an attempt that was interrupted, only what
its journal shows counts: its death was not recorded. Waiting is the time in the queue and between attempts,
also while it is held. A run that has ended does neither: the time until a retry is in no sum.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from job_orchestration.runs.state import RunState


def between(since: str | None, until: str | datetime | None) -> float:
    """Return the seconds between two moments; 0 if one is missing, or if the clock was set back."""
    if since is None or until is None:
        return 0.0
    end = datetime.fromisoformat(until) if isinstance(until, str) else until
    return max((end - datetime.fromisoformat(since)).total_seconds(), 0.0)


def working_since(state: RunState) -> str | None:
    """Return when the current attempt began; `None` if there is none."""
    if state.worked_s is None and state.ended_at is None:  # a state without attempts, made by hand
        return state.started_at
    return state.working_since


def worked(state: RunState, now: datetime | None = None) -> float | None:
    """Return the seconds of work; `None` if the run was never claimed.

    Args:
        state: the run.
        now: the current time, to count the current attempt; without it, only those that have ended count.
    """
    if state.started_at is None:
        return None
    if state.worked_s is None and state.ended_at is not None:  # a run of the first release
        return round(between(state.started_at, state.ended_at), 3)
    return round((state.worked_s or 0.0) + between(working_since(state), now), 3)


def waited(state: RunState, now: datetime | None = None) -> float:
    """Return the seconds of waiting; with the current time, those that it is waiting now count as well."""
    return round(state.waited_s + between(state.waiting_since, now), 3)
