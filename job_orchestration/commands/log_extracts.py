"""Parts of a run's log: one task, one try, the errors, the last lines. Pure.

The log is text that anything may write into. What is known of it: a line says which task starts, and a
line of `logging` or of the fork server has its level or origin near its beginning.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_START: Final = re.compile(r"\S+ \S+ \[INFO \] {2}Running task with id: (?P<task>\S.*?)(?: \(.*\))?")
"""The line that `executor.task_runner` writes before each try of a task."""
_OURS: Final = "[job_orchestration] "
_LEVEL: Final = re.compile(r"(?<!\w)(?:DEBUG|INFO|WARN(?:ING|I)?|(?P<error>ERROR|CRITI(?:CAL)?|FATAL))(?!\w)")
_LEVEL_WITHIN: Final = 80
"""Characters at the beginning of a line in which `logging` writes a level, in most formats."""
_TRACEBACK: Final = re.compile(r"\s*(?:\+ Exception Group )?Traceback \(most recent call last\):")
_CHAINED: Final = ("During handling of the above exception", "The above exception was the direct cause")
_STACK: Final = ("Fatal Python error:", "Current thread 0x", "Thread 0x")
"""How the parts of a stack begin that `faulthandler` writes."""
_FAILED: Final = re.compile(r"Task \S.* failed: ")
_MESSAGE: Final = 200
"""Maximum number of lines of an exception's message."""


@dataclass(frozen=True, slots=True)
class Extract:
    """Which part of a log is wanted."""

    lines: int | None = None
    """Number of lines, from the end; `None`: all."""
    task: str | None = None
    """Id of a task."""
    number: int | None = None
    """Number of the try, from 1, counted over the log for each task."""
    errors: bool = False
    """Only errors and tracebacks, of the last try of each task unless `number` chooses another."""

    @property
    def needs_lines(self) -> bool:
        """Whether the log must be read line by line from its beginning."""
        return self.errors or self.task is not None or self.number is not None


def started_task(line: str) -> str | None:
    """Return the id of the task that starts with this line of a log."""
    found = _START.fullmatch(line)
    return found["task"] if found else None


class ErrorFilter:
    """Pass on the lines of errors: records of logging, tracebacks, stacks, remarks of the fork server."""

    def __init__(self) -> None:
        self._within = ""
        """What the last line was part of: a traceback, a group of them, a stack, or the text after one."""
        self._message: list[str] = []
        """Lines after an exception's, which are its message if its task failed with it."""

    def add(self, line: str) -> list[str]:
        """Return the lines that are now known to be errors, in order."""
        if _TRACEBACK.match(line):
            self._message.clear()
            self._within = "group" if "Group" in line else "traceback"
            return [line]
        if (kept := self._continued(line)) is not None:
            return kept
        message, self._message = self._message, []
        if line.startswith(_STACK):
            self._within = "stack"
            return [line]
        level = _LEVEL.search(line[:_LEVEL_WITHIN])
        self._within = ""
        if line.startswith(_OURS) or (level and level["error"]):
            return [*message, line] if _FAILED.search(line) else [line]
        return []

    def _continued(self, line: str) -> list[str] | None:
        """Return what is known if the line belongs to what is before it; `None` if it does not."""
        is_deeper = line[:1] in {" ", "\t"}
        if self._within in {"traceback", "group", "stack"} and is_deeper:
            return [line]
        if self._within == "traceback":
            self._within = "message"
            return [line]
        if self._within == "message" and line.startswith(_CHAINED):
            before, self._message = self._message, []
            self._within = "chain"
            return [*before, line]
        if self._within in {"chain", "stack"} and not line:
            return [line]
        is_record = line.startswith(_OURS) or _LEVEL.search(line[:_LEVEL_WITHIN]) is not None
        if self._within == "message" and not is_record and len(self._message) < _MESSAGE:
            self._message.append(line)
            return []
        return None


class Extractor:
    """Takes the part that is wanted out of a log that is read line by line."""

    def __init__(self, wanted: Extract) -> None:
        self._wanted = wanted
        self.tries: dict[str, int] = {}
        """Number of tries of each task so far."""
        self._task: str | None = None
        self._filter = ErrorFilter()
        self._held: dict[str | None, deque[str]] | None = None
        if wanted.lines is not None or (wanted.errors and wanted.number is None):
            self._held = {}

    def add(self, line: str) -> Iterator[str]:
        """Yield the lines that can be shown now."""
        task = started_task(line)
        if task is not None:
            self._task = task
            self.tries[task] = self.tries.get(task, 0) + 1
            self._filter = ErrorFilter()
            if self._held is not None and self._wanted.errors and self._wanted.number is None:
                self._held.pop(task, None)  # its earlier tries are not the last
                self._held.pop(None, None)  # nor is a failed import before them
        if not self._is_wanted():
            return
        lines = self._filter.add(line) if self._wanted.errors else [line]
        if self._held is None:
            yield from lines
            return
        key = self._task if self._wanted.errors else None
        self._held.setdefault(key, deque(maxlen=self._wanted.lines)).extend(lines)

    def release(self) -> Iterator[str]:
        """Yield the lines that were held until the end of the log; from now on no line is held."""
        held = [line for lines in (self._held or {}).values() for line in lines]
        self._held = None
        yield from held if self._wanted.lines is None else held[-self._wanted.lines :]

    def _is_wanted(self) -> bool:
        wanted, task = self._wanted, self._task
        if wanted.task is not None and task != wanted.task:
            return False
        return wanted.number is None or (task is not None and self.tries[task] == wanted.number)


def lines_in(pieces: Iterable[str | None]) -> Iterator[str | None]:
    """Yield whole lines as a terminal would show them, without their ends; pass on each `None`."""
    parts: list[str] = []
    for piece in pieces:
        if piece is None:
            yield None
            continue
        first, *others = piece.split("\n")
        parts.append(first)
        for part in others:
            yield _as_shown("".join(parts))
            parts = [part]
    if last := _as_shown("".join(parts)).rstrip():
        yield last


def _as_shown(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]
