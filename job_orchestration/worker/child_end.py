"""Record how a child ended, by what stands on the disk.

The code of a task can change anything in its process, so what its child says of itself is a hint. What counts
is the journal, which the worker puts back where it was spoilt, and reads. If the two differ, that is a failed
try, and ``maxAttempts`` bounds it. Likewise an error of a write in the child is the disk's only if a write of
the worker fails as well.
"""

from __future__ import annotations

import errno
import os
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.errors import ClaimLostError
from job_orchestration.executor.exhaustion import ExhaustedError
from job_orchestration.executor.exit_status import append_to_log, classify_exit, seconds_since
from job_orchestration.executor.shared_memory import Verdict
from job_orchestration.runs import artifact_store, claims
from job_orchestration.runs.events import HandedBack, Outcome, Spoilt, TaskFailed
from job_orchestration.runs.state import Status
from job_orchestration.workspace import failures

if TYPE_CHECKING:
    from collections.abc import Callable

    from job_orchestration.diagnostics.errors import OrchestrationError
    from job_orchestration.executor.messages import Message
    from job_orchestration.executor.shared_memory import Report
    from job_orchestration.runs import journal
    from job_orchestration.runs.claims import Claim
    from job_orchestration.runs.state import TaskState

REASON: Final = "the disk kept it from going on"
"""Why a run was released whose attempt ended by an error of a write."""
_FIRST, _LONGEST = timedelta(seconds=2), timedelta(minutes=5)


class DiskError(OSError):
    """An error of the workspace's disk: a write of the worker itself has failed as well."""


def record(claim: Claim, end: Message, report: Report, can_write: Callable[[], bool]) -> bool:
    """Take the journal over from a child that has ended, and record its end if it did not do so itself.

    Args:
        claim: the run.
        end: how it ended: ``code``, ``verdict``, ``stopped``, ``oom``.
        report: what the child wrote about itself.
        can_write: makes a durable write on the workspace's disk.

    Returns:
        Whether the end is recorded; otherwise the run stays in Running and counts an interruption.

    Raises:
        ClaimLostError: another worker has taken the run over.
        ExhaustedError: there was no room for the child's threads; none of the run's code was executed.
        DiskError: the workspace's disk ended the attempt.
        OSError: a write in the child failed with an error of a disk, and the worker can write.
    """
    verdict, stopped = Verdict(end["verdict"]), end["stopped"] and Outcome(end["stopped"])
    is_lost = Outcome.LOST is stopped or verdict is Verdict.LOST
    if is_lost and not claims.still_ours(claim.path, claim.descriptor):
        raise ClaimLostError.taken_over(claim.run)
    restore(claim, report)
    if verdict is Verdict.EXHAUSTED:
        raise ExhaustedError(end["code"], os.strerror(max(end["code"], 0)))
    state = claim.state
    if state.current is None:
        return True
    task = state.tasks[state.current]
    if verdict is Verdict.DISK:
        return _judge(claim, task, end["code"], report, can_write)
    has_failed = state.status in {Status.FAILED_TASK, Status.FAILED}
    if verdict is Verdict.FAILED and stopped is None and has_failed:
        # Interrupted, but not by its worker (perhaps by itself): counted, or it would be tried for ever.
        return task.outcome is not Outcome.INTERRUPTED
    said = _SAID.get(verdict)
    if said is not None and not (stopped and verdict is Verdict.FAILED):
        _fail(
            claim, task, Outcome.LOST, f"its process said that {said}, but the journal on the disk does not"
        )
        return True
    if verdict in {Verdict.FAILED, Verdict.STOPPED} or stopped in {Outcome.INTERRUPTED, Outcome.CANCELLED}:
        return True  # its try is void; the next step releases the run, or cancels it
    outcome, error = classify_exit(end["code"], stopped, oom=end["oom"])
    if state.status is not Status.RUNNING_TASK and not claim.journal.was_spoilt:
        error = f"{error} before the task began"
    _fail(claim, task, outcome, error)
    return True


_SAID: Final = {
    Verdict.DONE: "all tasks have finished",
    Verdict.FAILED: "a task has failed",
    Verdict.LOST: "another worker has taken the run over",
}


def _fail(claim: Claim, task: TaskState, outcome: Outcome, error: str) -> None:
    spent = seconds_since(task.started_at) if claim.state.status is Status.RUNNING_TASK else None
    claim.write(TaskFailed(task.id, outcome, error, spent))
    append_to_log(claim, f"Task {task.id} failed: {error}")


def restore(claim: Claim, report: Report) -> None:
    """Take the journal back and put the record back; name the task that has spoilt it in journal and log."""
    lost = claim.restore()
    state = claim.take_back(report.lines)
    own, was_spoilt = os.path.relpath(claim.journal.path, claim.run_folder), claim.journal.was_spoilt
    if was_spoilt and own not in lost:
        lost.append(own)  # by a task that ended its process: the child has not mended it
    index = report.spoilt_by
    if index is None and was_spoilt and report.verdict is Verdict.NONE:
        index = report.last_begun
    if not lost and index is None:
        return
    suspects = [task.id for task in state.tasks if task.attempt == claim.attempt]
    if index is not None and index < len(state.tasks):
        suspects = [state.tasks[index].id]
    task = suspects[0] if len(suspects) == 1 else None
    files = tuple(lost) or (own,)
    claim.write(Spoilt(task, files))
    who = f"Task {task}" if task else "A task"
    append_to_log(
        claim,
        f"{who} removed or changed files of the run's record, which were put back: "
        f"{', '.join(files)}. A task may empty its outputDir, but what it removes there is gone",
    )


def _judge(claim: Claim, task: TaskState, number: int, report: Report, can_write: Callable[[], bool]) -> bool:
    """Find out whether an error of a write in the child was the disk's."""
    is_writable = can_write()  # before the staged files, which may be what filled the disk, are removed
    artifact_store.clear_partial(claim.run_folder)
    if not is_writable:
        raise DiskError(number, os.strerror(max(number, 0)))
    if not report.by_task and may_be_over(number, claim.earlier):
        raise OSError(number, os.strerror(number))
    _fail(claim, task, Outcome.ERROR, report.error or os.strerror(max(number, 0)))
    return True


def judge_start(error: OrchestrationError, can_write: Callable[[], bool]) -> None:
    """Find out whether the disk is the reason that a run's code could not be had.

    Args:
        error: of making the snapshot, or of the imports.
        can_write: makes a durable write on the workspace's disk.

    Raises:
        DiskError: the workspace's disk cannot be written.
    """
    if not can_write():
        raise DiskError(errno.EIO, error.what.splitlines()[0])


def may_be_over(number: int | None, earlier: journal.Journal) -> bool:
    """Whether an error is a disk's that has passed since, and the attempt before did not end so as well."""
    return failures.is_of_disk(number) and _last_release(earlier) is None


def _last_release(earlier: journal.Journal) -> timedelta | None:
    """Return how long the run had to wait if its last attempt ended by an error of a write."""
    entries = earlier.get(max(earlier, default=0)) or ()
    last = entries[-1] if entries else None
    if last is None or not isinstance(last.event, HandedBack) or last.event.reason != REASON:
        return None
    until = last.event.not_before
    return datetime.fromisoformat(until) - datetime.fromisoformat(last.at) if until else timedelta(0)


def delay_after(earlier: journal.Journal) -> timedelta:
    """Return how long a run waits after an attempt that ended by an error of a write: longer each time."""
    last = _last_release(earlier)
    return _FIRST if last is None else min(max(2 * last, _FIRST), _LONGEST)
