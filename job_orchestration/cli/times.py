"""Time left and moments to come, as a person says them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from job_orchestration.actions.outlook import Forecast

UNKNOWN: Final = "unknown"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_WEEK: Final = timedelta(days=6)


def brief(seconds: float) -> str:
    """Seconds as far as they matter to somebody who waits: ``8 s``, ``12 m``, ``3 h 05 m``, ``2 d 04 h``."""
    if seconds < 100:  # noqa: PLR2004  # up to here people think in seconds
        return f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{round(whole / _MINUTE)} m"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} m"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR:02} h"


def left(p50: float | None, p90: float | None) -> str:
    """What is left: what it is as likely as not, and what it is nine times of ten."""
    if p50 is None or p90 is None:
        return UNKNOWN
    return _span(brief(p50), brief(p90))


def until(p50: str | None, p90: str | None, now: datetime | None = None) -> str:
    """The same as moments on this machine's clock, without the day when it is today."""
    if p50 is None or p90 is None:
        return ""
    now = (now or datetime.now().astimezone()).astimezone()
    return _span(_clock(p50, now), _clock(p90, now))


def forecast(of: Forecast) -> str:
    """The whole queue in a sentence; nothing when there is nothing to do."""
    if not of.runs:
        return ""
    if of.unknown:
        return f"time left unknown: {of.unknown} of {of.runs} runs have a task that never finished before"
    workers = f"{of.workers} worker" + ("" if of.workers == 1 else "s")
    if of.eta_s is not None:
        return f"{left(of.eta_s, of.eta_p90_s)} left with {workers}, until {until(of.eta_at, of.eta_p90_at)}"
    if of.workers:
        return "time left unknown: nobody knows of some workers whether they live"
    return f"nobody works; there is work for {left(of.work_s, of.work_p90_s)}"


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _clock(moment: str, now: datetime) -> str:
    at = datetime.fromisoformat(moment).astimezone()
    if at.date() == now.date():
        return f"{at:%H:%M}"
    return f"{at:%a %H:%M}" if at - now < _WEEK else f"{at:%Y-%m-%d}"
