"""Run tasks of one config in this process, for a debugger: `breakpoint()` and `input()` have the terminal.

The code is what stands in the folder of ``Tasks.py`` now. Nothing is queued, and no journal is written. Files
that the tasks make lie in a temporary folder: what they save, and what they write by relative names, since
they stand in a folder with links to the entries of the folder of ``Tasks.py``.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from job_orchestration.code import task_importer
from job_orchestration.executor import (
    child_setup,
    log_setup,
    shared_memory,
    task_call,
    task_validation,
)
from job_orchestration.executor.shared_memory import SharedPage
from job_orchestration.executor.task_runner import TaskContext
from job_orchestration.runs import kept_values
from job_orchestration.runs.state import TaskState, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from job_orchestration.config.config import Json, TaskSpec

_DESK: Final = "working_directory"
_NOT_LINKED: Final = frozenset({".git", "__pycache__"})


@dataclass(slots=True)
class ForegroundRun:
    """The tasks of one config, in this process."""

    run_name: str
    seed: int
    values: Mapping[str, Json]
    """The config, without `outputDir`."""
    code: str | None
    """The folder of ``Tasks.py``; `None` if all tasks are importable in the environment."""
    done: dict[str, TaskState] = field(default_factory=dict)
    """The tasks that have finished, by id: of another run, with absolute folders, or here."""
    folder: str = ""
    number: int = 1
    shared_page: SharedPage = field(default_factory=lambda: SharedPage(shared_memory.create()))

    def __enter__(self) -> Self:
        self.folder = tempfile.mkdtemp(prefix="job_orchestration_debug_")
        self._link()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the links and empty folders."""
        os.chdir("/")
        for name in os.listdir(self.desk):
            with suppress(OSError):
                path = os.path.join(self.desk, name)
                if os.path.islink(path):
                    os.unlink(path)
        for found in os.walk(self.folder, topdown=False):
            with suppress(OSError):
                os.rmdir(found[0])

    @property
    def desk(self) -> str:
        """The folder in which the tasks stand."""
        return os.path.join(self.folder, _DESK)

    def load(self, specs: Iterable[TaskSpec]) -> None:
        """Import the code of some tasks.

        Raises:
            BaseException: whatever the imports raise.
        """
        sys.argv = ["Tasks.py"]
        sys.dont_write_bytecode = True  # a folder `__pycache__` is no change that a debugger may make
        log_setup.adopt_basic_config()
        os.chdir(self.desk)
        if self.code is not None:
            sys.path.insert(0, self.code)
            importlib.import_module("Tasks")
        for module in task_importer.modules_named(spec.method for spec in specs):
            importlib.import_module(module)
        log_setup.add_handler()
        if logging.root.level == logging.WARNING:
            logging.root.setLevel(logging.INFO)

    def validate(self, spec: TaskSpec, warn: Callable[[str], None]) -> list[str]:
        """Return what the `validate` of a task says; `warn` is called with its warnings.

        Raises:
            LookupError: if there is no such class.
            BaseException: whatever the task raises.
        """
        sentences = task_validation.sentences_of(self._made(spec))
        for sentence in sentences:
            if isinstance(sentence, Warning):
                warn(str(sentence))
        return [str(sentence) for sentence in sentences if not isinstance(sentence, Warning)]

    def run(self, spec: TaskSpec, warn: Callable[[str], None]) -> Json:
        """Run one task; return its result as it would be kept.

        Raises:
            LookupError: if there is no such class.
            BaseException: whatever the task raises.
        """
        os.chdir(self.desk)
        child_setup.seed_all(self.seed)
        state = TaskState(spec.id, spec.method, TaskStatus.FINISHED)
        made = self._made(spec)
        made.context = TaskContext(self, state, 1)
        try:
            value = task_call.result_of(made.run)
        except SystemExit as exit_:
            if task_call.is_failure(exit_):
                raise
            value = None
        folder, outputs = made.context.store.commit()
        kept, phrases = kept_values.kept(value)
        if phrases:
            warn(kept_values.sentence_of(phrases))
        self.done[spec.id] = TaskState(
            spec.id, spec.method, TaskStatus.FINISHED, result=kept, folder=folder, outputs=outputs
        )
        return kept

    def _made(self, spec: TaskSpec) -> Any:
        values = kept_values.copy_of({**spec.merged_with(self.values), "outputDir": self.folder})
        return task_importer.resolve(spec.method)(values)

    def finished(self, task_id: str) -> TaskState:
        """Return a task that has finished here, or in the run that results are taken from."""
        if task_id not in self.done:
            raise KeyError(f"no finished task {task_id} here (finished: {', '.join(self.done) or 'none'})")
        return self.done[task_id]

    def report(self, step: float, metric: float) -> None:
        """Ignore the metric: this is no trial of a search."""

    def files(self) -> list[str]:
        """Return the files that the tasks made, relative to the folder, sorted."""
        found = []
        for folder, folders, names in os.walk(self.folder):
            for name in (*names, *folders):
                path = os.path.join(folder, name)
                if not (os.path.isdir(path) or (folder == self.desk and os.path.islink(path))):
                    found.append(os.path.relpath(path, self.folder))
        return sorted(found)

    def _link(self) -> None:
        os.mkdir(self.desk)
        for name in os.listdir(self.code) if self.code is not None else ():
            if name not in _NOT_LINKED:
                os.symlink(os.path.join(str(self.code), name), os.path.join(self.desk, name))
