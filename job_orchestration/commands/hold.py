"""`hold` and `release`: keep waiting runs from being claimed, and make them claimable again.

Each is one rename of the token: ``a.yaml`` to ``a~held.yaml``, or back. The rename is made under the lock of
the token, so no worker can claim it meanwhile. The file keeps its time, and so the run its place in
the queue.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from job_orchestration.commands import changes, selection
from job_orchestration.diagnostics.errors import ClaimLostError
from job_orchestration.diagnostics.problems import Fault, Problem
from job_orchestration.runs import catalog, claims, status_file
from job_orchestration.runs.events import HandedBack
from job_orchestration.runs.state import Status
from job_orchestration.workspace import durable, locks
from job_orchestration.workspace.layout import Place
from job_orchestration.workspace.naming import TokenName

if TYPE_CHECKING:
    from job_orchestration.commands.changes import Changes
    from job_orchestration.commands.selection import Selection
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.workspace.layout import Workspace

_CAN_BE_HELD: Final = frozenset({Place.TO_RUN, Place.INTERRUPTED})
_CAN_BE_RELEASED: Final = frozenset({Place.HELD})
_MOMENT: Final = 1.0
"""Seconds that a process which only looks at a token may have it locked."""
_LOOK_EVERY: Final = 0.01


def hold(workspace: Workspace, choice: Selection) -> Changes:
    """Keep waiting runs from being claimed until they are released.

    A glob, a status or a filter selects only waiting runs.

    Raises:
        UsageError: if a name matches no run, or more than one.
        OSError: the disk failed; the remaining runs are unchanged.
    """
    return _each(workspace, choice, held=True)


def release(workspace: Workspace, choice: Selection) -> Changes:
    """Make held runs claimable again.

    A glob, a status or a filter selects only held runs.

    Raises:
        UsageError: if a name matches no run, or more than one.
        OSError: the disk failed; the remaining runs are unchanged.
    """
    return _each(workspace, choice, held=False)


def _each(workspace: Workspace, choice: Selection, *, held: bool) -> Changes:
    records = catalog.entries(workspace)
    named, unsuited = changes.suited(records, choice, _fault_of_holding if held else _fault_of_releasing)
    fit = _CAN_BE_HELD if held else _CAN_BE_RELEASED
    chosen = selection.chosen(workspace, records, choice)
    return changes.change_each(
        workspace,
        [record for record in chosen if record in named or record.place in fit],
        lambda record: _move(workspace, record, held=held),
        unsuited,
    )


def _fault_of_holding(record: RunRecord) -> Fault | None:
    if record.place in {*_CAN_BE_HELD, Place.HELD}:
        return None
    is_running = record.place is Place.RUNNING
    todo = "End it with: job-orchestration cancel" if is_running else "Only what waits can be held"
    return Fault(f"does not wait: it is {record.place.said}", todo)


def _fault_of_releasing(record: RunRecord) -> Fault | None:
    if record.place in {Place.TO_RUN, Place.HELD}:
        return None
    return Fault(f"is not held: it is {record.place.said}", "Only what is held can be released")


def _move(workspace: Workspace, record: RunRecord, *, held: bool) -> Problem | None:
    if record.place is (Place.HELD if held else Place.TO_RUN):
        return None  # as it was asked to be
    try:
        if record.place is Place.INTERRUPTED:
            return _take_back(workspace, record.path)
        return _rename(workspace, record.path, held=held)
    except claims.UnfitTokenError as error:
        return error.problem(os.path.basename(record.path))


def _rename(workspace: Workspace, source: str, *, held: bool) -> Problem | None:
    filename = os.path.basename(source)
    descriptor = _locked(source)
    if descriptor is None:
        return changes.taken_meanwhile(filename)
    try:
        name = TokenName(claims.token_at(source).name.stem, held=held)
        durable.move_new(source, os.path.join(workspace.to_run, str(name)))
    except FileExistsError:
        return Problem(filename, "Another file has the name that it would get", "Move that one away")
    finally:
        locks.let_go(descriptor)
    return None


def _locked(path: str) -> int | None:
    """Lock a token; wait a moment for a process that only looks whether it is free."""
    deadline = time.monotonic() + _MOMENT
    while (descriptor := claims.lock(path)) is None and os.path.lexists(path):
        if time.monotonic() >= deadline:
            break
        time.sleep(_LOOK_EVERY)
    return descriptor


def _take_back(workspace: Workspace, source: str) -> Problem | None:
    """Hold an interrupted run: claim it, release it and hold it."""
    filename = os.path.basename(source)
    claim = claims.claim_briefly(workspace, source, "hold")
    if claim is None:
        return changes.taken_meanwhile(filename)
    try:
        if claim.state.status in {Status.COMPLETE, Status.FAILED}:
            return Problem(filename, "This run has ended, and a worker will move it to its final folder")
        claim.write(HandedBack("held"), sync=True)
        status_file.write_status(claim.run_folder, claim.state)
        claim.move(workspace.to_run, TokenName(claim.name.stem, held=True))
    except ClaimLostError as error:
        return Problem(filename, error.what, error.todo)
    finally:
        claim.release()
    return None
