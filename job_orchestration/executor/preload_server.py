"""A fork server's side of `preload`: load what a run wants, with its output in the log of that run."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.code import task_importer
from job_orchestration.diagnostics import secrets
from job_orchestration.diagnostics.errors import PermanentError, TemporaryError
from job_orchestration.executor import (
    child_setup,
    preloading,
    process_exit,
    process_state,
    task_runner,
    thread_pools,
    tracebacks,
    unseeded_generators,
)
from job_orchestration.executor.out_of_memory import is_lack_of_memory
from job_orchestration.executor.preloading import PreloadError
from job_orchestration.processes import reaper
from job_orchestration.runs.events import Outcome
from job_orchestration.workspace import durable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from job_orchestration.executor.messages import Message
    from job_orchestration.executor.preloading import Loaded, Wanted

_OUTPUT: Final = (1, 2)


def request_of(tasks: Sequence[tuple[str, str, dict[str, Any]]], log: str, mark: str) -> Message:
    """Return the message of a worker that asks for what a run wants.

    Args:
        tasks: id, method and config of the tasks that have no checkpoint, the current one first.
        log: the log of the run.
        mark: the value of `reaper.MARK` for processes that `preload` starts.
    """
    return {"tasks": tasks, "log": log, "mark": mark, "worker": os.getpid()}


def answer(request: Message) -> Message:
    """Load what a run wants, as far as it is not there yet.

    Returns:
        The event ``preloaded`` with ``figures``, task to the seconds and megabytes that it has cost, and
        ``loaded``, method to the keys that decide it;
        ``occupied`` if something else of one of the classes is held, and nothing was loaded;
        ``preload_failed`` if the `preload` of the current task has raised an exception. Those of later tasks
        are called again in the process of the run, when it comes to them.
    """
    current = request["tasks"][0][0]
    wanted = [want for task in request["tasks"] if (want := _wanted(*task)) is not None]
    if preloading.is_occupied(wanted):
        return {"event": "occupied"}
    figures: dict[str, list[float]] = {}
    if any(not preloading.is_held(want) for want in wanted):
        own = os.getpid()
        with _output_in(request["log"]), _bound_to(request["worker"]):
            for want in wanted:
                loaded = None
                try:
                    loaded = _load(want, request["mark"])
                except PreloadError as error:
                    process_exit.end_if_fork(own, error.__cause__)
                    if want.task == current and error.__cause__ is not None:
                        return _failure(want, error.__cause__)
                process_exit.end_if_fork(own)
                if loaded is not None:
                    figures[want.task] = [loaded.seconds, loaded.megabytes]
        process_exit.note_imports(shared=True)
        gc.collect()
        gc.freeze()  # as after the imports
    return {
        "event": "preloaded",
        "figures": figures,
        "loaded": {want.method: dict(want.values) for want in wanted},
        "threads": task_importer.thread_count(),
    }


def _wanted(task: str, method: str, values: dict[str, Any]) -> Wanted | None:
    try:
        return preloading.wanted(task, method, values)
    except LookupError:
        return None  # the task itself will say so


def _load(want: Wanted, mark: str) -> Loaded | None:
    """Load with the process as the imports left it, and leave it so."""
    if preloading.is_held(want):
        return None
    child_setup.log_line(f"Preloading for task with id: {want.task}")
    here = os.getcwd()
    state = process_state.RunState(tuple(os.environb), here, lambda: os.chdir(here))
    os.environ[reaper.MARK] = mark  # so that the next claim of the run finds what it leaves if it is killed
    try:
        with thread_pools.one_thread(), unseeded_generators.recorded():
            loaded = preloading.load(want)
    finally:
        state.put_back()
    if loaded is not None:
        child_setup.log_line(
            f"Preloaded for task with id: {want.task} ({loaded.seconds:.3f} s, {loaded.megabytes:g} MB)"
        )
    return loaded


def _failure(want: Wanted, error: BaseException) -> Message:
    known = secrets.values_in(os.environ) | secrets.values_in(want.values)
    child_setup.write_to_log(secrets.masked(tracebacks.text_of(error), known))
    what = f"preload: {task_runner.describe(error, known)}"
    return {
        "event": "preload_failed",
        "error": what,
        "outcome": Outcome.OOM if is_lack_of_memory(error) else Outcome.ERROR,
        "permanent": isinstance(error, PermanentError),
        "delay": error.delay if isinstance(error, TemporaryError) else None,
    }


@contextlib.contextmanager
def _bound_to(worker: int) -> Iterator[None]:
    """Die with the worker: while a `preload` is at work, the socket is not looked at."""
    reaper.die_with_parent(worker)
    try:
        yield
    finally:
        reaper.outlive_parent()


@contextlib.contextmanager
def _output_in(log: str) -> Iterator[None]:
    """Have what is printed appended to a log, if it can be opened."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        file = durable.open_log(log)
    except OSError:
        yield
        return
    kept = [os.dup(number) for number in _OUTPUT]
    try:
        for number in _OUTPUT:
            os.dup2(file, number)
        yield
    finally:
        with contextlib.suppress(Exception):  # of a stream that `preload` has replaced
            sys.stdout.flush()
            sys.stderr.flush()
        for number, copy in zip(_OUTPUT, kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
        os.close(file)
