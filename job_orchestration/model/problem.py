"""One finding of validation: where it is, what is wrong, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAMES_SHOWN: Final = 5


class Severity(StrEnum):
    """Whether a finding keeps a config from being queued."""

    ERROR = "error"
    WARNING = "warning"


def escaped(text: str) -> str:
    r"""``text`` made safe for a terminal or a log: control characters and undecodable bytes as ``\x..``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def quoted(text: str, most: int = 60) -> str:
    """The text in single quotes, as a sentence about it shows it; cut when it is long."""
    return f"'{text}'" if len(text) <= most else f"'{text[:most]}…'"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding, shown as ``a.yaml:LINE:COLUMN: key: what is wrong. What to do.`` on a line."""

    file: str
    what: str
    """A sentence without its full stop."""
    todo: str = ""
    """What the reader can do about it; a sentence without its full stop, or a question."""
    key: str = ""
    """The dotted path of the value meant, as in ``tasks[1].method``."""
    line: int = 0
    """Counted from 1; 0 when the finding is about the file as a whole."""
    column: int = 0
    severity: Severity = Severity.ERROR

    @property
    def is_error(self) -> bool:
        """Whether this keeps the config from being queued."""
        return self.severity is Severity.ERROR

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        key = f"{self.key}: " if self.key else ""
        kind = "" if self.is_error else "warning: "
        sentences = " ".join(
            s if s.endswith("?") else f"{s.rstrip('.')}." for s in (self.what, self.todo) if s
        )
        return escaped(f"{where}: {kind}{key}{sentences}")


def named(names: Iterable[str]) -> str:
    """Some names for a sentence: the first few, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - _NAMES_SHOWN} more" if len(every) > _NAMES_SHOWN else ""
    return ", ".join(every[:_NAMES_SHOWN]) + more
