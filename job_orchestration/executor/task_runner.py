"""Run the tasks of a run that have no checkpoint yet, in order, in a child; write the journal.

The child writes into the shared page how it ended; if it could not, the worker derives it from the journal
and the exit status. The checkpoint of a task is written in this order: commit the files of the task, check
that the run is still this worker's, append and sync `task_finished`. Only then does the next task start.
"""

from __future__ import annotations

import contextvars
import errno
import functools
import logging
import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.code import imported_files, task_importer
from job_orchestration.config.config import specs_of
from job_orchestration.diagnostics import secrets
from job_orchestration.diagnostics.errors import ClaimLostError, PermanentError, PrunedError, TemporaryError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.executor import (
    child_setup,
    exhaustion,
    messages,
    open_files,
    preloading,
    process_exit,
    process_state,
    task_call,
    thread_pools,
    tracebacks,
    unfinished_work,
    unseeded_generators,
    usage,
)
from job_orchestration.executor.child_setup import seed_all
from job_orchestration.executor.messages import FinishedTask, TaskStart
from job_orchestration.executor.out_of_memory import is_lack_of_memory, sentence_in_task
from job_orchestration.executor.own_journal import ForeignFileError, OwnJournal
from job_orchestration.executor.shared_memory import SharedPage, Verdict
from job_orchestration.executor.task_context import TaskContext
from job_orchestration.processes import reaper
from job_orchestration.runs import artifact_store, journal, kept_values, working_folder
from job_orchestration.runs.claims import still_ours
from job_orchestration.runs.events import (
    Cancelled,
    Event,
    Outcome,
    TaskFailed,
    TaskFinished,
    TaskStarted,
    Trial,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from job_orchestration.config.config import Json, TaskSpec
    from job_orchestration.executor.input_recorder import InputRecorder
    from job_orchestration.executor.messages import Message
    from job_orchestration.executor.reused_tasks import ReusedTasks
    from job_orchestration.executor.task_folder import TaskFolder
    from job_orchestration.search.pruning import MetricReporter

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of a task's writes that may be the disk's and not the task's; the worker finds out."""

_DONE, _FAILED = Verdict.DONE, Verdict.FAILED  # a member of an enum is looked up by a function of Python

_monotonic: Final = time.monotonic  # a task may replace that of the module
log = logging.getLogger("job_orchestration")


class TaskRunner:
    """Runs the tasks of one run in a child; the fork server makes it before the fork.

    Args:
        order: the worker's message.
        lock: the locked token.
        journal_file: the journal file of this attempt, open for appending.
        shared_page: shared with the fork server.
        folder: where the tasks stand.

    Raises:
        OSError: if the journal cannot be read.
    """

    def __init__(
        self, order: Message, lock: int, journal_file: int, shared_page: SharedPage, folder: TaskFolder
    ) -> None:
        self._task_folder = folder
        self.run_name: str = order["run"]
        self.folder: str = order["folder"]
        self.number: int = order["attempt"]
        self.token: str = order["token"]
        self._working_folder = working_folder.of_run(self.folder)
        self.lock = lock
        self.shared_page = shared_page
        path = journal.path_of(self.folder, self.number)
        self._writer = journal.Writer(journal_file, path, order["written"])
        self._record = OwnJournal(journal_file, self._writer)
        self._stall_timeout: float | None = order.get("stall_timeout")
        self._grace_time: float = order["grace_time"]
        self._max_attempts: int = order["max_attempts"]
        self._memory_limit: int | None = order.get("memory_limit")
        self._process = 0
        self._failing_task: str | None = None
        """The task whose own write met an error that may be the disk's."""
        self._open_files: int | None = None
        self._has_output = True
        """Whether the log can be written; if a task has closed it, the next task gets another process."""
        self._allocation: dict[str, str] = order["allocation"]
        self._cpus: int | None = order.get("cpus")
        variables = (*order["environment"], *self._allocation, thread_pools.COMMON)
        self._variables = tuple(map(os.fsencode, variables))
        start = order[messages.START]
        self.seed: int = start["seed"]
        self._commit: str | None = start["commit"]
        self._tasks = [TaskStart(*task) for task in start["tasks"]]
        self._finished = {name: FinishedTask(*task) for name, task in start["finished"].items()}
        self._trial: list[Any] | None = start["trial"]
        self._is_preloading = False
        self._preload_figures: dict[str, list[float]] = order.get("preloaded") or {}
        self._reporting: MetricReporter | None = None
        self._input_patterns: list[str] = order.get(messages.INPUTS) or []
        self._recorder: InputRecorder | None = None
        self._workspace: str | None = order.get(messages.REUSE)
        """Of a run with ``reuse``."""
        self._reused: ReusedTasks | None = None
        self._meter = usage.Meter()
        self._made_in = os.getpid()
        self.specs = specs_of(start["values"])
        self.values: dict[str, Json] = {**start["values"], "outputDir": self.folder}

    def run(self) -> int:
        """Continue the run; return the exit code: the errno if the disk ended it."""
        reaper.keep_from_forks(self.lock)
        if self._allocation:
            os.environ.update(self._allocation)  # not in the fork server: its next run has another one
        thread_pools.resize(self._cpus)
        self.begin()
        if self._stall_timeout:
            thread = threading.Thread(
                target=self.shared_page.keep_heartbeat, args=(self._stall_timeout,), daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:
                return end_exhausted(self.shared_page, error)
        try:
            self._task_folder.enter(self._working_folder)
            if self._input_patterns or self._workspace is not None:
                self._look_around()
            verdict = self.shared_page.verdict = self.go_on()
            if self._recorder is not None and verdict is _FAILED:
                self._recorder.unchanged(None)
        except ClaimLostError as error:
            if not open_files.is_open(self.lock):
                log.error("The task closed files that are not its own (os.closerange?)")  # noqa: TRY400
                return 1  # without a verdict: a crash of the task
            self.shared_page.verdict = Verdict.LOST
            log.error("%s", error)  # noqa: TRY400  # not an error of the program, so no traceback
        except ForeignFileError as error:
            log.error("%s", error)  # noqa: TRY400  # as above
            return 1
        except OSError as error:
            return end_by_disk(self.shared_page, error, by_task=self._failing_task is not None)
        return 1 if verdict is _FAILED else 0

    def _look_around(self) -> None:
        """Record what stands there before the tasks begin, and find what they can take of earlier runs."""
        if self._input_patterns:
            self._recorder = self._record_inputs(self._input_patterns)
        if self._workspace is not None:
            from job_orchestration.executor.reused_tasks import ReusedTasks

            self._reused = ReusedTasks(
                *(self._workspace, self, self._commit, self._recorder), is_new=not self._finished
            )

    def begin(self) -> None:
        """Note the process that runs the tasks."""
        self._process = os.getpid()
        self._open_files = open_files.count()
        if self._process == self._made_in:
            self._meter.restart()  # a spawned child has imported the tasks

    def finished(self, task_id: str) -> FinishedTask:
        """Return a task of this run that has its checkpoint."""
        if task_id in self._finished:
            return self._finished[task_id]
        done = ", ".join(self._finished) or "none yet"
        raise KeyError(f"no finished task {task_id} in this run (finished: {done})")

    def report(self, step: float, metric: float) -> None:
        """Report the metric of a task to the trial's search; other runs ignore it."""
        if self._trial is None:
            return
        if self._reporting is None:
            from job_orchestration.search.pruning import MetricReporter

            self._reporting = MetricReporter(Trial(*self._trial))
        self._reporting.report(step, metric)

    def write(self, event: Event, *, sync: bool = False) -> None:
        """Append an event to the journal."""
        self._writer.write(event, sync=sync)
        self.shared_page.copy_line(self._writer.last)

    def _mend_record(self, index: int) -> None:
        """Write the lines of this attempt anew if the code of a task has changed them.

        Raises:
            ForeignFileError: the task has closed our file, and its number belongs to another one.
        """
        if self._record.mend():
            self.shared_page.set_spoilt(index)

    def go_on(self) -> Verdict:
        """Run the tasks without a checkpoint, in order, until one fails or a stop is requested."""
        state: process_state.RunState | None = None
        for index, task in enumerate(self._tasks):
            if task.is_finished:
                continue
            if self.shared_page.stop is not None or not self._has_output:
                return Verdict.STOPPED
            if self._reused is not None and self._take_earlier(self._reused, index, task):
                continue
            if state is not None:
                self.put_back(state)
            elif index + 1 < len(self.specs):
                state = self.note_state(self._variables)
            if not self._run_task(index, task):
                return _FAILED
        return _DONE

    def _record_inputs(self, patterns: list[str]) -> InputRecorder:
        from job_orchestration.executor.input_recorder import InputRecorder

        found = InputRecorder(self.folder, patterns, child_setup.log_line, self.shared_page)
        found.begin()
        self._meter.restart()  # hashing is not the task's work
        return found

    def _take_earlier(self, reused: ReusedTasks, index: int, task: TaskStart) -> bool:
        """Take the checkpoint of an earlier run for a task that is unchanged; return whether there is one."""
        taken = reused.take(index, task.tries)
        self._meter.restart()
        if taken is None:
            return False
        self._fence()
        self.write(TaskStarted(task.id, task.tries + 1))
        self.write(taken, sync=True)
        reused.keep(taken)
        self._finished[task.id] = FinishedTask(taken.result, taken.folder)
        child_setup.log_line(f"Took task with id: {task.id} from {escaped(taken.reused_from or '')}")
        return True

    def _run_task(self, index: int, task: TaskStart) -> bool:
        self._fence()
        self.write(TaskStarted(task.id, task.tries + 1, self._reused.reason if self._reused else None))
        self._meter.begin()
        started = _monotonic()
        self.shared_page.begin_task(index, started)
        child_setup.log_line(f"Running task with id: {task.id}{self._again(task.failures + 1)}")
        context = TaskContext(self, task, task.tries + 1)
        try:
            value = contextvars.copy_context().run(self._call, index, context)
            self._settle(task.id, context.store)
        except BaseException as error:  # sys.exit and Ctrl-C of a task end the task, not more
            process_exit.end_if_fork(self._process, error)
            if isinstance(error, OSError) and error.errno in _FULL:
                child_setup.write_to_log(tracebacks.text_of(error))
                self._failing_task = task.id  # what it has staged stays, as evidence that the disk is full
                raise
            context.store.discard()
            self._mend_record(index)
            self._failed(task, error, _monotonic() - started)
            return False
        self._mend_record(index)
        try:
            folder, outputs = context.store.commit()
        except OSError:
            context.store.discard()
            raise
        self._fence()
        duration = round(_monotonic() - started, 6)
        finished = TaskFinished(
            *(task.id, duration, value, folder, outputs, self._commit, imported_files.new_ones()),
            usage=self._meter.end(),
            inputs=None if self._recorder is None else self._recorder.unchanged(task.id),
            volatile=task_importer.volatile_of(self.specs[index].method),
        )
        if self._preload_figures:
            finished = self._with_preload(finished)
        self.write(finished, sync=True)
        self._finished[task.id] = FinishedTask(value, folder)
        if self._reused is not None:
            self._reused.note(index, finished, reported=self._reporting is not None)
        self._has_output = child_setup.log_line(f"Finished task with id: {task.id} ({duration:.3f} s)")
        return True

    def _call(self, index: int, context: TaskContext) -> Json:
        spec = self.specs[index]
        self.seed_generators()
        shown = self.values if self._reused is None else self._reused.shown(self.values, index)
        values = kept_values.copy_of(spec.merged_with(shown))
        kind = task_importer.resolve(spec.method)
        if getattr(kind, "preload", None) is not None:
            context.preloaded = self._preloaded(spec, kind, values)
        if "foreach" in spec.parameters or "argsList" in spec.parameters:  # no call: a page of memory each
            from job_orchestration.executor import mapped_tasks

            mapped = mapped_tasks.Mapped(spec, self._tasks[index], kind, values, context)
            return mapped_tasks.run(self, mapped, describe)
        made: Any = kind(values)
        made.context = context
        try:
            value = task_call.result_of(made.run)
        except SystemExit as exit_:
            if task_call.is_failure(exit_) or self.shared_page.stop is not None:
                raise  # a task that was asked to stop and exits has stopped, not finished
            return None
        process_exit.end_if_fork(self._process)
        kept, phrases = kept_values.kept(value)
        if phrases:
            child_setup.log_line(kept_values.sentence_of(phrases), "WARNING")
        return kept

    def _preloaded(self, spec: TaskSpec, kind: type[Any], values: Mapping[str, Json]) -> Any:
        """Return what the class of a task has loaded; load it here if this process was forked without."""
        self._is_preloading = True
        value, loaded = preloading.value_of(spec.id, kind, values)
        self._is_preloading = False
        process_exit.end_if_fork(self._process)
        if loaded is not None:
            self._preload_figures[spec.id] = [loaded.seconds, loaded.megabytes]
        return value

    def _with_preload(self, finished: TaskFinished) -> TaskFinished:
        seconds, megabytes = self._preload_figures.get(finished.task, (None, None))
        return replace(finished, preload_s=seconds, preload_mb=megabytes)

    def note_state(self, variables: Iterable[bytes]) -> process_state.RunState:
        """Note how the first task begins; the names are those of the run's own environment variables."""
        return process_state.RunState(
            variables,
            self._task_folder.view.standing(self._working_folder),
            functools.partial(self._task_folder.enter_again, self._working_folder),
        )

    def put_back(self, state: process_state.RunState) -> None:
        """Have the next task begin as the first did."""
        state.put_back()
        thread_pools.resize(self._cpus)

    def seed_generators(self) -> None:
        """Start all random numbers by the seed of the run."""
        seed_all(self.seed)
        unseeded_generators.reseed(self.seed)

    def _settle(self, task_id: str, store: artifact_store.ArtifactStore) -> None:
        """Have everything done that a task has begun: it may have left threads at work, and files open."""
        process_exit.end_if_fork(self._process)
        if unfinished_work.may_be():
            unfinished_work.wait(task_id, self._grace_time)
        if (number := open_files.count()) is None or number != self._open_files:
            open_files.write(store.staging)

    def _failed(self, task: TaskStart, error: BaseException, duration: float) -> None:
        if isinstance(error, PrunedError):
            reason = describe(error).removeprefix(f"{type(error).__name__}: ")
            self.write(Cancelled(reason, pruned=True), sync=True)
            child_setup.log_line(f"Task {task.id}: {reason}")
            return
        known = secrets.values_in(os.environ) | secrets.values_in(self.values)
        child_setup.write_to_log(secrets.masked(tracebacks.text_of(error), known))
        outcome, what = Outcome.ERROR, describe(error, known)
        what = f"preload: {what}" if self._is_preloading else what
        if is_lack_of_memory(error):
            outcome, what = Outcome.OOM, f"{what}: {sentence_in_task(self._memory_limit)}"
        stop = self.shared_page.stop  # an exception of a task that is asked to stop is not its fault
        delay = error.delay if isinstance(error, TemporaryError) else None
        is_permanent = isinstance(error, PermanentError) and stop is None
        self.write(TaskFailed(task.id, stop or outcome, what, round(duration, 6), is_permanent, delay))
        again = self._again(task.failures + 1) if (stop or outcome).counts and task.failures else ""
        if type(error).__name__ == "BdbQuit" or isinstance(error, EOFError):
            log.error("A run has no terminal: job-orchestration debug %s --task %s", self.run_name, task.id)
        log.error("Task %s failed: %s%s", task.id, what, again)

    def _again(self, number: int) -> str:
        """Return the number of a try that is not the first, as people count them."""
        return f" (try {number} of {self._max_attempts})" if number > 1 else ""

    def _fence(self) -> None:
        if not still_ours(self.token, self.lock):
            raise ClaimLostError.taken_over(self.run_name)


def describe(error: BaseException, known: frozenset[str] = frozenset()) -> str:
    """An exception's name and message in one bounded line that is safe to print."""
    name = type(error).__name__
    try:
        text = escaped(secrets.masked(" ".join(str(error).split()), known))
    except Exception:  # noqa: BLE001  # the exception's own code may raise anything
        text = "its message cannot be shown"
    return (f"{name}: {text}" if text else name)[:2000]


def end_by_disk(shared_page: SharedPage, error: OSError, *, by_task: bool = False) -> int:
    """Record that an error which may be the disk's ended the attempt; return its number as exit code."""
    shared_page.set_error(describe(error), by_task=by_task)
    shared_page.verdict = Verdict.DISK
    log.error("This attempt ends by an error of a write: %s", error)
    return error.errno or errno.EIO


def end_exhausted(shared_page: SharedPage, error: BaseException) -> int:
    """Record that the attempt could not begin; return the exit code, the number of the error."""
    shared_page.verdict = Verdict.EXHAUSTED
    log.error("This attempt ends before its first task, and will go on when there is room: %s", error)
    return exhaustion.number_of(error) or errno.EAGAIN
