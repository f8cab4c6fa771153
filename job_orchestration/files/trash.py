"""``Misc/trash/``: what was replaced or removed, until somebody empties it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from job_orchestration.files import durable, journal, token
from job_orchestration.files.opening import enclosed_run
from job_orchestration.model.run import Place, Status
from job_orchestration.rules import lifecycle
from job_orchestration.rules.naming import Fault, numbered

if TYPE_CHECKING:
    from job_orchestration.files.workspace import Workspace


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
    state = lifecycle.fold(journal.read(folder))
    if journal.attempts(folder) and state.status not in {Status.COMPLETE, Status.FAILED}:
        return Fault(
            f"the run {run} is still queued or running", "Wait until it has ended, or use another outputDir"
        )
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    bin_ = os.path.join(workspace.misc, "trash")
    durable.make_folder(bin_)
    place = os.path.join(bin_, numbered(stamp, lambda name: os.path.lexists(os.path.join(bin_, name))))
    durable.make_folder(place)
    for found in _tokens(workspace, run):
        descriptor = token.lock(found.path)
        if descriptor is None:
            return Fault(f"somebody is working on the run {run}", "Try again when that has ended")
        try:
            durable.move_new(found.path, os.path.join(place, found.filename))
        finally:
            os.close(descriptor)
    durable.rename_folder(folder, os.path.join(place, os.path.basename(run)))
    return None


def _tokens(workspace: Workspace, run: str) -> list[token.Token]:
    ended = (Place.COMPLETED, Place.FAILED)
    return [t for place in ended for t in token.scan(workspace.folders[place]) if token.run_of(t.path) == run]
