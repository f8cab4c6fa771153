"""Change some runs, one after the other: what is refused of one does not keep the others."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from job_orchestration.commands import selection
from job_orchestration.diagnostics.errors import OrchestrationError, UsageError
from job_orchestration.diagnostics.problems import Fault, Problem, escaped
from job_orchestration.runs import unreadable
from job_orchestration.workspace import failures
from job_orchestration.workspace.layout import FINAL_PLACES
from job_orchestration.workspace.safe_reads import DamagedFileError, UnreadableFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from job_orchestration.commands.selection import Selection
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.workspace.layout import Workspace


@dataclass(frozen=True, slots=True)
class Changes:
    """What a command changed, run by run."""

    runs: tuple[str, ...]
    """The changed runs."""
    refused: tuple[Problem, ...]
    """A problem for each other run."""


class Unended(NamedTuple):
    """What a command for ended runs says of a run that it cannot take."""

    not_recorded: str
    """What it needs and the first release did not record, such as "no commit"."""
    if_first_release: str
    """What to do."""
    if_not_ended: str
    if_unreadable: str


def fault_unless_ended(record: RunRecord, words: Unended) -> Fault | None:
    """Return why a run is none that has ended and can be read; `None` if it is one."""
    if record.is_first_release:
        what = f"was made by the first Job Orchestration, which recorded {words.not_recorded}"
        return Fault(what, words.if_first_release)
    if record.place not in FINAL_PLACES:
        return Fault(f"has not ended: it is {record.place.said}", words.if_not_ended)
    if record.run is None or record.state is None or record.state.readied_at is None:
        return Fault("has no journal that can be read", words.if_unreadable)
    return None


def suited(
    records: Sequence[RunRecord], choice: Selection, fault_of: Callable[[RunRecord], Fault | None]
) -> tuple[list[RunRecord], list[Problem]]:
    """Return the runs that a selection names, other than by a glob, and that suit the command.

    Args:
        records: all records.
        choice: the selection.
        fault_of: returns why a run does not suit, as a sentence without its subject, or `None`.

    Returns:
        The runs that suit, and a problem for each other run.

    Raises:
        UsageError: if a name matches no run, or more than one.
    """
    found, refused = [], []
    for name in selection.plain_names(records, choice):
        record = selection.one(records, name)
        fault = fault_of(record)
        if fault is None:
            found.append(record)
        else:
            refused.append(Problem(name, fault.what, fault.todo))
    return found, refused


def require(
    records: Sequence[RunRecord], choice: Selection, fault_of: Callable[[RunRecord], Fault | None]
) -> list[RunRecord]:
    """Return the runs that a selection names, other than by a glob; each must suit the command.

    Args:
        records: all records.
        choice: the selection.
        fault_of: returns why a run does not suit, as a sentence without its subject, or `None`.

    Raises:
        UsageError: if a name matches no run, more than one, or one that does not suit.
    """
    found, refused = suited(records, choice, fault_of)
    for problem in refused:
        raise UsageError(f"{escaped(problem.file)} {problem.what}", problem.todo)
    return found


def change_each(
    workspace: Workspace,
    records: Iterable[RunRecord],
    change: Callable[[RunRecord], Problem | None],
    unsuited: Iterable[Problem] = (),
) -> Changes:
    """Change runs.

    Args:
        workspace: the workspace of the runs.
        records: the runs.
        change: changes one, or returns why it could not.
        unsuited: the problems of runs that do not suit the command.

    Raises:
        OSError: the disk or the machine failed; the remaining runs are unchanged.
    """
    runs: list[str] = []
    refused = list(unsuited)
    for record in records:
        filename = os.path.basename(record.path)
        problem = guarded(workspace, filename, functools.partial(change, record))
        if problem is None:
            runs.append(record.run or record.config)
        else:
            refused.append(problem)
    return Changes(tuple(runs), tuple(refused))


def guarded(workspace: Workspace, filename: str, call: Callable[[], Problem | None]) -> Problem | None:
    """Change one thing of many; what only this one can meet is its problem, and no error of the command.

    Args:
        workspace: its workspace.
        filename: what the problem is about.
        call: makes the change, or returns why it could not.

    Raises:
        OSError: the disk or the machine failed, which every other change would meet as well.
    """
    try:
        return call()
    except Exception as error:
        is_of_run = isinstance(error, DamagedFileError | UnreadableFileError)
        if failures.concerns_all(error) and not is_of_run:
            raise
        return problem_of(workspace, filename, error)


def problem_of(workspace: Workspace, filename: str, error: Exception) -> Problem:
    """Return the problem of a thing that could not be changed, by the error that was met."""
    if isinstance(error, OrchestrationError):
        return Problem(filename, error.what, error.todo)
    if isinstance(error, DamagedFileError | UnreadableFileError):
        return unreadable_problem(workspace, filename, error)
    what = f"it could not be changed: {escaped(failures.reason_of(error, workspace.root))[:500]}"
    if isinstance(error, OSError):
        return Problem(filename, what, "See what is wrong there, mend it and try again")
    return Problem(filename, what, "Look at it with doctor; if nothing is wrong there, report this")


def unreadable_problem(workspace: Workspace, filename: str, error: OSError) -> Problem:
    """Return the problem of a run by the error that reading its files met."""
    fault = unreadable.fault_of(workspace, error)
    return Problem(filename, fault.what, fault.todo)


def taken_meanwhile(filename: str) -> Problem:
    """Return the problem of a run whose token another process has just locked or moved."""
    return Problem(filename, "Another process is just moving this run", "See where it is with: status")


def insist_on_task(record: RunRecord, task: str) -> None:
    """Insist that a run has a task.

    Raises:
        UsageError: if it has not.
    """
    ids = [t.id for t in record.state.tasks] if record.state else []
    if not record.is_first_release and task not in ids:
        raise UsageError(
            f"{escaped(record.run or record.config)} has no task {escaped(task)}",
            f"Its tasks are {', '.join(escaped(i) for i in ids)}" if ids else "",
        )
