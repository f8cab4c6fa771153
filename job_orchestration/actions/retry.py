"""`retry`: runs that gave up go on from their checkpoint, in the code that they were readied with.

A retry is a claim like a worker's: the token moves to Running as an attempt, the journal says `requeued`,
and the token moves on to ConfigsToRun. Whoever dies on the way leaves a token in Running, which the next
worker files away or goes on with, as its journal says.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from job_orchestration.actions import selection
from job_orchestration.files import history, token, views
from job_orchestration.model.errors import ClaimLostError, UsageError
from job_orchestration.model.event import Requeued
from job_orchestration.model.problem import Problem, escaped
from job_orchestration.model.run import Place
from job_orchestration.rules.naming import TokenName, worker_name

if TYPE_CHECKING:
    from job_orchestration.actions.selection import Choice
    from job_orchestration.files.history import RunRecord
    from job_orchestration.files.workspace import Workspace

_WHO: Final = "retry"
"""Stands where a worker's name has its random letters."""


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of the runs that were asked to go on."""

    runs: tuple[str, ...]
    """Those that wait in ConfigsToRun now."""
    refused: tuple[Problem, ...]
    """Why the others do not."""


def retry(
    workspace: Workspace, choice: Choice = selection.EVERYTHING, reason: str = "asked to go on"
) -> Retried:
    """Have failed runs go on from their checkpoint.

    Args:
        workspace: with all its folders in place.
        choice: which of those that have failed.
        reason: what their journals say about it.

    Raises:
        UsageError: when a name means no run, more than one, or one that has not failed.
        OSError: what the disk says; the runs that are not done yet stay as they were.
    """
    records = history.entries(workspace)
    for name in choice.names:
        if not selection.is_glob(records, name):
            _check_failed(selection.one(records, name), name)
    failed = [r for r in selection.chosen(workspace, records, choice) if r.place is Place.FAILED]
    runs: list[str] = []
    refused: list[Problem] = []
    for record in failed:
        problem = _retry_one(workspace, record, reason)
        if problem is None:
            runs.append(record.run or record.config)
        else:
            refused.append(problem)
    return Retried(tuple(runs), tuple(refused))


def _check_failed(record: RunRecord, name: str) -> None:
    if record.place is not Place.FAILED:
        place = record.place.replace("_", " ")
        raise UsageError(
            f"{escaped(name)} has not failed: it is {place}", "Only a run that gave up can be retried"
        )


def _retry_one(workspace: Workspace, record: RunRecord, reason: str) -> Problem | None:
    filename = os.path.basename(record.path)
    name = TokenName.parse(filename)
    assert name is not None
    if record.former:
        return Problem(
            filename,
            "The first Job Orchestration made this run, and it has no checkpoint to go on from",
            "Move the file to ConfigSources, with another outputDir, and ready it",
        )
    found = token.Token(os.path.dirname(record.path), filename, name, 0)
    host = socket.gethostname()
    try:
        claim = token.claim(workspace, found, worker_name(host, os.getpid(), _WHO), host)
    except token.UnfitTokenError as error:
        return error.problem(filename)
    if claim is None:
        return Problem(filename, "Somebody else is just moving this run", "See where it is with: status")
    try:
        claim.journal.write(Requeued(reason), sync=True)
        views.write_status(claim.run_folder, claim.refold())
        claim.move(workspace.to_run, TokenName(name.stem))
    except ClaimLostError as error:
        return Problem(filename, error.what, error.todo)
    finally:
        claim.release()
    return None
