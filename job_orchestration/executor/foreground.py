"""Run tasks of one config in this process, for a debugger: `breakpoint()` and `input()` have the terminal.

The code is what stands in the folder of ``Tasks.py`` now. Nothing is queued, and no journal is written. Files
that the tasks make lie in a temporary folder: what they save, and what they write by relative names, since
they stand in a working folder as those of a run do, with links into the work tree.
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
from job_orchestration.code.tasks_file import has_tasks_file
from job_orchestration.config import elements
from job_orchestration.diagnostics.plurals import counted
from job_orchestration.executor import (
    child_setup,
    log_setup,
    mapped_tasks,
    preloading,
    shared_memory,
    task_call,
    task_validation,
)
from job_orchestration.executor.shared_memory import SharedPage
from job_orchestration.executor.task_context import TaskContext
from job_orchestration.runs import kept_values, working_folder
from job_orchestration.runs.state import TaskState, TaskStatus
from job_orchestration.runs.working_folder import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from job_orchestration.config.config import Json, TaskSpec

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
    _view: View = field(default_factory=View)

    def __enter__(self) -> Self:
        self.folder = tempfile.mkdtemp(prefix="job_orchestration_debug_")
        if self.code is not None:
            top = _top_of(self.code)
            self._view = working_folder.view_of(top, os.path.relpath(self.code, top), _NOT_LINKED)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the links and empty folders."""
        os.chdir("/")
        for path in self._links():
            with suppress(OSError):
                os.unlink(path)
        for found in os.walk(self.folder, topdown=False):
            with suppress(OSError):
                os.rmdir(found[0])

    def enter(self) -> None:
        """Change into the folder in which the tasks stand, and make it if it is not there."""
        self._view.enter(working_folder.of_run(self.folder))

    def _links(self) -> set[str]:
        """Return the paths of the links into the work tree, as far as no task replaced them."""
        base = working_folder.of_run(self.folder)
        paths = ((os.path.join(base, name), target) for name, target in self._view.links)
        return {path for path, target in paths if os.path.islink(path) and os.readlink(path) == target}

    def load(self, specs: Iterable[TaskSpec]) -> None:
        """Import the code of some tasks.

        Raises:
            BaseException: whatever the imports raise.
        """
        methods = [spec.method for spec in specs]
        sys.argv = ["Tasks.py"]
        sys.dont_write_bytecode = True  # a folder `__pycache__` is no change that a debugger may make
        log_setup.adopt_basic_config()
        self.enter()
        if self.code is not None:
            sys.path.insert(0, self.code)
            if has_tasks_file(self.code) or not methods:
                importlib.import_module("Tasks")
        for module in task_importer.modules_named(methods):
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
        kind, values = self.kind_of(spec), self.values_of(spec)
        sentences = task_validation.sentences_about(kind, values, spec.parameters)
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
        self.enter()
        child_setup.seed_all(self.seed)
        state = TaskState(spec.id, spec.method, TaskStatus.FINISHED)
        context = TaskContext(self, state, 1)
        if spec.is_mapped:
            made = self._made_for_first_element(spec, context, warn)
        else:
            made = self.kind_of(spec)(self.values_of(spec))
        made.context = context
        made.context.preloaded, _ = preloading.value_of(spec.id, type(made), self.values_of(spec))
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

    def kind_of(self, spec: TaskSpec) -> type[Any]:
        """Return the class of a task.

        Raises:
            LookupError: if there is no such class.
        """
        return task_importer.resolve(spec.method)

    def values_of(self, spec: TaskSpec) -> dict[str, Any]:
        """Return what the constructor of a task gets: a copy of its own."""
        copy: dict[str, Any] = kept_values.copy_of(
            {**spec.merged_with(self.values), "outputDir": self.folder}
        )
        return copy

    def _made_for_first_element(
        self, spec: TaskSpec, context: TaskContext, warn: Callable[[str], None]
    ) -> Any:
        found = mapped_tasks.elements_of(elements.given(spec.parameters), context)
        if not found:
            raise ValueError("foreach: there are no elements")
        warn(f"only the first of {counted(len(found), 'element')} is run here")
        kind, values = self.kind_of(spec), elements.without(self.values_of(spec))
        return kind(elements.values_for(values, found[0], 0, spread=not getattr(kind, "is_function", False)))

    def finished(self, task_id: str) -> TaskState:
        """Return a task that has finished here, or in the run that results are taken from."""
        if task_id not in self.done:
            raise KeyError(f"no finished task {task_id} here (finished: {', '.join(self.done) or 'none'})")
        return self.done[task_id]

    def report(self, step: float, metric: float) -> None:
        """Ignore the metric: this is no trial of a search."""

    def files(self) -> list[str]:
        """Return the files that the tasks made, relative to the folder, sorted."""
        ours = self._links()
        found = []
        for folder, folders, names in os.walk(self.folder):
            for name in (*names, *folders):
                path = os.path.join(folder, name)
                if path not in ours and (os.path.islink(path) or not os.path.isdir(path)):
                    found.append(os.path.relpath(path, self.folder))
        return sorted(found)


def _top_of(folder: str) -> str:
    """Return the top folder of the work tree around a folder; the folder itself if it is in none."""
    above = folder
    while not os.path.lexists(os.path.join(above, ".git")):
        if os.path.dirname(above) == above:
            return folder
        above = os.path.dirname(above)
    return above
