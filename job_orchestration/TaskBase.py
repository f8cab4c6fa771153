"""What a task is: a class with a constructor, `run` and, if it likes, `validate`.

The module's name is the one that the first Job Orchestration gave it, so that its users' code goes on
working: ``from job_orchestration.TaskBase import TaskBase``. New code imports it from the package.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import logging
    from collections.abc import Sequence
    from pathlib import Path

    from job_orchestration.config.config import Json


class NotApplicable(str):
    """A sentence of `validate`: this combination of parameters does not exist, though nothing is wrong.

    A config by itself is refused with it. A trial of a sweep is left out, and the others are queued.
    """

    __slots__ = ()


class Store(Protocol):
    """The files of a task: `self.context.store`.

    They appear together in the run's folder when the task has finished, in ``Output/RUN/TASK/``. Files of a
    try that failed are deleted.
    """

    @property
    def folder(self) -> Path:
        """The folder in which the files wait until the task finishes; made on first use.

        Any file may be written into it.
        """

    def path(self, name: str) -> Path:
        """Return the path of a file in `folder`, for libraries that want a file name.

        The folders above the file are made, the file is not.

        Args:
            name: a relative path, such as ``"plots/curve.svg"``.

        Raises:
            ValueError: the name leads out of the folder.
        """

    def save_json(self, name: str, value: object) -> Path:
        """Save a value as JSON, and return the path; `Context.load_json` reads it back.

        What is kept, and as what, is the same as for return values, without a limit of size. What cannot be
        kept becomes a short description, and a warning in the log names its place.

        Args:
            name: a relative path, such as ``"figures.json"``.
            value: what JSON can say, NumPy, pandas, dates, paths, sets, dataclasses, …

        Raises:
            ValueError: the name leads out of the folder.
            OSError: the file cannot be written.
        """

    def save_text(self, name: str, text: str) -> Path:
        """Save text as UTF-8, and return the path.

        Args:
            name: a relative path.
            text: the content; line ends stay as they are.

        Raises:
            ValueError: the name leads out of the folder.
            OSError: the file cannot be written.
        """

    def save_bytes(self, name: str, data: bytes) -> Path:
        """Save bytes, and return the path.

        Args:
            name: a relative path.
            data: the content.

        Raises:
            ValueError: the name leads out of the folder.
            OSError: the file cannot be written.
        """


class Context(Protocol):
    """What a running task can use of its run: `self.context`.

    It is there while `run` runs, not in the constructor and not in `validate`.
    """

    run: str
    """The run's name: its output folder, relative to ``Output/``."""
    preloaded: Any
    """What the ``preload`` of the task's class returned; `None` if it has none. Runs share it: do not change
    it."""
    attempt: int
    """Number of the attempt, from 1: one more each time that a worker or ``retry`` takes the run up."""
    seed: int
    """The run's seed, from 0 to 4294967295; ``random``, NumPy and PyTorch have been seeded with it."""

    @property
    def log(self) -> logging.Logger:
        """A logger named like the task. It writes into the run's ``log.log``, as ``print`` does."""

    @property
    def store(self) -> Store:
        """The task's own files; see `Store`."""

    @property
    def resume_dir(self) -> Path:
        """A folder of this task that stays through failures, kills and retries, for checkpoints of its own.

        It is made on first use. ``retry --fresh`` begins with an empty one, and ``gc`` takes it when the
        run has completed.
        """

    @property
    def should_stop(self) -> bool:
        """Whether the run was asked to stop (SIGTERM, Ctrl-C, ``cancel``, a timeout or a walltime).

        Save what is needed to continue, and raise, within ``graceTime`` (30 s), after a ``cancel`` or a
        timeout within 3 s; then the process is killed. A task that returns has finished.
        """

    def progress(self, done: float, total: float | None = None, *, metric: float | None = None) -> None:
        """Report how far the task is, for the live view and the time left. It costs a microsecond.

        Args:
            done: what is done, in any unit: steps, files, bytes. Of NaN or an infinity nothing is reported.
            total: the whole, in the same unit; `None` if it is not known.
            metric: the value of the search's metric at the step ``done``. Only trials of a search with
                ``prune`` use it; they write it into a file.

        Raises:
            PrunedError: the search ends this trial here; let it pass through.
        """

    def result_of(self, task_id: str) -> Json:
        """Return what an earlier task of this run returned, as it was kept; a copy of the task's own.

        Args:
            task_id: the ``id`` of the task in the config.

        Raises:
            KeyError: there is no such task, or it has not finished.
        """

    def load_json(self, task_id: str, name: str) -> Json:
        """Return a value that an earlier task of this run saved with ``store.save_json``.

        Args:
            task_id: the ``id`` of the task in the config.
            name: the name that it gave.

        Raises:
            KeyError: there is no such task, it has not finished, or it saved nothing.
            OSError: there is no such file, or it cannot be read.
            ValueError: the file is no JSON.
        """

    def folder_of(self, task_id: str) -> Path:
        """Return the folder of the files that an earlier task of this run saved through its store.

        Args:
            task_id: the ``id`` of the task in the config.

        Raises:
            KeyError: there is no such task, it has not finished, or it saved nothing.
        """


class TaskBase(ABC):
    """One step of an experiment. Derive from it in ``Tasks.py`` and name the class as a ``method``."""

    context: Context
    """The run's side of the task; see `Context`. Not there in the constructor and in `validate`."""

    reusable: bool = True
    """Whether a run with ``reuse`` may take a checkpoint of this task from an earlier run.

    Set it to False in a class that depends on what cannot be compared, such as the time or an answer from a
    network.
    """

    volatile: tuple[str, ...] = ()
    """What is another each time although the results are the same, which ``rerun --verify`` leaves out.

    A glob of names in the task's store, such as ``*.log``; or of places in a file or in what `run` returns,
    such as ``run.json: seconds.*`` and ``result: seconds``.
    """

    config: dict[str, Any]
    """All keys of the config, overridden by the task's own; ``outputDir`` is an absolute path."""

    preload_keys: ClassVar[tuple[str, ...]] = ()
    """The keys of the config that decide what ``preload`` returns; it gets these and no others.

    A class may have a classmethod ``preload(cls, config)``. It is called once for all runs of a worker that
    have the same values in these keys, before their processes are forked, and each of them finds what it
    returned as ``self.context.preloaded``.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        """Keep the config as ``self.config``. A class that has more to prepare overrides this.

        Args:
            config: a copy for this task alone; it may be changed.
        """
        self.config = config

    def validate(self) -> Sequence[str | Warning]:
        """Return what is wrong with the config, a sentence each; called before a run is queued.

        A sentence that begins with a key of the config and a colon is shown at the line of that key. A
        ``UserWarning`` in the list is shown as a warning, and the config is queued. With a `NotApplicable`, a
        trial of a sweep is left out, and the others are queued.
        """
        return []

    @abstractmethod
    def run(self) -> Any:
        """Do the work. What it returns is kept in the checkpoint of the task."""
