"""``Misc/trash/``: what was replaced or removed, until somebody empties it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from job_orchestration.files import durable, journal, store, token
from job_orchestration.files.opening import CONFIG, PROVENANCE, enclosed_run
from job_orchestration.model.run import Place, Status
from job_orchestration.rules import lifecycle
from job_orchestration.rules.naming import Fault, numbered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.run import RunState

_IDENTITY: Final = frozenset({CONFIG, PROVENANCE, "journal", "status.yaml"})
"""What is not output in a run's folder, or is only a view."""


def put_away(workspace: Workspace, run: str) -> Fault | None:
    """Move a finished run out of the way, its token first; a queued or running one is never touched.

    Returns:
        Why it could not be moved, if it could not.
    """
    folder = workspace.run_folder(run)
    inside = enclosed_run(workspace, run)
    if inside is not None:
        return Fault(
            f"the run {inside} lies inside Output/{run}", "Choose an outputDir that no other run lies in"
        )
    with ExitStack() as locks:
        tokens = _tokens(workspace, run, Place.COMPLETED, Place.FAILED)
        for found in tokens:
            try:
                descriptor = token.lock(found.path)
            except token.UnfitTokenError as error:
                return Fault(f"{found.filename} is in the way: {error.what}", error.todo)
            if descriptor is None:
                return Fault(f"somebody is working on the run {run}", "Try again when that has ended")
            locks.callback(os.close, descriptor)
        if not _has_ended(workspace, run):
            return Fault(
                f"the run {run} is still queued or running",
                "Wait until it has ended, or use another outputDir",
            )
        _move(workspace, folder, tokens)
    return None


def _has_ended(workspace: Workspace, run: str) -> bool:
    """Whether nobody will go on with a run whose tokens, where it has any, are locked by us.

    Somebody who asks a failed run to go on has its token in Running until the journal says so; therefore
    Running is looked at first.
    """
    if _tokens(workspace, run, Place.RUNNING):
        return False
    events = journal.read(workspace.run_folder(run))
    return not events or lifecycle.fold(events).status in {Status.COMPLETE, Status.FAILED}


def _move(workspace: Workspace, folder: str, tokens: Sequence[token.Token]) -> None:
    place = _new_place(workspace)
    for found in tokens:
        durable.move_new(found.path, os.path.join(place, found.filename))
    durable.rename_folder(folder, os.path.join(place, os.path.basename(folder)))


def _new_place(workspace: Workspace) -> str:
    """A new folder in the trash, named after the moment."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    bin_ = os.path.join(workspace.misc, "trash")
    durable.make_folder(bin_)
    place = os.path.join(bin_, numbered(stamp, lambda name: os.path.lexists(os.path.join(bin_, name))))
    durable.make_folder(place)
    return place


def put_output_away(workspace: Workspace, run: str, state: RunState) -> None:
    """Do with a run's old output what was asked when it was requeued; doing it again changes nothing.

    A run that begins anew keeps what says what it is: its config, its provenance, and its journal. One that
    goes on from a task loses the mid-way checkpoints of that task and of those behind it.
    """
    asked = state.requeued
    if asked is None:
        return
    folder = workspace.run_folder(run)
    if asked.fresh:
        names = [name for name in os.listdir(folder) if name not in _IDENTITY]
    else:
        ids = [task.id for task in state.tasks]
        names = [os.path.join(store.RESUME, id_) for id_ in ids[ids.index(asked.task or "") :]]
    found = [name for name in names if os.path.lexists(os.path.join(folder, name))]
    if not found:
        return
    place = os.path.join(_new_place(workspace), os.path.basename(folder))
    for name in found:
        target = os.path.join(place, name)
        durable.make_folder(os.path.dirname(target))
        durable.rename_folder(os.path.join(folder, name), target)


def _tokens(workspace: Workspace, run: str, *places: Place) -> list[token.Token]:
    return [
        t for place in places for t in token.scan(workspace.folders[place]) if token.run_of(t.path) == run
    ]
