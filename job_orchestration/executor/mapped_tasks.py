"""A mapped task (`foreach`): run it for each element in processes of its own, with a checkpoint for each.

The checkpoints are the lines of ``results.ndjson`` and ``errors.ndjson`` in the task's resume folder. An
element with a line never runs again in its run, so an attempt that goes on after a kill goes on in the
middle. Lines are written at once and synced together. At the end both files are put into the store of the
task, sorted by the number of the element.

An element runs in a process that is forked from the task's own. Such a process runs one element after
another; if it dies, that is the error of its element, and another process takes its place.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from job_orchestration.config import elements, json_floats
from job_orchestration.diagnostics import secrets
from job_orchestration.diagnostics.plurals import counted
from job_orchestration.executor import (
    element_checkpoints,
    element_process,
    task_call,
    thread_pools,
    tracebacks,
    unseeded_generators,
)
from job_orchestration.executor.child_setup import seed_all
from job_orchestration.executor.element_checkpoints import ERRORS, RESULTS
from job_orchestration.executor.task_context import TaskContext
from job_orchestration.runs import kept_values
from job_orchestration.workspace import safe_reads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from job_orchestration.config.config import Json, TaskSpec
    from job_orchestration.executor.element_checkpoints import Checkpoints
    from job_orchestration.executor.element_process import Caller, ElementProcess
    from job_orchestration.executor.messages import FinishedTask, TaskStart
    from job_orchestration.executor.shared_memory import SharedPage

_LOOK_EVERY: Final = 0.5
"""Seconds between two looks whether the run was asked to stop."""
_MOST_LOGGED: Final = 20
"""Errors of elements that stand in the log; all of them stand in their file."""

log = logging.getLogger("job_orchestration")


class StoppedError(Exception):
    """The run was asked to stop before each element had ended."""


class NoResultError(Exception):
    """Not one element has a result."""


class Runner(Protocol):
    """The run whose tasks are executed in this process."""

    run_name: str
    number: int
    seed: int
    folder: str
    shared_page: SharedPage
    values: dict[str, Json]

    def finished(self, task_id: str) -> FinishedTask:
        """Return a task that has finished, or raise `KeyError`."""

    def report(self, step: float, metric: float) -> None:
        """Report the metric of a task."""


class Mapped(NamedTuple):
    """A task that is to run for each element."""

    spec: TaskSpec
    start: TaskStart
    kind: type[Any]
    config: Mapping[str, Json]
    context: TaskContext


class ElementContext(TaskContext):
    """`self.context` of one element.

    Args:
        run: the run.
        mapped: the task.
        index: the number of the element.
        seed: of its random numbers.
    """

    def __init__(self, run: Runner, mapped: Mapped, index: int, seed: int) -> None:
        super().__init__(run, mapped.start, 0)
        self.store = _NoStore()  # type: ignore[assignment]  # it says so to its users
        self.seed = seed
        self.preloaded = mapped.context.preloaded
        self._index = index

    @property
    def resume_dir(self) -> Path:
        """A folder of this element that survives attempts."""
        path = super().resume_dir / str(self._index)
        path.mkdir(exist_ok=True)
        return path

    def progress(self, done: float, total: float | None = None, *, metric: float | None = None) -> None:
        """Do nothing: the progress of the task is the number of elements that have ended."""


class _NoStore:
    """What stands in the place of a store."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            "an element has no store: return its values, which are kept in results.ndjson, and write files"
            " below self.config['outputDir']"
        )


def run(runner: Runner, mapped: Mapped, describe: Callable[[BaseException, frozenset[str]], str]) -> Json:
    """Run a mapped task; return how many elements have a result, and how many an error.

    Args:
        runner: the run.
        mapped: the task.
        describe: makes an exception one line, without the secrets that it is given.

    Raises:
        StoppedError: the run was asked to stop.
        NoResultError: not one element has a result.
        ValueError: there are no elements where they are said to be.
        OSError: the disk refuses.
    """
    base = elements.without(mapped.config)
    spread = not getattr(mapped.kind, "is_function", False)
    known = secrets.values_in(os.environ) | secrets.values_in(runner.values)
    found = elements_of(elements.given(mapped.spec.parameters), mapped.context)

    def make(index: int) -> Any:
        seed = zlib.crc32(f"{runner.seed}:{index}".encode())
        seed_all(seed)
        unseeded_generators.reseed(seed)
        element = kept_values.copy_of(found[index])
        config = elements.values_for(kept_values.copy_of(base), element, index, spread=spread)
        made: Any = mapped.kind(config)
        made.context = ElementContext(runner, mapped, index, seed)
        return task_call.result_of(made.run)

    def described(error: BaseException) -> tuple[str, str]:
        return describe(error, known), secrets.masked(tracebacks.text_of(error), known)

    caller = element_process.Caller(found, make, described)
    return _Try(mapped.context, caller, _processes_of(mapped.spec)).run()


def elements_of(value: Json, context: TaskContext) -> Sequence[Json]:
    """Return the elements of a mapped task.

    Raises:
        ValueError: what an earlier task returned, or the file, has none.
        OSError: the file cannot be read.
    """
    source = elements.earlier_result(value)
    if source is not None:
        task, keys = source
        try:
            value = elements.inside(context.result_of(task), keys)
        except LookupError as error:
            raise ValueError(f"foreach: the result of {task} has no {error.args[0]}") from None
    elif isinstance(value, str):
        text = safe_reads.whole(os.path.realpath(os.path.expanduser(value))).decode()
        value = [json_floats.value_of(line) for line in text.splitlines() if line.strip()]
    found = elements.listed(value)
    if found is None:
        raise ValueError(f"foreach: a {type(value).__name__} is neither a list nor a number of elements")
    return found


def _processes_of(spec: TaskSpec) -> int:
    value = spec.parameters.get(elements.PARALLEL)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return thread_pools.usable_cpus() if value == "auto" else 1


class _Try:
    """One try of a mapped task.

    Args:
        context: of the task.
        caller: what runs an element.
        most: the most processes at a time.
    """

    def __init__(self, context: TaskContext, caller: Caller, most: int) -> None:
        self._context = context
        self._caller = caller
        self._most = most
        self._number = len(caller.elements)
        self._processes: list[ElementProcess] = []

    def run(self) -> Json:
        """Run each element that has no line yet."""
        checkpoints = element_checkpoints.opened(str(self._context.resume_dir), self._caller.elements)
        try:
            left = [index for index in range(self._number) if index not in checkpoints.done]
            if checkpoints.done:
                log.info("%s of %d ended before", counted(len(checkpoints.done), "element"), self._number)
            try:
                self._work(left, checkpoints)
            finally:
                checkpoints.sync()
            failed = checkpoints.failed
            if failed and failed == self._number:
                where = checkpoints.forget_errors()
                raise NoResultError(f"each of {counted(failed, 'element')} failed: see {where}")
        finally:
            checkpoints.close()
        if failed:
            log.warning("%s of %d failed: see %s", counted(failed, "element"), self._number, ERRORS)
        for name in (RESULTS, ERRORS):
            self._context.store.save_bytes(name, checkpoints.sorted_lines(name))
        return {"elements": self._number, "results": self._number - failed, "errors": failed}

    def _work(self, left: list[int], checkpoints: Checkpoints) -> None:
        number = min(self._most, len(left))
        left.reverse()
        try:
            for _ in range(number):
                self._start()
            while left or any(process.index is not None for process in self._processes):
                if self._context.should_stop:
                    left.clear()
                for process in self._processes:
                    if left and process.index is None:
                        process.give(left.pop())
                for process in element_process.with_answers(self._processes, _LOOK_EVERY):
                    self._take_answers(process, checkpoints)
                    if not process.is_alive:
                        self._replace(process, checkpoints, is_more=bool(left))
            if len(checkpoints.done) < self._number:
                raise StoppedError(f"stopped after {len(checkpoints.done)} of {self._number} elements")
        finally:
            for process in self._processes:
                process.end()
            self._processes.clear()

    def _start(self) -> None:
        self._processes.append(element_process.start(self._caller, self._processes))

    def _take_answers(self, process: ElementProcess, checkpoints: Checkpoints) -> None:
        for index, line, is_error in process.answers():
            self._keep(index, line, checkpoints, is_error=is_error)

    def _replace(self, process: ElementProcess, checkpoints: Checkpoints, *, is_more: bool) -> None:
        """Put another process in the place of one that has died, which is the error of its element."""
        index, how = process.index, process.end()
        self._processes.remove(process)
        if index is not None and not self._context.should_stop:
            line = element_process.line_of(index, self._caller.elements[index], error=how)
            self._keep(index, line, checkpoints, is_error=True)
        if is_more:
            self._start()

    def _keep(self, index: int, line: bytes, checkpoints: Checkpoints, *, is_error: bool) -> None:
        checkpoints.add(index, line, is_error=is_error)
        self._context.progress(len(checkpoints.done), self._number)
        if is_error and checkpoints.failed <= _MOST_LOGGED:
            log.warning("Element %d failed: %s", index, json.loads(line)["error"])
