"""One child: runs the tasks of a run that have no checkpoint yet, in order, and writes the journal.

Whatever a task does, the child says in the shared page how it ended; when it could not, the worker reads it
off the journal and the exit status. The checkpoint of a task is written in this order: the task's files are
committed, the fence is looked at, `task_finished` is appended and synced. Only then does the next task
start.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.engine import interior, loading, sweep
from job_orchestration.engine.page import Page, Verdict
from job_orchestration.engine.seeding import seed_all
from job_orchestration.files import journal, store
from job_orchestration.files.token import still_ours
from job_orchestration.model.errors import ClaimLostError, PermanentError, PrunedError, TemporaryError
from job_orchestration.model.event import Cancelled, Event, TaskFailed, TaskFinished, TaskStarted
from job_orchestration.model.problem import escaped
from job_orchestration.model.run import Outcome, TaskState, TaskStatus
from job_orchestration.model.task import specs_of
from job_orchestration.rules import lifecycle

if TYPE_CHECKING:
    from job_orchestration.engine.messages import Message
    from job_orchestration.engine.pruning import Reporting
    from job_orchestration.model.task import Json

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of a task's own writes that are the disk's and not the task's."""

log = logging.getLogger("job_orchestration")


class TaskContext:
    """What a running task may know and use of its run: `self.context`."""

    def __init__(self, attempt: Attempt, task: TaskState, number: int) -> None:
        self.run = attempt.run_name
        self.attempt = attempt.number
        self.seed = attempt.seed
        self.store = store.FolderStore(attempt.folder, task.id, f"{attempt.number}.{number}")
        self._of = attempt
        self._id = task.id

    @property
    def log(self) -> logging.Logger:
        """Goes to the run's log, like everything that is printed."""
        return logging.getLogger(self._id)

    @property
    def resume_dir(self) -> Path:
        """A folder of this task that survives attempts."""
        path = Path(self._of.folder, store.RESUME, self._id)
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def should_stop(self) -> bool:
        """Whether the run was asked to end soon."""
        return self._of.page.stop is not None

    def progress(self, done: float, total: float | None = None, *, metric: float | None = None) -> None:
        """Say how far the task is: two numbers in shared memory, so call it as often as you like.

        With a metric it is a file's write more, in a trial of a search that prunes.

        Raises:
            PrunedError: when the search ends this trial early.
        """
        numbers = float(done), float(total or 0)
        if all(map(math.isfinite, numbers)):
            self._of.page.set_progress(*numbers)
            if metric is not None:
                self._of.report(numbers[0], float(metric))

    def result_of(self, task_id: str) -> Json:
        """What an earlier task of this run returned.

        Raises:
            KeyError: when there is no such task, or it has not finished.
        """
        return self._of.finished(task_id).result

    def folder_of(self, task_id: str) -> Path:
        """The folder of what an earlier task of this run saved through its store.

        Raises:
            KeyError: when there is no such task, it has not finished, or it saved nothing.
        """
        folder = self._of.finished(task_id).folder
        if folder is None:
            raise KeyError(f"task {task_id} saved nothing through its store")
        return Path(self._of.folder, folder)


class Attempt:
    """The child's view of the run it works for; made by the host before the fork.

    Args:
        order: the worker's message.
        lock: the locked token.
        journal_file: this attempt's, open for appending.
        page: shared with the host.

    Raises:
        OSError: when the journal cannot be read.
    """

    def __init__(self, order: Message, lock: int, journal_file: int, page: Page) -> None:
        self.run_name: str = order["run"]
        self.folder: str = order["folder"]
        self.number: int = order["attempt"]
        self.token: str = order["token"]
        self.lock = lock
        self.page = page
        path = journal.path_of(self.folder, self.number)
        self._writer = journal.Writer(journal_file, path, order["written"])
        state = lifecycle.fold(journal.read(self.folder, order["journal"]))
        self._folding = lifecycle.Folding(state)
        self._stall_timeout: float | None = order.get("stall_timeout")
        self._share: dict[str, str] = order.get("share", {})
        self.seed = state.seed
        self._reporting: Reporting | None = None
        self.specs = specs_of(state.values)
        self.values: dict[str, Json] = {**state.values, "outputDir": self.folder}

    def run(self) -> int:
        """Go on with the run; returns the exit code: the errno when it was the disk."""
        sweep.keep_from_forks(self.lock)
        os.environ.update(self._share)  # here and not in the host, whose next run has another share
        if self._stall_timeout:
            threading.Thread(target=_beat, args=(self.page, self._stall_timeout), daemon=True).start()
        try:
            self.page.verdict = self.go_on()
        except ClaimLostError as error:
            if not _is_open(self.lock):
                log.error("The task closed files that are not its own (os.closerange?)")  # noqa: TRY400
                return 1  # without a verdict: a crash of the task
            self.page.verdict = Verdict.LOST
            log.error("%s", error)  # noqa: TRY400  # no fault of the program, so no traceback
        except OSError as error:
            return end_by_disk(self.page, error)
        return 0 if self.page.verdict in {Verdict.DONE, Verdict.STOPPED} else 1

    def finished(self, task_id: str) -> TaskState:
        """A task of this run that has its checkpoint."""
        tasks = self._folding.state.tasks
        for task in tasks:
            if task.id == task_id and task.status is TaskStatus.FINISHED:
                return task
        done = ", ".join(t.id for t in tasks if t.status is TaskStatus.FINISHED) or "none yet"
        raise KeyError(f"no finished task {task_id} in this run (finished: {done})")

    def report(self, step: float, metric: float) -> None:
        """Take in what a task says of its metric; only a trial's search wants to know."""
        trial = self._folding.state.trial
        if trial is None:
            return
        if self._reporting is None:
            from job_orchestration.engine.pruning import Reporting

            self._reporting = Reporting(trial)
        self._reporting.report(step, metric)

    def write(self, event: Event, *, sync: bool = False) -> None:
        """Append an event; the state follows."""
        self._folding.add(self._writer.write(event, sync=sync))

    def go_on(self) -> Verdict:
        """Run the tasks without a checkpoint, in order, until one fails or somebody says stop."""
        while (index := self._folding.current) is not None:
            if self.page.stop is not None:
                return Verdict.STOPPED
            if not self._run_task(index):
                return Verdict.FAILED
        return Verdict.DONE

    def _run_task(self, index: int) -> bool:
        task = self._folding.task(index)
        self._fence()
        self.write(TaskStarted(task.id, task.tries + 1))
        started = time.monotonic()
        self.page.begin_task(index, started)
        interior.note(f"Running task with id: {task.id}")
        context = TaskContext(self, task, task.tries + 1)
        try:
            value = self._call(index, context)
        except BaseException as error:  # noqa: BLE001  # sys.exit and Ctrl-C of a task end the task, not more
            context.store.discard()  # first: on a full disk it is what stands in the way of everything else
            self._failed(task, error, time.monotonic() - started)
            return False
        try:
            folder, outputs = context.store.commit()
        except OSError:
            context.store.discard()
            raise
        self._fence()
        duration = round(time.monotonic() - started, 6)
        self.write(TaskFinished(task.id, duration, value, folder, outputs), sync=True)
        interior.note(f"Finished task with id: {task.id} ({duration:.3f} s)")
        return True

    def _call(self, index: int, context: TaskContext) -> Json:
        spec = self.specs[index]
        seed_all(self.seed)
        made: Any = loading.resolve(spec.method)(spec.merged_with(self.values))
        made.context = context
        value = made.run()
        try:
            return journal.strict_json(value)
        except ValueError as error:
            raise PermanentError(f"its return value cannot be kept: {error}") from None

    def _failed(self, task: TaskState, error: BaseException, duration: float) -> None:
        if isinstance(error, PrunedError):
            self.write(Cancelled(str(error)), sync=True)
            interior.note(f"Task {task.id}: {error}")
            return
        if isinstance(error, OSError) and error.errno in _FULL:
            raise error  # the disk's trouble is not the task's: the attempt ends uncounted
        traceback.print_exception(error)
        outcome = Outcome.OOM if isinstance(error, MemoryError) else Outcome.ERROR
        told = self.page.stop  # what a task raises when it is told to stop is no fault of its own
        delay = error.delay if isinstance(error, TemporaryError) else None
        self.write(
            TaskFailed(
                task.id,
                told or outcome,
                describe(error),
                round(duration, 6),
                permanent=isinstance(error, PermanentError) and told is None,
                delay_s=delay,
            )
        )
        log.error("Task %s failed: %s", task.id, describe(error))

    def _fence(self) -> None:
        if not still_ours(self.token, self.lock):
            raise ClaimLostError(f"Attempt {self.number} at {self.run_name} was taken over by another worker")


def describe(error: BaseException) -> str:
    """An exception's name and message in one bounded line that is safe to print."""
    name = type(error).__name__
    try:
        text = escaped(" ".join(str(error).split()))
    except Exception:  # noqa: BLE001  # whatever the exception's own code raises
        text = "its message cannot be shown"
    return (f"{name}: {text}" if text else name)[:2000]


def end_by_disk(page: Page, error: OSError) -> int:
    """Say that the disk ended the attempt; returns the exit code, the error's number."""
    page.verdict = Verdict.DISK
    log.error("This attempt ends, and will go on when it can write again: %s", error)
    return error.errno or errno.EIO


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _beat(page: Page, stall_timeout: float) -> None:
    """Show that the interpreter runs, for as long as it does."""
    while True:
        page.beat = time.monotonic()
        time.sleep(min(stall_timeout / 5, 1.0))
