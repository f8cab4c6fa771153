"""`retry`: runs that gave up go on from their checkpoint, in the code that they were readied with.

They may also go on from an earlier task, or begin anew. Then the journal says so before anything is put
away, and whoever claims the run next puts away what is still there.

A retry is a claim like a worker's: the token moves to Running as an attempt, the journal says `requeued`,
and the token moves on to ConfigsToRun. Whoever dies on the way leaves a token in Running, which the next
worker files away or goes on with, as its journal says.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_orchestration.actions import claims, selection
from job_orchestration.files import history, token, trash, views
from job_orchestration.model.errors import ClaimLostError, UsageError
from job_orchestration.model.event import Requeued
from job_orchestration.model.problem import Problem, escaped
from job_orchestration.model.run import Place
from job_orchestration.rules.naming import TokenName

if TYPE_CHECKING:
    from job_orchestration.actions.selection import Choice
    from job_orchestration.files.history import RunRecord
    from job_orchestration.files.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of the runs that were asked to go on."""

    runs: tuple[str, ...]
    """Those that wait in ConfigsToRun now."""
    refused: tuple[Problem, ...]
    """Why the others do not."""


def retry(
    workspace: Workspace,
    choice: Choice = selection.EVERYTHING,
    reason: str = "asked to go on",
    *,
    task: str | None = None,
    fresh: bool = False,
) -> Retried:
    """Have failed runs go on from their checkpoint.

    Args:
        workspace: with all its folders in place.
        choice: which of those that have failed.
        reason: what their journals say about it.
        task: go on from this task: its checkpoint, and those behind it, do not count any more.
        fresh: begin anew, in the same code; the old output goes to the trash.

    Raises:
        UsageError: when a name means no run, more than one, or one that has not failed, or a run lacks the
            task.
        OSError: what the disk says; the runs that are not done yet stay as they were.
    """
    records = history.entries(workspace)
    for name in selection.plain_names(records, choice):
        _check_failed(selection.one(records, name), name)
    failed = [r for r in selection.chosen(workspace, records, choice) if r.place is Place.FAILED]
    for record in failed:
        if task is not None:
            _insist_on_task(record, task)
    event = Requeued(reason, task, fresh)
    runs: list[str] = []
    refused: list[Problem] = []
    for record in failed:
        problem = _retry_one(workspace, record, event)
        if problem is None:
            runs.append(record.run or record.config)
        else:
            refused.append(problem)
    return Retried(tuple(runs), tuple(refused))


def _insist_on_task(record: RunRecord, task: str) -> None:
    ids = [t.id for t in record.state.tasks] if record.state else []
    if not record.former and task not in ids:
        raise UsageError(
            f"{escaped(record.run or record.config)} has no task {escaped(task)}",
            f"Its tasks are {', '.join(escaped(i) for i in ids)}" if ids else "",
        )


def _check_failed(record: RunRecord, name: str) -> None:
    if record.place is not Place.FAILED:
        raise UsageError(
            f"{escaped(name)} has not failed: it is {record.place.said}",
            "Only a run that gave up can be retried",
        )


def _retry_one(workspace: Workspace, record: RunRecord, event: Requeued) -> Problem | None:
    filename = os.path.basename(record.path)
    if record.former:
        return Problem(
            filename,
            "The first Job Orchestration made this run, and it has no checkpoint to go on from",
            "Move the file to ConfigSources, with another outputDir, and ready it",
        )
    try:
        claim = claims.claim(workspace, record.path, "retry")
    except token.UnfitTokenError as error:
        return error.problem(filename)
    if claim is None:
        return Problem(filename, "Somebody else is just moving this run", "See where it is with: status")
    try:
        claim.journal.write(event, sync=True)
        state = claim.refold()
        trash.put_output_away(workspace, claim.run, state)
        views.write_status(claim.run_folder, state)
        claim.move(workspace.to_run, TokenName(claim.name.stem))
    except ClaimLostError as error:
        return Problem(filename, error.what, error.todo)
    finally:
        claim.release()
    return None
