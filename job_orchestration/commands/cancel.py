"""`cancel`: end runs now and move them to Failed, where `retry` can resume them.

Only the holder of a run ends it. For a running run, a request is written that names the current attempt; its
worker stops the task and moves the run to Failed. A run that is waiting, or whose worker died, has no holder:
this command claims it and moves it. A worker may release the run or die before it answers, so the command
repeats these steps until the run has ended in some way.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from job_orchestration.commands import changes, selection
from job_orchestration.diagnostics.errors import ClaimLostError
from job_orchestration.diagnostics.problems import Fault, Problem
from job_orchestration.notifications.publisher import Publisher
from job_orchestration.processes import reaper
from job_orchestration.runs import (
    artifact_store,
    cancel_requests,
    catalog,
    claims,
    journal,
    lifecycle,
    opening,
    status_file,
    token,
    token_header,
)
from job_orchestration.runs.events import Cancelled, Outcome
from job_orchestration.runs.outlived_locks import OutlivedLocks
from job_orchestration.runs.state import Status
from job_orchestration.search import searches
from job_orchestration.workspace import naming
from job_orchestration.workspace.layout import FINAL_PLACES, TOKEN_PLACES, VARIABLE, Place
from job_orchestration.workspace.naming import TokenName

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from job_orchestration.commands.selection import Selection
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.runs.claims import Claim
    from job_orchestration.search.searches import SearchOrder
    from job_orchestration.workspace.layout import Workspace

PATIENCE: Final = 10.0
"""Seconds to wait for a worker: longer than it takes to kill a task that ignores SIGTERM."""
_LOOK_AGAIN: Final = 0.05
_LOG: Final = logging.getLogger(__name__)
_REASON: Final = "cancelled on request"


@dataclass(slots=True)
class CancelResult:
    """Result of `cancel`, run by run."""

    runs: list[str] = field(default_factory=list)
    """Runs that were cancelled and are in Failed."""
    asked: list[str] = field(default_factory=list)
    """Runs whose worker has a request and has not answered yet."""
    refused: list[Problem] = field(default_factory=list)
    """A problem for each other run: it had ended before, or its token is unfit."""
    searches: list[str] = field(default_factory=list)
    """Searches that were ended: they open no more trials."""


def cancel(
    workspace: Workspace, choice: Selection, reason: str = _REASON, patience: float = PATIENCE
) -> CancelResult:
    """Cancel runs; `retry` resumes them from their checkpoint.

    Args:
        workspace: with all its folders in place.
        choice: the runs; a glob, a status or a filter selects only runs that have not ended. The name of a
            search, or the folder of its trials, selects the search with all its trials.
        reason: recorded in the journals.
        patience: seconds to wait for the workers.

    Raises:
        UsageError: if a name matches no run, or more than one.
        OSError: the disk failed; the remaining runs are unchanged, or their workers have a request.
    """
    records = catalog.entries(workspace)
    wanted = _searches_in(workspace, records, choice)
    rest = replace(choice, names=tuple(name for name in choice.names if name not in wanted))
    _, unsuited = changes.suited(records, rest, _fault_of)
    chosen = selection.chosen(workspace, records, rest) if rest.names or not wanted else []
    cancel_requests.settle_late(workspace)
    ended = CancelResult(refused=unsuited)
    publisher = Publisher(workspace, socket.gethostname(), _LOG.warning)
    if wanted:
        _end_searches(workspace, wanted.values(), ended)
        records = catalog.entries(workspace)  # it may have opened some meanwhile
        bases = tuple(f"{order.base}/" for order in wanted.values())
        chosen += [r for r in records if (r.run or "").startswith(bases)]
    alive = {record.run: record for record in chosen if _is_alive(record)}
    left = [_Ending(workspace, record, reason, publisher) for record in alive.values()]
    deadline = time.monotonic() + patience
    while True:
        left = [ending for ending in left if not ending.turn(ended)]
        if not left or time.monotonic() >= deadline:
            break
        time.sleep(_LOOK_AGAIN)
    ended.asked += [ending.run for ending in left]
    return ended


def _searches_in(
    workspace: Workspace, records: Sequence[RunRecord], choice: Selection
) -> dict[str, SearchOrder]:
    """Return the searches that a selection names; a live run of the same name takes precedence."""
    if choice.statuses or choice.filter is not None:
        return {}
    found = {name: searches.named(workspace, name) for name in choice.names}
    return {
        name: order
        for name, order in found.items()
        if order is not None and not any(_is_meant(record, name, order) for record in records)
    }


def _is_meant(record: RunRecord, name: str, order: SearchOrder) -> bool:
    """Return whether a name matches a live run that is not a trial of the search."""
    is_trial = (record.run or "").startswith(f"{order.base}/")
    return not is_trial and _is_alive(record) and naming.stem_of(name) in {record.run, *record.names}


def _end_searches(workspace: Workspace, search_orders: Iterable[SearchOrder], ended: CancelResult) -> None:
    with opening.only_one(workspace):
        for order in search_orders:
            if not searches.has_ended(workspace, order.name):
                searches.end(workspace, order)
                ended.searches.append(order.name)


def _is_alive(record: RunRecord) -> bool:
    return record.run is not None and record.place not in {Place.SOURCES, *FINAL_PLACES}


def _fault_of(record: RunRecord) -> Fault | None:
    if record.place is Place.SOURCES or record.run is None:
        return Fault("is not queued", "Take its file out of ConfigSources, and it never will be")
    if record.place in FINAL_PLACES:
        return Fault(f"has ended already: it is {record.place.said}", "There is nothing to cancel")
    return None


class _Ending:
    """Cancel one run, step by step."""

    def __init__(self, workspace: Workspace, record: RunRecord, reason: str, publisher: Publisher) -> None:
        assert record.run is not None
        self.run = record.run
        self._workspace = workspace
        self._path = record.path
        self._reason = reason
        self._publisher = publisher
        self._asked: str | None = None
        self._outlived_locks = OutlivedLocks(_LOG.warning)

    def turn(self, ended: CancelResult) -> bool:
        """Take the next possible step; return whether that was the last, and is recorded in `ended`."""
        has_ended = False

        def step() -> None:
            nonlocal has_ended
            has_ended = self._step(ended)

        problem = changes.guarded(self._workspace, os.path.basename(self._path), step)
        if problem is not None:
            ended.refused.append(problem)
        return has_ended or problem is not None

    def _step(self, ended: CancelResult) -> bool:
        if not os.path.lexists(self._path) and not self._find():
            return False  # it is being moved at this moment
        if self._has_ended(ended):
            return True
        try:
            claim = claims.claim_briefly(self._workspace, self._path, "cancel")
        except claims.UnfitTokenError as error:
            ended.refused.append(error.problem(os.path.basename(self._path)))
            return True
        if claim is not None:
            self._finish_without_holder(claim)
            return self._has_ended(ended)
        if os.path.dirname(self._path) == self._workspace.running and self._asked != self._path:
            cancel_requests.ask(self._workspace, self._path, self._reason)
            self._asked = self._path
        self._outlived_locks.look(self._path)
        return False

    def _find(self) -> bool:
        folders = self._workspace.folders
        for place in TOKEN_PLACES:
            for found in token.scan(folders[place]):
                if token_header.run_of(found.path) == self.run:
                    self._path = found.path
                    return True
        return False

    def _finish_without_holder(self, claim: Claim) -> None:
        """End a run without a holder; should this process die, a worker does what its journal says."""
        try:
            if os.path.dirname(self._path) == self._workspace.running:
                written = os.path.dirname(claim.journal.path)
                reaper.kill_marked(claim.run, self._workspace.root, VARIABLE, written)
            artifact_store.clear_partial(claim.run_folder)
            if claim.state.status not in {Status.COMPLETE, Status.FAILED}:
                claim.write(Cancelled(self._reason), sync=True)
            status_file.write_status(claim.run_folder, claim.state)
            place = Place.COMPLETED if claim.state.status is Status.COMPLETE else Place.FAILED
            self._publisher.publish(claim, lifecycle.FinalMove(place))
            self._path = claim.move(self._workspace.folders[place], TokenName(claim.name.stem))
        except ClaimLostError:
            pass  # it was moved by hand; the next turn finds it
        finally:
            claim.release()

    def _has_ended(self, ended: CancelResult) -> bool:
        """Return whether the token is in a final place; if so, record the outcome in `ended`."""
        if os.path.dirname(self._path) in {self._workspace.to_run, self._workspace.running}:
            return False
        if self._asked is not None:
            cancel_requests.settle(self._workspace, self._asked)
        try:
            state = lifecycle.fold(journal.read(self._workspace.run_folder(self.run)))
        except OSError as error:
            filename = os.path.basename(self._path)
            ended.refused.append(changes.unreadable_problem(self._workspace, filename, error))
            return True
        if state.outcome is Outcome.CANCELLED:
            ended.runs.append(self.run)
            return True
        pruned = state.outcome is Outcome.PRUNED
        how = "completed" if state.status is Status.COMPLETE else "been pruned" if pruned else "failed"
        ended.refused.append(
            Problem(
                os.path.basename(self._path), f"The run {self.run} had {how} before it could be cancelled"
            )
        )
        return True
