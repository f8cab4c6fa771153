"""Test one task class in a unit test: `run` executes it in the process of the test.

It is imported as ``from job_orchestration import testing``. As with `debug`, `validate` is asked first,
`self.context` is there, random numbers start from the seed, and the result is what a run would keep. There is
no workspace, no commit and no journal. Afterwards the working directory and the environment are as before.
"""

from __future__ import annotations

import inspect
import os
import shutil
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config.config import TaskSpec
from job_orchestration.diagnostics.errors import ConfigRefusedError, UsageError
from job_orchestration.diagnostics.problems import Problem
from job_orchestration.executor import task_call, task_validation
from job_orchestration.executor.foreground import ForegroundRun
from job_orchestration.runs import kept_values
from job_orchestration.runs.events import Outcome
from job_orchestration.runs.state import TaskState, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.config.config import Json
    from job_orchestration.TaskBase import TaskBase

_FILE: Final = "Tasks.py"


@dataclass(frozen=True, slots=True, weakref_slot=True)
class TaskResult:
    """What a task did: what `run` returned, and the files that it made."""

    value: Json
    """What `run` returned, as the checkpoint of a run would keep it."""
    folder: Path
    """The task's ``outputDir``, a temporary folder that is removed when this object is no longer used."""
    store: Path | None
    """The folder of the files that it saved through ``self.context.store``; `None` if it saved none."""
    files: tuple[str, ...]
    """All files that it made, relative to `folder`, sorted."""
    warnings: tuple[str, ...]
    """Warnings of `validate`, and one about parts of the value that are not kept."""
    progress: tuple[float, float]
    """What was done and the whole, as it last reported; the whole is 0 if it was not given."""
    metrics: tuple[tuple[float, float], ...]
    """The steps and metrics that it reported with ``progress(step, metric=…)``."""


def run(
    task: type[TaskBase],
    config: Mapping[str, Any] | None = None,
    *,
    earlier: Mapping[str, Any] | None = None,
    seed: int = 0,
    should_stop: bool = False,
    code: str | os.PathLike[str] | None = None,
) -> TaskResult:
    """Run one task, and return what it did.

    Args:
        task: its class.
        config: the keys of the config and the task's own, such as ``{"epochs": 3}``. With ``id`` the task has
            that id, otherwise the name of the class in lower case. ``outputDir`` is a temporary folder.
        earlier: the tasks that have finished before, by id: each is a `TaskResult`, or what it returned.
        seed: where random numbers start.
        should_stop: what ``self.context.should_stop`` says.
        code: the folder of ``Tasks.py``; the task stands in a folder that shows its work tree, as in a run.
            Default: the folder of the class's module if that is ``Tasks.py``, else the task stands in an
            empty folder.

    Raises:
        ConfigRefusedError: `validate` refuses the config, or the class cannot be run as a task.
        UsageError: the config has a value that no YAML file can have.
        BaseException: whatever the task raises.
    """
    values, phrases = kept_values.kept(dict(config or {}), "config", None)
    if phrases or not isinstance(values, dict):
        raise UsageError(kept_values.sentence_of(phrases, "give what a YAML file could say in place of {}"))
    spec = TaskSpec(str(values.get("id", task.__name__.lower())), task.__name__, values)
    if fault := task_call.fault_of(task):
        raise ConfigRefusedError([Problem(task.__name__, fault)])
    warnings: list[str] = []
    stood, variables = os.getcwd(), dict(os.environ)
    try:
        with _ClassRun(task.__name__, seed, {}, _folder_of(task, code), _states_of(earlier or {})) as process:
            process.kind = task
            if should_stop:
                process.shared_page.stop = Outcome.CANCELLED
            _refuse_if_invalid(process, spec, warnings)
            value = process.run(spec, warnings.append)
            return process.result_of(spec.id, value, warnings)
    finally:
        os.chdir(stood)
        os.environ.clear()
        os.environ.update(variables)


@dataclass(slots=True)
class _ClassRun(ForegroundRun):
    """Runs a class that is given, in place of one that is found by its name."""

    kind: type[Any] = object
    metrics: list[tuple[float, float]] = field(default_factory=list)
    is_returned: bool = False

    def __exit__(self, *error: object) -> None:
        ForegroundRun.__exit__(self, *error)
        self.shared_page.close()
        if self.is_returned:
            os.makedirs(self.folder, exist_ok=True)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def kind_of(self, spec: TaskSpec) -> type[Any]:  # noqa: ARG002  # there is only one
        """Return the class, whatever it is called."""
        return self.kind

    def report(self, step: float, metric: float) -> None:
        """Keep a metric."""
        self.metrics.append((step, metric))

    def result_of(self, task_id: str, value: Json, warnings: list[str]) -> TaskResult:
        """Return what a task that has finished did; the folder is removed with it."""
        store = self.done[task_id].folder
        found = TaskResult(
            value,
            Path(self.folder),
            Path(self.folder, store) if store else None,
            tuple(self.files()),
            tuple(warnings),
            self.shared_page.progress,
            tuple(self.metrics),
        )
        weakref.finalize(found, shutil.rmtree, self.folder, ignore_errors=True)
        self.is_returned = True
        return found


def _refuse_if_invalid(process: _ClassRun, spec: TaskSpec, warnings: list[str]) -> None:
    """Ask the `validate` of a task in the folder in which it runs.

    Raises:
        ConfigRefusedError: it refuses the config.
    """
    process.enter()
    sentences = process.validate(spec, warnings.append)
    if sentences:
        keys = [task_validation.key_in(sentence, spec.parameters) for sentence in sentences]
        found = zip(sentences, keys, strict=True)
        raise ConfigRefusedError(Problem(spec.method, sentence, key=key) for sentence, key in found)


def _folder_of(task: type[TaskBase], code: str | os.PathLike[str] | None) -> str | None:
    if code is not None:
        return os.path.abspath(code)
    try:
        path = os.path.abspath(inspect.getfile(task))
    except (TypeError, OSError):  # a class of an interactive session
        return None
    return os.path.dirname(path) if os.path.basename(path) == _FILE else None


def _states_of(earlier: Mapping[str, Any]) -> dict[str, TaskState]:
    states = {}
    for task_id, found in earlier.items():
        if isinstance(found, TaskResult):
            value, folder = found.value, str(found.store) if found.store else None
        else:
            value, folder = kept_values.kept(found)[0], None
        states[task_id] = TaskState(task_id, "", TaskStatus.FINISHED, result=value, folder=folder)
    return states
