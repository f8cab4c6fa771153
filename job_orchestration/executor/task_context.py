"""The interface of a running task to its run: `self.context`."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from job_orchestration.config import json_floats
from job_orchestration.runs import artifact_store, kept_values

if TYPE_CHECKING:
    from job_orchestration.config.config import Json
    from job_orchestration.executor.messages import FinishedTask, TaskStart
    from job_orchestration.executor.shared_memory import SharedPage
    from job_orchestration.runs.state import TaskState


class RunInProcess(Protocol):
    """A run whose tasks are executed in this process: what `TaskContext` needs of it."""

    run_name: str
    number: int
    seed: int
    folder: str
    shared_page: SharedPage

    def finished(self, task_id: str) -> TaskState | FinishedTask:
        """Return a task that has finished, or raise `KeyError`."""

    def report(self, step: float, metric: float) -> None:
        """Report the metric of a task."""


class TaskContext:
    """The interface of a running task to its run: `self.context`."""

    def __init__(self, attempt: RunInProcess, task: TaskState | TaskStart, number: int) -> None:
        self.run = attempt.run_name
        self.attempt = attempt.number
        self.seed = attempt.seed
        self.store = artifact_store.ArtifactStore(attempt.folder, task.id, f"{attempt.number}.{number}")
        self.preloaded: Any = None
        self._of = attempt
        self._id = task.id

    @property
    def log(self) -> logging.Logger:
        """A logger that writes into the run's log, like everything that is printed."""
        return logging.getLogger(self._id)

    @property
    def resume_dir(self) -> Path:
        """A folder of this task that survives attempts."""
        path = Path(self._of.folder, artifact_store.RESUME, self._id)
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def should_stop(self) -> bool:
        """Whether the run was asked to stop."""
        return self._of.shared_page.stop is not None

    def progress(self, done: float, total: float | None = None, *, metric: float | None = None) -> None:
        """Report the progress of the task: two numbers in shared memory, so call it as often as you like.

        With a metric it also writes a file, in a trial of a search that prunes.

        Raises:
            PrunedError: if the search ends this trial early.
        """
        numbers = float(done), float(total or 0)
        if all(map(math.isfinite, numbers)):
            self._of.shared_page.set_progress(*numbers)
            if metric is not None:
                self._of.report(numbers[0], float(metric))

    def result_of(self, task_id: str) -> Json:
        """Return the result of an earlier task of this run.

        Raises:
            KeyError: if there is no such task, or it has not finished.
        """
        copy: Json = kept_values.copy_of(self._of.finished(task_id).result)
        return copy

    def load_json(self, task_id: str, name: str) -> Json:
        """Return a value that an earlier task of this run saved with ``store.save_json``.

        Raises:
            KeyError: if there is no such task, it has not finished, or it saved nothing.
            OSError: the file cannot be read.
            ValueError: it is no JSON.
        """
        text = self.folder_of(task_id).joinpath(name).read_text("utf-8")
        found: Json = json_floats.value_of(text)
        return found

    def folder_of(self, task_id: str) -> Path:
        """Return the folder of the files that an earlier task of this run saved through its store.

        Raises:
            KeyError: if there is no such task, it has not finished, or it saved nothing.
        """
        folder = self._of.finished(task_id).folder
        if folder is None:
            raise KeyError(f"task {task_id} saved nothing through its store")
        return Path(self._of.folder, folder)
