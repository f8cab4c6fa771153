"""Rehearse a run in the fork server, so that its forks find what the interpreter learns by executing it.

CPython replaces the instructions of a function by faster ones after some calls, and remembers where it found
an attribute. Both are writes, and a write to memory that a fork shares copies a page of it. So the path of a
run is executed some times over in the fork server, with tasks that do nothing. It writes to no file that has
a name, and calls no code of the user.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.executor import open_files, shared_memory
from job_orchestration.executor.messages import INPUTS, REUSE, START
from job_orchestration.executor.process_state import RunState as ProcessState
from job_orchestration.executor.task_runner import TaskRunner
from job_orchestration.workspace import durable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from job_orchestration.executor.messages import Message
    from job_orchestration.executor.shared_memory import Verdict
    from job_orchestration.executor.task_folder import TaskFolder

_TIMES: Final = 6
"""After so many rehearsals of two tasks CPython has replaced the instructions of every function."""
_TASKS: Final = ("first", "second")
_STDERR: Final = 2
_EMPTY: Final = sys.getsizeof(b"")
_SIZES: Final = range(48, 513, 16)
"""Bytes of the objects that CPython keeps in pools, each of which has objects of one size."""
_POOL, _HEADER = 1 << 14, 48
"""Bytes of a pool, and of what lies before its first object."""
_IN_A_ROW: Final = 4
_MOST: Final = 300
"""Objects of one size that are made at most, for an interpreter that has no such pools."""
_fillings: Final[list[bytes]] = []


class Nothing:
    """A task that does nothing."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def run(self) -> None:
        """Do nothing."""


class _Rehearsal(TaskRunner):
    """Leaves alone what a fork changes of its own process only: generators, and pools of threads."""

    def seed_generators(self) -> None:
        """Seed nothing."""

    def note_state(self, variables: Iterable[bytes]) -> ProcessState:
        """Note the state of this process, which stands elsewhere."""
        return ProcessState(variables, os.getcwd(), lambda: None)

    def put_back(self, state: ProcessState) -> None:
        """Compare the state of this process, which no task has changed."""
        state.put_back()


def rehearse(order: Message, folder: TaskFolder) -> None:
    """Execute the path of a run some times over; errors are ignored.

    Args:
        order: the worker's message for a run; its options are those of the rehearsal.
        folder: where tasks stand; the rehearsal does not enter it.
    """
    if durable.intercept is not None:
        return  # a test counts what is done to the disk
    with suppress(Exception), _silence():
        for _ in range(_TIMES):
            _after_fork()
            rehearse_once(order, folder)
    gc.collect()  # empties CPython's lists of free objects, which lie scattered now
    _fill_gaps()


def rehearse_once(order: Message, folder: TaskFolder) -> Verdict:
    """Execute the path of a run.

    Raises:
        Exception: whatever fails.
    """
    token = os.path.realpath(__file__)
    lock = os.open(token, os.O_RDONLY | os.O_CLOEXEC)
    journal_file = shared_memory.create()
    shared_page = shared_memory.SharedPage(shared_memory.create())
    try:
        shared_page.reset()
        method = f"{__name__}:{Nothing.__name__}"
        values = {"tasks": [{"id": name, "method": method} for name in _TASKS]}
        start = {
            "values": values,
            "seed": 0,
            "commit": None,
            "tasks": [(name, False, 0, 0) for name in _TASKS],
            "finished": {},
            "trial": None,
        }
        changed: Message = {
            "run": "rehearsal",
            "folder": os.devnull,
            "token": token,
            "written": 0,
            REUSE: None,
            INPUTS: None,
        }
        runner = _Rehearsal({**order, **changed, START: start}, lock, journal_file, shared_page, folder)
        runner.begin()
        shared_page.verdict = verdict = runner.go_on()
        open_files.holds_nothing()
    finally:
        shared_page.close()
        os.close(journal_file)
        os.close(lock)
    return verdict


def _fill_gaps() -> None:
    """Fill the gaps that the imports left between their objects.

    What runs make from now on lies side by side in fresh pools, on fewer pages of memory.
    """
    for size in _SIZES:
        last = in_a_row = 0
        for _ in range(_MOST):
            filling = bytes(size - _EMPTY)
            _fillings.append(filling)
            follows = in_a_row and id(filling) == last + size
            last = id(filling)
            in_a_row = in_a_row + 1 if follows else int(last % _POOL == _HEADER)
            if in_a_row == _IN_A_ROW:
                break  # they come from a fresh pool


def _after_fork() -> None:
    """Do what the standard library does in a fork. In a process of one thread it changes nothing."""
    for module, name in ((threading, "_after_fork"), (logging, "_after_at_fork_child_reinit_locks")):
        getattr(module, name)()


@contextmanager
def _silence() -> Iterator[None]:
    """Discard what is written to stderr. The stream itself stays, because tasks are to find it."""
    kept, nowhere = os.dup(_STDERR), os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nowhere, _STDERR)
    try:
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
        os.close(nowhere)
