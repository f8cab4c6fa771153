"""What a task is: a class with a constructor, `run` and, if it likes, `validate`.

The module's name is the one that the first Job Orchestration gave it, so that its users' code goes on
working: ``from job_orchestration.TaskBase import TaskBase``. New code imports it from the package.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import logging
    from collections.abc import Sequence
    from pathlib import Path

    from job_orchestration.config.config import Json


class Store(Protocol):
    """A task's own files. They appear in the run's folder, all at once, when the task has finished."""

    @property
    def folder(self) -> Path:
        """Where the files are gathered until the task finishes; anything may be written into it."""

    def path(self, name: str) -> Path:
        """The path of a file inside `folder`, its parents made: for libraries that want a file name."""

    def save_json(self, name: str, value: Json) -> Path:
        """Save a value as strict JSON."""

    def save_text(self, name: str, text: str) -> Path:
        """Save text as UTF-8."""

    def save_bytes(self, name: str, data: bytes) -> Path:
        """Save bytes as they are."""


class Context(Protocol):
    """What a running task may know and use of the run it belongs to."""

    run: str
    """The run's name: its output folder, relative to ``Output/``."""
    attempt: int
    """Which attempt at the run this is, from 1."""
    seed: int
    """The run's seed; ``random``, NumPy and PyTorch have been seeded with it."""

    @property
    def log(self) -> logging.Logger:
        """Goes to the run's ``log.log``, like everything that is printed."""

    @property
    def store(self) -> Store:
        """This task's own files, committed atomically at its end."""

    @property
    def resume_dir(self) -> Path:
        """A folder of this task that survives attempts: for its own mid-way checkpoints."""

    @property
    def should_stop(self) -> bool:
        """Whether the run was asked to end soon: save what is needed to go on, and return or raise."""

    def progress(self, done: float, total: float | None = None, *, metric: float | None = None) -> None:
        """Say how far the task is; shown live, and what the time left is reckoned from.

        A search that prunes looks at the `metric`, and may end the trial here by raising `PrunedError`.
        """

    def result_of(self, task_id: str) -> Json:
        """What an earlier task of this run returned."""

    def folder_of(self, task_id: str) -> Path:
        """The folder of what an earlier task of this run saved through its store."""


class TaskBase(ABC):
    """One step of an experiment. Derive from it in ``Tasks.py`` and name the class as a ``method``."""

    context: Context
    """Set before `run` is called; not there in the constructor and in `validate`."""

    config: dict[str, Any]
    """All keys of the config, overlaid by the task's own; ``outputDir`` is absolute."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Keep the config. A class that has more to prepare overrides this."""
        self.config = config

    def validate(self) -> Sequence[str | Warning]:
        """Say what is wrong with the config, a sentence each; called before anything is queued.

        A sentence that begins with a key of the config and a colon is shown at the line of that key. A
        `UserWarning` in the list is shown as a warning, and the config is queued.
        """
        return []

    @abstractmethod
    def run(self) -> Any:
        """Do the work. What is returned must be sayable in JSON and is kept in the checkpoint."""
