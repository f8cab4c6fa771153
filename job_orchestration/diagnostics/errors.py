"""Exceptions; each has a sentence about what is wrong and one about what to do. Pure."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from job_orchestration.diagnostics.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from job_orchestration.diagnostics.problems import Problem


class OrchestrationError(Exception):
    """An error with a sentence for the user; never shown with a traceback.

    Attributes:
        what: what is wrong, a sentence without its full stop.
        todo: what to do about it, without its full stop, or a question.
        exit_code: exit code of a command that ends with this error.
    """

    exit_code = 4

    def __init__(self, what: str, todo: str = "") -> None:
        super().__init__(what, todo)
        self.what = what
        self.todo = todo

    def __str__(self) -> str:
        return " ".join(s if s.endswith("?") else f"{s.rstrip('.')}." for s in (self.what, self.todo) if s)


class UsageError(OrchestrationError):
    """The command line asks for something that does not exist."""

    exit_code = 2


class RefusedError(OrchestrationError):
    """Something was refused, each for a reason of its own.

    Attributes:
        problems: all reasons; each has ``file``, ``line``, ``column``, ``key``, ``what`` and ``todo``, and
            its text is one line with all of them.
    """

    exit_code = 3

    def __init__(self, sentence: str, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"{sentence}:{''.join(f'{chr(10)}  {problem}' for problem in self.problems)}")

    def __str__(self) -> str:
        return self.what


class ConfigRefusedError(RefusedError):
    """A submitted config was refused; nothing of it is left in the workspace."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        found = tuple(problems)
        number = sum(problem.is_error for problem in found)
        super().__init__(f"The config has {number} problem{'' if number == 1 else 's'}", found)

    def __reduce__(self) -> tuple[type[ConfigRefusedError], tuple[Any, ...]]:
        return type(self), (self.problems,)


class RunRefusedError(RefusedError):
    """Some of the runs could not be changed; the others were.

    Attributes:
        runs: the names of the runs that were changed.
    """

    def __init__(self, problems: Iterable[Problem], runs: Iterable[str] = ()) -> None:
        found = tuple(problems)
        self.runs = tuple(runs)
        number = counted(len(found), "run was", "runs were")
        super().__init__(f"{number} refused", found)

    def __reduce__(self) -> tuple[type[RunRefusedError], tuple[Any, ...]]:
        return type(self), (self.problems, self.runs)


class JobExistsError(UsageError):
    """A job of this name exists, so that no other one can be submitted under it."""


class JobNotFoundError(UsageError):
    """There is no job of this name, or the job has no such file."""


class WorkspaceError(OrchestrationError):
    """The workspace cannot be used as it is."""


class BusyError(OrchestrationError):
    """Another process holds a lock, and this command was asked not to wait for it."""

    exit_code = 5


class CodeError(OrchestrationError):
    """The code of the tasks cannot be pinned as it is."""


class ForkServerError(OrchestrationError):
    """The process that imports the tasks could not be started.

    Attributes:
        was_killed: whether it was killed (SIGKILL), by a person or for lack of memory.
    """

    was_killed = False


class NotifierError(OrchestrationError):
    """A notification could not be sent, or its recipient can never be reached."""


class ClaimLostError(OrchestrationError):
    """Another holder has the run now: stop at once and write nothing more for it."""

    @classmethod
    def taken_over(cls, run: str) -> ClaimLostError:
        """Return the error of an attempt whose run another worker has claimed."""
        return cls(f"{run} was taken over by another worker; this one stops")


class PermanentError(Exception):
    """Raised by a task when trying again cannot help: the run gives up at once."""


class TemporaryError(Exception):
    """Raised by a task when a later try may well succeed.

    Args:
        message: the cause.
        delay: seconds to wait before the next try; default: the config's ``retryDelay``.

    Raises:
        ValueError: if the delay is not a number of seconds.
    """

    def __init__(self, message: object = "", delay: float | None = None) -> None:
        super().__init__(message)
        self.delay = None if delay is None else float(delay)
        if self.delay is not None and not isfinite(self.delay):
            raise ValueError(f"a delay of {delay} is not a number of seconds")


class PrunedError(Exception):
    """Raised by ``context.progress`` in a trial that its search ends early; let it pass through."""
