"""Ways to make the one module of writes fail: a kill or an error of the disk at each of its operations."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from job_orchestration.workspace import durable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from job_orchestration.workspace.durable import Operation


class Killed(BaseException):
    """The process ends here. No handler of errors may see it."""


@contextmanager
def intercepted(by: Callable[[Operation, Callable[[], object]], object]) -> Iterator[None]:
    """Have each operation go through a function."""
    before = durable.intercept
    durable.intercept = by
    try:
        yield
    finally:
        durable.intercept = before


def operations_of(operation: Callable[[], object]) -> list[str]:
    """The operations that something makes, in order, as ``name file``."""
    made: list[str] = []

    def note(operation: Operation, call: Callable[[], object]) -> object:
        made.append(f"{operation.name} {os.path.basename(operation.path)}")
        return call()

    with intercepted(note):
        operation()
    return made


HOW = ("before", "after", "torn", "ENOSPC", "EIO", "EDQUOT")


@contextmanager
def failing(at: int, how: str) -> Iterator[None]:
    """Have the operation of a number fail: killed before, after or in the middle of it, or refused.

    Operations that follow an error of the disk fail too, as they would.
    """
    number = 0

    def fail(operation: Operation, call: Callable[[], object]) -> object:
        nonlocal number
        number += 1
        if number < at:
            return call()
        if how in {"ENOSPC", "EIO", "EDQUOT"}:
            raise OSError(getattr(errno, how), os.strerror(getattr(errno, how)), operation.path)
        if how == "after":
            call()
        if how == "torn" and operation.name == "append":
            with open(operation.path, "ab") as file:
                file.write(operation.data[: len(operation.data) // 2])
        raise Killed

    with intercepted(fail):
        yield
