"""The current time: the only module that reads the wall clock."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Return the current time, in UTC."""
    return datetime.now(UTC)


def local_now() -> datetime:
    """Return the current time in the time zone of this machine, for names of folders."""
    return datetime.now().astimezone()


def timestamp() -> str:
    """Return the current time as written in files: UTC, ISO 8601, microseconds."""
    return now().isoformat(timespec="microseconds")
