"""One finding of `doctor`: how things stand with a workspace or a machine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, and what to do about it."""

    topic: str
    level: Level
    what: str
    """A sentence without its full stop."""
    todo: str = ""
