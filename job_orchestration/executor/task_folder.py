"""Have the tasks of a process stand in a working folder, with all that remembers where a program stands."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.runs import working_folder

if TYPE_CHECKING:
    from job_orchestration.code.task_importer import CodePlan
    from job_orchestration.executor.import_folder import ImportFolder
    from job_orchestration.executor.messages import Message
    from job_orchestration.runs.working_folder import View

_MULTIPROCESSING: Final = "multiprocessing.process"


class TaskFolder:
    """Prepared in a fork server, or in a spawned child, and entered by each run.

    Args:
        view: what a run begins with.
        imported_in: the working folder in which the tasks were imported, if it is not the run's own.
    """

    def __init__(self, view: View, imported_in: str | None = None) -> None:
        self.view = view
        self._imported_in = imported_in
        self._logs = [] if imported_in is None else _logs_in(imported_in)

    def enter(self, base: str) -> None:
        """Make a working folder, as far as it is not there, and stand in it.

        Raises:
            OSError: the disk refuses.
        """
        self.view.enter(base)
        here = self.view.standing(base)
        processes = sys.modules.get(_MULTIPROCESSING)
        if processes is not None:
            processes.ORIGINAL_DIR = here  # type: ignore[attr-defined]  # spawned processes begin there
        for handler in self._logs:
            _move(handler, self._imported_in or "", base)
        self._logs = []

    def enter_again(self, base: str) -> None:
        """Stand there again before the next task: in the folder that the task before may have removed."""
        here = self.view.standing(base)
        try:
            os.chdir(here)
        except OSError:
            self.view.enter(base)

    def touched(self, base: str) -> tuple[int, ...] | None:
        """Return when something was last made, removed or renamed in each folder of a working folder.

        Returns:
            Nanoseconds; `None` if a folder is gone.
        """
        with suppress(OSError):
            return tuple(os.stat(os.path.join(base, name)).st_mtime_ns for name in ("", *self.view.folders))
        return None


def base_of(order: Message) -> str:
    """Return the working folder of a child: the run's own, or one that is thrown away after `validate`."""
    if order["kind"] == "validate":
        return working_folder.of_run(os.path.dirname(order["request"]))
    return working_folder.of_run(order["folder"])


def of_plan(plan: CodePlan) -> TaskFolder:
    """Return the task folder of a process that imports the tasks where it runs them."""
    return TaskFolder(working_folder.view_of(plan.snapshot, plan.folder))


def of_imports(imports: ImportFolder) -> TaskFolder:
    """Return the task folder of the runs of a fork server that has imported the tasks."""
    return TaskFolder(imports.view(), imports.base)


def _logs_in(folder: str) -> list[Any]:
    """Return the handlers of `logging` that write files in a folder."""
    known = (reference() for reference in logging._handlerList)  # type: ignore[attr-defined]  # noqa: SLF001
    return [
        handler
        for handler in known
        if isinstance(handler, logging.FileHandler) and handler.baseFilename.startswith(folder + os.sep)
    ]


def _move(handler: logging.FileHandler, old: str, new: str) -> None:
    """Have a log that the imports opened go on in a run's own copy of it."""
    handler.baseFilename = new + handler.baseFilename[len(old) :]
    handler.mode = "a"
    stream, handler.stream = handler.stream, None  # it is opened when it is needed
    if stream is not None:
        stream.close()
