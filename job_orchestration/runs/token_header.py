"""Read and write the comment lines at the top of a token: its run, and its requirements."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.config import scheduling
from job_orchestration.config.scheduling import NO_REQUIREMENTS, Requirements, requirements_of
from job_orchestration.workspace import safe_reads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.config.config import Json

REQUIREMENTS: Final = "asks: "
"""The start of the requirements line."""
_START: Final = f"# {REQUIREMENTS}".encode()

_REQUIREMENT_KEYS: Final = frozenset({"priority", "after", "resources"})


def comment_of(values: Mapping[str, Json]) -> str:
    """Format the requirements of a resolved config as a comment; empty for most configs."""
    return to_comment(requirements_of(values)) if _REQUIREMENT_KEYS & values.keys() else ""


def to_comment(requirements: Requirements) -> str:
    """Format requirements as a comment without ``# ``; empty if there are none."""
    if requirements == NO_REQUIREMENTS:
        return ""
    values = {
        "priority": requirements.priority,
        "after": requirements.after,
        "resources": dict(requirements.resources),
    }
    return REQUIREMENTS + json.dumps({key: value for key, value in values.items() if value})


def has_requirements(head: bytes) -> bool | None:
    """Return whether the second line of a token holds requirements; `None` if `head` ends too early."""
    _, newline, rest = head.partition(b"\n")
    if newline and not rest.startswith(_START):
        return False
    return True if b"\n" in rest else None


def from_token(head: bytes) -> Requirements:
    """Parse the second line of a token; an invalid line means no requirements."""
    line = head.split(b"\n", 2)[1]
    try:
        values = json.loads(line.removeprefix(_START))
        resources = sorted((str(name), int(amount)) for name, amount in values.get("resources", {}).items())
        after = tuple(str(run) for run in values.get("after", ()))
        return Requirements(int(values.get("priority", 0)), after, tuple(resources))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return NO_REQUIREMENTS


HEADER: Final = "job_orchestration run: "
"""The start of a token's first comment line; the run's name follows."""


def run_named_in(data: bytes) -> str | None:
    """Return the run named in a token's first line; `None` for a file that `ready` did not write."""
    start = f"# {HEADER}".encode()
    if not data.startswith(start):
        return None
    with suppress(UnicodeDecodeError):
        return data.partition(b"\n")[0][len(start) :].decode("utf-8") or None
    return None


def run_of(path: str) -> str | None:
    """Return the run named in the first line of a file; `None` if it names none or cannot be read."""
    with suppress(OSError):
        descriptor = os.open(path, safe_reads.READ_ONLY)
        try:
            return run_named_in(os.read(descriptor, 4096))
        finally:
            os.close(descriptor)
    return None


_HEAD: Final = 2048
_MOST: Final = 8 << 20


def read_requirements(path: str) -> scheduling.Requirements:
    """Read the requirements of the token at a path; none if it is gone or is no token."""
    try:
        descriptor = os.open(path, safe_reads.READ_ONLY)
    except OSError:
        return scheduling.NO_REQUIREMENTS
    try:
        head = os.read(descriptor, _HEAD)
        has_some = has_requirements(head)
        if has_some is None:
            head = os.pread(descriptor, _MOST, 0)
            has_some = has_requirements(head)
        return from_token(head) if has_some else scheduling.NO_REQUIREMENTS
    except OSError:
        return scheduling.NO_REQUIREMENTS
    finally:
        os.close(descriptor)
