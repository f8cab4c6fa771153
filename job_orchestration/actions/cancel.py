"""`cancel`: runs end now, and lie in Failed until somebody has them go on.

Nobody but its holder ends a run. One that is at work is asked, by a request that means this attempt and no
later one; its worker stops the task and files the run away. A run that waits, or whose worker died, has no
holder: it is claimed and filed away here. While somebody is asked the run may be handed back, or its worker
may die; so the same is tried again and again until the run has ended, in whatever way.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from job_orchestration.actions import claims, selection
from job_orchestration.engine import sweep
from job_orchestration.engine.herald import Herald
from job_orchestration.files import history, journal, opening, requests, searches, store, token, views
from job_orchestration.files.workspace import VARIABLE
from job_orchestration.model.errors import ClaimLostError, UsageError
from job_orchestration.model.event import Cancelled
from job_orchestration.model.problem import Problem, escaped
from job_orchestration.model.run import Outcome, Place, Status
from job_orchestration.rules import lifecycle, naming
from job_orchestration.rules.naming import TokenName

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from job_orchestration.actions.selection import Choice
    from job_orchestration.files.history import RunRecord
    from job_orchestration.files.searches import Order
    from job_orchestration.files.token import Claim
    from job_orchestration.files.workspace import Workspace

PATIENCE: Final = 10.0
"""Seconds that a holder's answer is waited for: more than it takes to end a task that does not listen."""
_LOOK_AGAIN: Final = 0.05
_LOG: Final = logging.getLogger(__name__)
_REASON: Final = "cancelled on request"


@dataclass(slots=True)
class Ended:
    """What became of the runs that were to end."""

    runs: list[str] = field(default_factory=list)
    """Those that are cancelled and lie in Failed."""
    asked: list[str] = field(default_factory=list)
    """Those whose holder has been asked and has not answered yet."""
    refused: list[Problem] = field(default_factory=list)
    """Why the others are not: they had ended before, or are no runs of ours."""
    searches: list[str] = field(default_factory=list)
    """Searches that open no more trials."""


def cancel(workspace: Workspace, choice: Choice, reason: str = _REASON, patience: float = PATIENCE) -> Ended:
    """End some runs; `retry` has them go on from their checkpoint.

    Args:
        workspace: with all its folders in place.
        choice: the runs; of those that a glob, a status or a filter means, the ones that have not ended. The
            name of a search, or the folder of its trials, means the search with all of them.
        reason: what their journals say about it.
        patience: seconds that the holders' answers are waited for.

    Raises:
        UsageError: when it says nothing, or a name means no run, more than one, or one that is not queued
            or has ended.
        OSError: what the disk says; the runs that are not done yet stay as they were, or are asked.
    """
    records = history.entries(workspace)
    wanted = _searches_in(workspace, records, choice)
    rest = replace(choice, names=tuple(name for name in choice.names if name not in wanted))
    for name in selection.plain_names(records, rest):
        _insist_on_life(selection.one(records, name), name)
    chosen = selection.chosen(workspace, records, rest) if rest.names or not wanted else []
    requests.settle_late(workspace)
    ended = Ended()
    herald = Herald(workspace, socket.gethostname(), _LOG.warning)
    if wanted:
        _end_searches(workspace, wanted.values(), ended)
        records = history.entries(workspace)  # it may have opened some meanwhile
        bases = tuple(f"{order.base}/" for order in wanted.values())
        chosen += [r for r in records if (r.run or "").startswith(bases)]
    alive = {record.run: record for record in chosen if _is_alive(record)}
    left = [_Ending(workspace, record, reason, herald) for record in alive.values()]
    deadline = time.monotonic() + patience
    while True:
        left = [ending for ending in left if not ending.turn(ended)]
        if not left or time.monotonic() >= deadline:
            break
        time.sleep(_LOOK_AGAIN)
    ended.asked += [ending.run for ending in left]
    return ended


def _searches_in(workspace: Workspace, records: Sequence[RunRecord], choice: Choice) -> dict[str, Order]:
    """The names of a choice that mean searches; a run of such a name, if it has not ended, comes first."""
    if choice.statuses or choice.filter is not None:
        return {}
    found = {name: searches.named(workspace, name) for name in choice.names}
    return {
        name: order
        for name, order in found.items()
        if order is not None and not any(_is_meant(record, name, order) for record in records)
    }


def _is_meant(record: RunRecord, name: str, order: Order) -> bool:
    """Whether a name means a run that is none of the search's trials."""
    is_trial = (record.run or "").startswith(f"{order.base}/")
    return not is_trial and _is_alive(record) and naming.stem_of(name) in {record.run, *record.names}


def _end_searches(workspace: Workspace, orders: Iterable[Order], ended: Ended) -> None:
    with opening.only_one(workspace):
        for order in orders:
            if not searches.has_ended(workspace, order.name):
                searches.end(workspace, order)
                ended.searches.append(order.name)


def _is_alive(record: RunRecord) -> bool:
    return record.run is not None and record.place not in {Place.SOURCES, Place.COMPLETED, Place.FAILED}


def _insist_on_life(record: RunRecord, name: str) -> None:
    if record.place is Place.SOURCES or record.run is None:
        raise UsageError(
            f"{escaped(name)} is not queued", "Take its file out of ConfigSources, and it never will be"
        )
    if record.place in {Place.COMPLETED, Place.FAILED}:
        raise UsageError(
            f"{escaped(name)} has ended already: it is {record.place.said}", "There is nothing to cancel"
        )


class _Ending:
    """One run on its way to its end."""

    def __init__(self, workspace: Workspace, record: RunRecord, reason: str, herald: Herald) -> None:
        assert record.run is not None
        self.run = record.run
        self._workspace = workspace
        self._path = record.path
        self._reason = reason
        self._herald = herald
        self._asked: str | None = None

    def turn(self, ended: Ended) -> bool:
        """Do what can be done now. Returns whether it is over; what became of the run is told then."""
        if not os.path.lexists(self._path) and not self._find():
            return False  # it is being moved at this moment
        if self._has_ended(ended):
            return True
        try:
            claim = claims.claim(self._workspace, self._path, "cancel")
        except token.UnfitTokenError as error:
            ended.refused.append(error.problem(os.path.basename(self._path)))
            return True
        if claim is not None:
            self._file_away(claim)
            return self._has_ended(ended)
        if os.path.dirname(self._path) == self._workspace.running and self._asked != self._path:
            requests.ask(self._workspace, self._path, self._reason)
            self._asked = self._path
        return False

    def _find(self) -> bool:
        folders = self._workspace.folders
        for place in (Place.TO_RUN, Place.RUNNING, Place.COMPLETED, Place.FAILED):
            for found in token.scan(folders[place]):
                if token.run_of(found.path) == self.run:
                    self._path = found.path
                    return True
        return False

    def _file_away(self, claim: Claim) -> None:
        """End a run without a holder; should this process die, a worker does what its journal says."""
        try:
            if os.path.dirname(self._path) == self._workspace.running:
                written = os.path.dirname(claim.journal.path)
                sweep.kill_marked(claim.run, self._workspace.root, VARIABLE, written)
            store.clear_partial(claim.run_folder)
            if claim.state.status not in {Status.COMPLETE, Status.FAILED}:
                claim.write(Cancelled(self._reason), sync=True)
            views.write_status(claim.run_folder, claim.state)
            place = Place.COMPLETED if claim.state.status is Status.COMPLETE else Place.FAILED
            self._herald.tell(claim, lifecycle.FileAway(place))
            self._path = claim.move(self._workspace.folders[place], TokenName(claim.name.stem))
        except ClaimLostError:
            pass  # somebody took it away by hand; the next turn looks where it is
        finally:
            claim.release()

    def _has_ended(self, ended: Ended) -> bool:
        """Whether the token lies where a run's life ends; then it is told how."""
        if os.path.dirname(self._path) in {self._workspace.to_run, self._workspace.running}:
            return False
        if self._asked is not None:
            requests.settle(self._workspace, self._asked)
        state = lifecycle.fold(journal.read(self._workspace.run_folder(self.run)))
        if state.outcome is Outcome.CANCELLED:
            ended.runs.append(self.run)
            return True
        how = "completed" if state.status is Status.COMPLETE else "failed"
        ended.refused.append(
            Problem(
                os.path.basename(self._path), f"The run {self.run} had {how} before it could be cancelled"
            )
        )
        return True
