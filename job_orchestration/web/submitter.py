"""One thread that queues what is submitted: it keeps the checker warm, and makes one pass for all that wait.

Starting the process that imports tasks and validates configs takes most of the time of a single submission,
so it lives as long as the server. The thread matters: the kernel ends such a process with the thread that
started it.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

from job_orchestration.commands import submit
from job_orchestration.commands.ready import ready
from job_orchestration.commands.submit import Submission
from job_orchestration.diagnostics.errors import ConfigRefusedError, WorkspaceError
from job_orchestration.runs import opening
from job_orchestration.submission.checker import Checker

if TYPE_CHECKING:
    from job_orchestration.diagnostics.errors import OrchestrationError
    from job_orchestration.submission.reports import Queued
    from job_orchestration.workspace.layout import Workspace

_MOST_AT_ONCE: Final = 100
_Work: TypeAlias = "tuple[Submission | str, Future[Queued | OrchestrationError]]"


class Submitter:
    """Queues configs, one pass after another; any number of threads may call it.

    Args:
        workspace: with all its folders in place.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._waiting: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="submitter", daemon=True)
        self._thread.start()

    def begin(self, wanted: Submission | str) -> Future[Queued | OrchestrationError]:
        """Begin to queue a config, or the file of this name in ConfigSources.

        Returns:
            What will have been queued, or why nothing was.
        """
        future: Future[Queued | OrchestrationError] = Future()
        self._waiting.put((wanted, future))
        return future

    def close(self) -> None:
        """Finish what waits, and end the process that validates."""
        self._waiting.put(None)
        self._thread.join()

    def _serve(self) -> None:
        with suppress(OSError), opening.only_one(self._workspace):
            opening.recover(self._workspace)  # a server that was killed may have left a run half-made
        check = Checker(self._workspace)
        try:
            while (first := self._waiting.get()) is not None:
                batch = [first]
                while len(batch) < _MOST_AT_ONCE and not self._waiting.empty():
                    following = self._waiting.get()
                    if following is None:
                        self._waiting.put(None)
                        break
                    batch.append(following)
                self._queue(check, batch)
        finally:
            check.close()

    def _queue(self, check: Checker, batch: list[_Work]) -> None:
        try:
            configs = [(wanted, future) for wanted, future in batch if isinstance(wanted, Submission)]
            if configs:
                outcomes = submit.submit_together(self._workspace, check, [wanted for wanted, _ in configs])
                for (_, future), outcome in zip(configs, outcomes, strict=True):
                    future.set_result(outcome)
            named = {wanted: future for wanted, future in batch if isinstance(wanted, str)}
            if named:
                self._queue_files(named)
            for wanted, future in batch:
                if not future.done() and isinstance(wanted, str):  # the same name twice
                    future.set_result(named[wanted].result())
        except Exception as error:  # noqa: BLE001  # whatever it is, those who wait must know
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)

    def _queue_files(self, named: dict[str, Future[Queued | OrchestrationError]]) -> None:
        report = ready(self._workspace, list(named))
        found: dict[str, Queued | OrchestrationError] = {
            name: ConfigRefusedError(problems) for name, problems in report.refused.items()
        }
        found |= {queued.file: queued for queued in report.queued}
        for name, future in named.items():
            notes = [note for note in report.notes if note.startswith(name)]
            missing = WorkspaceError(notes[0] if notes else f"{name} was not queued", "See its status")
            future.set_result(found.get(name, missing))
