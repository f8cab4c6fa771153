"""`hold` and `release`: a run that waits is kept from being claimed, and let go again.

Both are one move of the token: ``a.yaml`` becomes ``a~held.yaml``, and back. It is made under the token's
lock, so that no worker claims what is being moved; the file keeps its time, and the run its place in the
queue.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_orchestration.actions import claims, selection
from job_orchestration.files import durable, history, token, views
from job_orchestration.model.errors import ClaimLostError, UsageError
from job_orchestration.model.event import HandedBack
from job_orchestration.model.problem import Problem, escaped
from job_orchestration.model.run import Place
from job_orchestration.rules.naming import TokenName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.files.history import RunRecord
    from job_orchestration.files.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of the runs that were to be held or released."""

    runs: tuple[str, ...]
    """Those that are now as they were asked to be."""
    refused: tuple[Problem, ...]
    """Why the others are not."""


def hold(workspace: Workspace, names: Sequence[str]) -> Moved:
    """Keep runs that wait from being claimed, until they are released.

    Raises:
        UsageError: when a name means no run, more than one, or one that does not wait.
        OSError: what the disk says; the runs that are not done yet stay as they were.
    """
    return _each(workspace, names, held=True)


def release(workspace: Workspace, names: Sequence[str]) -> Moved:
    """Let runs that were held be claimed again.

    Raises:
        UsageError: when a name means no run, more than one, or one that is not held.
        OSError: what the disk says; the runs that are not done yet stay as they were.
    """
    return _each(workspace, names, held=False)


def _each(workspace: Workspace, names: Sequence[str], *, held: bool) -> Moved:
    records = history.entries(workspace)
    chosen = {r.path: r for name in names for r in [_fit(records, name, held=held)]}
    runs: list[str] = []
    refused: list[Problem] = []
    for record in chosen.values():
        problem = _move(workspace, record, held=held)
        if problem is None:
            runs.append(record.run or record.config)
        else:
            refused.append(problem)
    return Moved(tuple(runs), tuple(refused))


def _fit(records: Sequence[RunRecord], name: str, *, held: bool) -> RunRecord:
    record = selection.one(records, name)
    place = record.place.replace("_", " ")
    if held and record.place not in {Place.TO_RUN, Place.INTERRUPTED, Place.HELD}:
        todo = "End it with: job-orchestration cancel" if record.place is Place.RUNNING else ""
        raise UsageError(
            f"{escaped(name)} does not wait: it is {place}", todo or "Only what waits can be held"
        )
    if not held and record.place not in {Place.TO_RUN, Place.HELD}:
        raise UsageError(f"{escaped(name)} is not held: it is {place}", "Only what is held can be released")
    return record


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
