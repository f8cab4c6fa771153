"""Problems as values: the place, what is wrong, and what to do about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAMES_SHOWN: Final = 5


class Severity(StrEnum):
    """Whether a problem keeps a config from being queued."""

    ERROR = "error"
    WARNING = "warning"


def escaped(text: str) -> str:
    r"""Return a text that is safe for a terminal: control characters and undecodable bytes as ``\x..``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def quoted(text: str, most: int = 60) -> str:
    """Return a text in single quotes for a message; cut if it is long."""
    return f"'{text}'" if len(text) <= most else f"'{text[:most]}…'"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem, shown as one line: ``a.yaml:LINE:COLUMN: key: what is wrong. What to do.``."""

    file: str
    what: str
    """A sentence without its full stop."""
    todo: str = ""
    """What to do about it; a sentence without its full stop, or a question."""
    key: str = ""
    """The dotted key of the value, such as ``tasks[1].method``."""
    line: int = 0
    """Counted from 1; 0 if the problem is about the whole file."""
    column: int = 0
    severity: Severity = Severity.ERROR

    @property
    def is_error(self) -> bool:
        """Return whether this keeps the config from being queued."""
        return self.severity is Severity.ERROR

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        key = f"{self.key}: " if self.key else ""
        kind = "" if self.is_error else "warning: "
        sentences = " ".join(
            s if s.endswith("?") else f"{s.rstrip('.')}." for s in (self.what, self.todo) if s
        )
        return escaped(f"{where}: {kind}{key}{sentences}")


def named(names: Iterable[str], most: int = _NAMES_SHOWN) -> str:
    """Return names for a message: the first few, and the number of others."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


class Level(StrEnum):
    """Severity of a diagnostic."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One result of a check of a workspace or a machine, and what to do about it."""

    topic: str
    level: Level
    what: str
    """A sentence without its full stop."""
    todo: str = ""


class Fault(NamedTuple):
    """Why a name is refused: one sentence of what is wrong and one of what to do, without full stops."""

    what: str
    todo: str
