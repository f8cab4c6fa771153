"""`hold` and `release`: a run that waits is kept from being claimed, and let go again.

Both are one move of the token: ``a.yaml`` becomes ``a~held.yaml``, and back. It is made under the token's
lock, so that no worker claims what is being moved; the file keeps its time, and the run its place in the
queue.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from job_orchestration.actions import claims, selection
from job_orchestration.files import durable, history, token, views
from job_orchestration.model.errors import ClaimLostError, UsageError
from job_orchestration.model.event import HandedBack
from job_orchestration.model.problem import Problem, escaped
from job_orchestration.model.run import Place, Status
from job_orchestration.rules.naming import TokenName

if TYPE_CHECKING:
    from job_orchestration.actions.selection import Choice
    from job_orchestration.files.history import RunRecord
    from job_orchestration.files.workspace import Workspace


_CAN_BE_HELD: Final = frozenset({Place.TO_RUN, Place.INTERRUPTED})
_CAN_BE_RELEASED: Final = frozenset({Place.HELD})


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of the runs that were to be held or released."""

    runs: tuple[str, ...]
    """Those that are now as they were asked to be."""
    refused: tuple[Problem, ...]
    """Why the others are not."""


def hold(workspace: Workspace, choice: Choice) -> Moved:
    """Keep runs that wait from being claimed, until they are released.

    Of those that a glob, a status or a filter means, the ones that wait.

    Raises:
        UsageError: when a name means no run, more than one, or one that does not wait.
        OSError: what the disk says; the runs that are not done yet stay as they were.
    """
    return _each(workspace, choice, held=True)


def release(workspace: Workspace, choice: Choice) -> Moved:
    """Let runs that were held be claimed again.

    Of those that a glob, a status or a filter means, the ones that are held.

    Raises:
        UsageError: when a name means no run, more than one, or one that is not held.
        OSError: what the disk says; the runs that are not done yet stay as they were.
    """
    return _each(workspace, choice, held=False)


def _each(workspace: Workspace, choice: Choice, *, held: bool) -> Moved:
    records = history.entries(workspace)
    named = [selection.one(records, name) for name in selection.plain_names(records, choice)]
    for record, name in zip(named, selection.plain_names(records, choice), strict=True):
        _insist_that_it_fits(record, name, held=held)
    fit = _CAN_BE_HELD if held else _CAN_BE_RELEASED
    runs: list[str] = []
    refused: list[Problem] = []
    for record in selection.chosen(workspace, records, choice):
        if record not in named and record.place not in fit:
            continue
        problem = _move(workspace, record, held=held)
        if problem is None:
            runs.append(record.run or record.config)
        else:
            refused.append(problem)
    return Moved(tuple(runs), tuple(refused))


def _insist_that_it_fits(record: RunRecord, name: str, *, held: bool) -> None:
    if held and record.place not in {*_CAN_BE_HELD, Place.HELD}:
        todo = "End it with: job-orchestration cancel" if record.place is Place.RUNNING else ""
        raise UsageError(
            f"{escaped(name)} does not wait: it is {record.place.said}", todo or "Only what waits can be held"
        )
    if not held and record.place not in {Place.TO_RUN, Place.HELD}:
        raise UsageError(
            f"{escaped(name)} is not held: it is {record.place.said}", "Only what is held can be released"
        )


def _move(workspace: Workspace, record: RunRecord, *, held: bool) -> Problem | None:
    if record.place is (Place.HELD if held else Place.TO_RUN):
        return None  # as it was asked to be
    try:
        if record.place is Place.INTERRUPTED:
            return _take_back(workspace, record.path)
        return _rename(workspace, record.path, held=held)
    except token.UnfitTokenError as error:
        return error.problem(os.path.basename(record.path))


def _rename(workspace: Workspace, source: str, *, held: bool) -> Problem | None:
    filename = os.path.basename(source)
    descriptor = token.lock(source)
    if descriptor is None:
        return _gone(filename)
    try:
        name = TokenName(claims.token_at(source).name.stem, held=held)
        durable.move_new(source, os.path.join(workspace.to_run, str(name)))
    except FileExistsError:
        return Problem(filename, "Another file has the name that it would get", "Move that one away")
    finally:
        os.close(descriptor)
    return None


def _take_back(workspace: Workspace, source: str) -> Problem | None:
    """Hold a run whose worker died: it is handed back, and held."""
    filename = os.path.basename(source)
    claim = claims.claim(workspace, source, "hold")
    if claim is None:
        return _gone(filename)
    try:
        if claim.state.status in {Status.COMPLETE, Status.FAILED}:
            return Problem(filename, "This run has ended, and a worker has only to file it away")
        claim.write(HandedBack("held"), sync=True)
        views.write_status(claim.run_folder, claim.state)
        claim.move(workspace.to_run, TokenName(claim.name.stem, held=True))
    except ClaimLostError as error:
        return Problem(filename, error.what, error.todo)
    finally:
        claim.release()
    return None


def _gone(filename: str) -> Problem:
    return Problem(filename, "Somebody else has just taken this run", "See where it is with: status")
