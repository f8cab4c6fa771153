"""The current time: the only module that reads the wall clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo


def now(_now: Callable[[tzinfo], datetime] = datetime.now) -> datetime:
    """Return the current time, in UTC.

    The default keeps the clock of the interpreter for us if a task replaces `datetime` by one that stands.
    """
    return _now(UTC)


def local_now() -> datetime:
    """Return the current time in the time zone of this machine, for names of folders."""
    return datetime.now().astimezone()


def timestamp() -> str:
    """Return the current time as written in files: UTC, ISO 8601, microseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{nanoseconds // 1000:06d}+00:00"  # a `datetime` would touch twice the memory of a fork
