"""Format time left and end times."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics import durations
from job_orchestration.diagnostics.plurals import counted
from job_orchestration.workspace import clock

if TYPE_CHECKING:
    from job_orchestration.forecast.time_left import Forecast

UNKNOWN: Final = "unknown"
_WEEK: Final = timedelta(days=6)


def left(p50: float | None, p90: float | None) -> str:
    """Format the time left as a range: median to 90 % quantile."""
    if p50 is None or p90 is None:
        return UNKNOWN
    return _span(*(durations.text_of(seconds, coarse=True) for seconds in (p50, p90)))


def until(p50: str | None, p90: str | None, now: datetime | None = None) -> str:
    """Format the end as a range of local times, without the date if it is today."""
    if p50 is None or p90 is None:
        return ""
    now = (now or clock.local_now()).astimezone()
    return _span(_clock(p50, now), _clock(p90, now))


def summary(of: Forecast) -> str:
    """Describe the time left of the whole queue; empty if no run is active."""
    if not of.runs:
        return ""
    if of.unknown:
        known = "" if of.work_s is None else f"; the others are {left(of.work_s, of.work_p90_s)} of work"
        return (
            f"time left unknown: {of.unknown} of {counted(of.runs, 'run has', 'runs have')} a task that never"
            f" finished before{known}"
        )
    workers = counted(of.workers, "worker")
    if of.eta_s is not None:
        return f"{left(of.eta_s, of.eta_p90_s)} left with {workers}, until {until(of.eta_at, of.eta_p90_at)}"
    if of.workers:
        return "time left unknown: cannot tell whether some workers are alive"
    return f"no workers; {left(of.work_s, of.work_p90_s)} of work queued"


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _clock(moment: str, now: datetime) -> str:
    at = datetime.fromisoformat(moment).astimezone()
    if at.date() == now.date():
        return f"{at:%H:%M}"
    return f"{at:%a %H:%M}" if at - now < _WEEK else f"{at:%Y-%m-%d}"
