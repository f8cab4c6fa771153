"""What can go wrong, as exceptions. An error is one sentence of what and one of what to do."""

from __future__ import annotations

from math import isfinite


class OrchestrationError(Exception):
    """An error with a sentence for the user; never shown with a traceback.

    Attributes:
        what: what is wrong, a sentence without its full stop.
        todo: what to do about it, the same.
        exit_code: what a command that ends by it returns.
    """

    exit_code = 4

    def __init__(self, what: str, todo: str = "") -> None:
        super().__init__(what, todo)
        self.what = what
        self.todo = todo

    def __str__(self) -> str:
        return " ".join(f"{s.rstrip('.')}." for s in (self.what, self.todo) if s)


class UsageError(OrchestrationError):
    """The command line asks for something that does not exist."""

    exit_code = 2


class WorkspaceError(OrchestrationError):
    """The workspace cannot be used as it is."""


class CodeError(OrchestrationError):
    """The repository of the tasks cannot be pinned as it is."""


class HostError(OrchestrationError):
    """The process that imports the tasks could not be started."""


class NotifierError(OrchestrationError):
    """Somebody could not be told, or never can be in the way that was asked for."""


class ClaimLostError(OrchestrationError):
    """Another holder has the run now: stop at once and write nothing more for it."""


class PermanentError(Exception):
    """Raised by a task when trying again cannot help: the run gives up at once."""


class TemporaryError(Exception):
    """Raised by a task when a later try may well succeed.

    Args:
        message: what was in the way.
        delay: seconds to wait before the next try; the config's ``retryDelay`` when not given.

    Raises:
        ValueError: when the delay is no number of seconds.
    """

    def __init__(self, message: object = "", delay: float | None = None) -> None:
        super().__init__(message)
        self.delay = None if delay is None else float(delay)
        if self.delay is not None and not isfinite(self.delay):
            raise ValueError(f"a delay of {delay} is no number of seconds")


class PrunedError(Exception):
    """Raised by ``context.progress`` in a trial that its search ends early; let it pass through."""
