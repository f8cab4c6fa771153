"""The processes in which the elements of a mapped task run, forked from the task's own.

The parent writes the number of an element into a pipe; the process runs it, and answers with the line of its
checkpoint.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from job_orchestration.config import json_floats
from job_orchestration.executor import process_exit, task_call
from job_orchestration.processes import reaper
from job_orchestration.runs import kept_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from job_orchestration.config.config import Json

_CHUNK: Final = 1 << 16
_MOST_TRACEBACK: Final = 10_000
_RESULT: Final = b"R"
_ERROR: Final = b"E"
"""The first byte of an answer."""


def line_of(index: int, element: Json, **answer: Json) -> bytes:
    """Return the line of an element that has ended, with ``result`` or ``error``."""
    text = json_floats.text_of({"index": index, "element": element, **answer}, ensure_ascii=False)
    return f"{text}\n".encode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class Caller:
    """What a process needs to run elements; it inherits all of it."""

    elements: Sequence[Json]
    make: Callable[[int], Any]
    """Runs the element of a number, and returns what the task returns."""
    describe: Callable[[BaseException], tuple[str, str]]
    """Returns an exception as a line and with its traceback, both without secrets."""

    def answer(self, index: int, own: int) -> bytes:
        """Run one element; return the answer."""
        element = self.elements[index]
        try:
            value = self._result(index)
            process_exit.end_if_fork(own)
            kept, phrases = kept_values.kept(value, limit=None)
            if phrases:
                sys.stderr.write(
                    f"Element {index}: {kept_values.sentence_of(phrases, 'write {} into a file')}\n"
                )
            return _RESULT + line_of(index, element, result=kept)
        except BaseException as error:  # noqa: BLE001  # the end of an element, not of more
            process_exit.end_if_fork(own, error)
            what, shown = self.describe(error)
            return _ERROR + line_of(index, element, error=what, traceback=shown[-_MOST_TRACEBACK:])

    def _result(self, index: int) -> Any:
        try:
            return self.make(index)
        except SystemExit as exit_:
            if task_call.is_failure(exit_):
                raise
            return None


@dataclass(slots=True)
class ElementProcess:
    """One process, as its parent sees it."""

    pid: int
    writing: int
    """The pipe to it."""
    reading: int
    """The pipe from it."""
    index: int | None = None
    """The element that it has; `None` if it waits for one."""
    is_alive: bool = True
    _buffer: bytes = b""

    def give(self, index: int) -> None:
        """Give it an element. If it has died meanwhile, `answers` finds that out."""
        self.index = index
        with suppress(BrokenPipeError):
            os.write(self.writing, b"%d\n" % index)

    def answers(self) -> Iterator[tuple[int, bytes, bool]]:
        """Yield the number, the line and whether it is an error, of each element that has ended."""
        data = b""
        with suppress(BlockingIOError):  # it has died, and a process that it left behind keeps the pipe open
            data = os.read(self.reading, _CHUNK)
        self.is_alive = bool(data)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            index, self.index = self.index, None
            if index is not None:
                yield index, line[1:] + b"\n", line[:1] == _ERROR

    def has_ended(self) -> bool:
        """Return whether it has ended; it stays to be waited for."""
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def end(self) -> str:
        """Have it end, and return how it ended."""
        for descriptor in (self.writing, self.reading):
            os.close(descriptor)
        if self.index is not None and self.is_alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:  # the element has waited for all children there are
            return "its process ended"
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            with suppress(ValueError):
                return f"its process was killed by {signal.Signals(-code).name}"
        return f"its process ended with exit code {code}"


def start(caller: Caller, others: Iterable[ElementProcess]) -> ElementProcess:
    """Fork a process that waits for elements.

    Args:
        caller: what it does.
        others: processes whose pipes it does not keep.
    """
    to_read, writing = os.pipe()
    reading, to_write = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # a task may have put anything there
            stream.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            reaper.die_with_parent(parent)
            for descriptor in (writing, reading, *(d for o in others for d in (o.writing, o.reading))):
                os.close(descriptor)
            code = _serve(caller, to_read, to_write)
        finally:
            _leave(code)
    os.close(to_read)
    os.close(to_write)
    os.set_blocking(reading, False)
    return ElementProcess(pid, writing, reading)


def _serve(caller: Caller, reading: int, writing: int) -> int:
    own, buffer = os.getpid(), b""
    while data := os.read(reading, _CHUNK):
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            answer = memoryview(caller.answer(int(line), own))
            while answer:
                answer = answer[os.write(writing, answer) :]
    return 0


def _leave(code: int) -> NoReturn:
    """End without the exit functions of the task, whose process goes on."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)


def with_answers(processes: Sequence[ElementProcess], seconds: float) -> list[ElementProcess]:
    """Return the processes that have answered or died; wait for one if there is none, but not for long."""
    poll = select.poll()
    for process in processes:
        poll.register(process.reading, select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll(int(seconds * 1000))}
    if not ready:
        return [process for process in processes if process.has_ended()]
    return [process for process in processes if process.reading in ready]
