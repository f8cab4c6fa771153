"""`gc`: what may go, and letting it go.

Completed runs go to the trash when a policy or their name says so, and come back by `restore`. What can be
made again, or is of no use to anybody, goes for good: snapshots that no queued or failed run needs, caches,
task checkpoints of completed runs, and what dead processes left. The store of code is never touched, for any
run may be wanted again. A look changes and locks nothing.

What was looked at may have changed when it is to go. So each run is looked at once more under the locks of
`ready` and of its token; snapshots, all of them, under that of `ready`, which alone makes a commit needed
that was not.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.actions import selection
from job_orchestration.actions.selection import EVERYTHING, Choice
from job_orchestration.engine import residents
from job_orchestration.files import account, history, journal, litter, opening, trash
from job_orchestration.files.code import CodeStore
from job_orchestration.files.store import PARTIAL, RESUME
from job_orchestration.model.errors import UsageError
from job_orchestration.model.problem import Problem, escaped
from job_orchestration.model.run import Place, Status
from job_orchestration.rules import keeping, lifecycle
from job_orchestration.rules.keeping import Policy

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from job_orchestration.files.history import RunRecord
    from job_orchestration.files.token import Token
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.run import RunState
    from job_orchestration.rules.filtering import Filter

_ENDS: Final = frozenset({Place.COMPLETED, Place.FAILED})


class Kind(StrEnum):
    """What can go."""

    RUN = "run"
    CHECKPOINTS = "task checkpoints"
    SNAPSHOT = "snapshot"
    BYTECODE = "bytecode"
    ABANDONED = "abandoned"
    BEAT = "beat"
    POOL = "pool"
    TRASH = "trash"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that can go, or has gone."""

    kind: Kind
    name: str
    """The run, or the path in the workspace."""
    path: str
    bytes: int
    ended_at: str | None = None
    """Of a run: when it ended, so that nobody takes another one for it."""

    @property
    def to_trash(self) -> bool:
        """Whether it goes to the trash, where it takes as much space as before."""
        return self.kind is Kind.RUN

    def as_json(self) -> dict[str, Any]:
        """The item as ``gc --json`` shows it."""
        to = "trash" if self.to_trash else None
        return {"kind": str(self.kind), "name": self.name, "bytes": self.bytes, "to": to}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants to be rid of."""

    runs: tuple[str, ...] = ()
    """Runs by name or glob, completed or failed: only these, as far as the policy lets them go."""
    policy: Policy = field(default_factory=Policy)
    empty_trash: bool = False
    """Only what has been in the trash for longer than the policy's time."""
    statuses: frozenset[str] = frozenset()
    filter: Filter | None = None
    """Both narrow down the runs, as in every verb that takes some."""

    @property
    def choice(self) -> Choice:
        """The runs that were asked for."""
        return Choice(self.runs, self.statuses, self.filter)


@dataclass(frozen=True, slots=True)
class Collected:
    """What has gone."""

    items: tuple[Item, ...]
    refused: tuple[Problem, ...]
    """What stayed although it could go, and why."""
    mended: tuple[str, ...]
    """Runs that an earlier `gc` or `restore` had moved half-way; they are back."""


def look(workspace: Workspace, wanted: Wanted) -> list[Item]:
    """What would go; nothing is changed or locked.

    Raises:
        UsageError: when a name or a metric means nothing, or what is wanted contradicts itself.
    """
    if wanted.empty_trash:
        return _old_trash(workspace, wanted)
    records = history.entries(workspace)
    if wanted.choice != EVERYTHING:
        named = _named(workspace, records, wanted.choice)
        _refuse_needed(named, _needed_by_others(records, named))
        return _runs(workspace, named, wanted.policy)
    needed = _needed_by_others(records)
    completed = {r.run: r.state for r in records if r.run and r.state and _is_completed(r)}
    policy = wanted.policy
    runs = _runs(workspace, completed, policy) if policy != Policy() else []
    runs = [item for item in runs if item.name not in needed]
    going = {item.name for item in runs}
    return [
        *runs,
        *_checkpoints(workspace, {r: s for r, s in completed.items() if r not in going}, policy),
        *_snapshots(workspace, records),
        *_rubbish(workspace),
    ]


def _is_completed(record: RunRecord) -> bool:
    done = record.state is not None and record.state.status is Status.COMPLETE
    return record.place is Place.COMPLETED and done and not record.former


def _named(workspace: Workspace, records: Sequence[RunRecord], choice: Choice) -> dict[str, RunState]:
    """The runs of a choice that have ended; whoever names one that has not is told so."""
    plain = {selection.one(records, name).path: name for name in selection.plain_names(records, choice)}
    found: dict[str, RunState] = {}
    for record in selection.chosen(workspace, records, choice):
        if record.path in plain:
            _require_ended(record, plain[record.path])
        if record.place in _ENDS and not record.former and record.run and record.state:
            found[record.run] = record.state
    return found


def _require_ended(record: RunRecord, name: str) -> None:
    if record.former:
        raise UsageError(f"The first Job Orchestration made {escaped(name)}", "Move its files away by hand")
    if record.place not in _ENDS or record.state is None:
        raise UsageError(
            f"{escaped(name)} has not ended: it is {record.place.said}", "Only a run that has ended can go"
        )


def _needed_by_others(records: Sequence[RunRecord], going: Collection[str] = ()) -> dict[str, str]:
    """The runs that others come after which may still start, each with one of those.

    A failed run may too: `retry` asks anew whether what it comes after has completed.
    """
    waiting = [r for r in records if r.place is not Place.COMPLETED and r.run not in going]
    return {run: r.run for r in waiting if r.run and r.summary is not None for run in r.summary.after}


def _refuse_needed(named: Collection[str], needed: Mapping[str, str]) -> None:
    for run in named:
        if run in needed:
            raise UsageError(
                f"{escaped(needed[run])} comes after {escaped(run)} and has not completed",
                "Let that one complete first",
            )


def _runs(workspace: Workspace, states: Mapping[str, RunState], policy: Policy) -> list[Item]:
    return [
        Item(Kind.RUN, run, folder, litter.size_of(folder), states[run].ended_at)
        for run in keeping.may_go(states, policy, datetime.now(UTC))
        for folder in [workspace.run_folder(run)]
    ]


def _checkpoints(workspace: Workspace, states: Mapping[str, RunState], policy: Policy) -> list[Item]:
    """What tasks kept for a resume that will never be."""
    now = datetime.now(UTC)
    return [
        Item(Kind.CHECKPOINTS, run, path, litter.size_of(path), state.ended_at)
        for run, state in states.items()
        for name in (RESUME, PARTIAL)
        if os.path.isdir(path := os.path.join(workspace.run_folder(run), name))
        and keeping.is_old(state, policy.older_than, now)
    ]


def _snapshots(workspace: Workspace, records: Sequence[RunRecord]) -> list[Item]:
    """The snapshots that nobody needs soon, nobody works in, and that can be made again."""
    found = litter.snapshots(workspace)
    if not found or not residents.are_all_seen(workspace):
        return []
    unended = [r for r in records if r.place is not Place.COMPLETED]
    needed = {r.state.code.commit for r in unended if r.state and r.state.code}
    working = residents.working_folders()
    store = CodeStore(Path(workspace.misc))
    return [
        _item(workspace, Kind.SNAPSHOT, path)
        for commit, path in found.items()
        if commit not in needed and store.has(commit) and not residents.is_used(path, working)
    ]


def _rubbish(workspace: Workspace) -> list[Item]:
    cache = litter.bytecode(workspace)
    return [
        *([_item(workspace, Kind.BYTECODE, cache)] if cache else []),
        *(_item(workspace, Kind.ABANDONED, path) for path in litter.abandoned(workspace)),
        *(_item(workspace, Kind.BEAT, path) for path in litter.stale_beats(workspace)),
        *(_item(workspace, Kind.POOL, path) for path in account.left_behind(workspace, litter.ABANDONED)),
    ]


def _old_trash(workspace: Workspace, wanted: Wanted) -> list[Item]:
    limit = wanted.policy.older_than
    if limit is None or wanted.policy.keeps or wanted.choice != EVERYTHING:
        raise UsageError(
            "The trash is emptied by age alone", "Write, for instance: gc --empty-trash --older-than 30d"
        )
    now = datetime.now(UTC)
    return [
        _item(workspace, Kind.TRASH, found.path)
        for found in trash.contents(workspace)
        if found.at is not None and (now - found.at).total_seconds() > limit
    ]


def _item(workspace: Workspace, kind: Kind, path: str) -> Item:
    return Item(kind, os.path.relpath(path, workspace.root), path, litter.size_of(path))


# -- letting go -------------------------------------------------------------------------------------------


def collect(workspace: Workspace, wanted: Wanted) -> Collected:
    """Let go what `look` finds.

    Args:
        workspace: with all its folders in place.
        wanted: what may go.

    Raises:
        UsageError: as `look` does, before anything has gone.
    """
    items = look(workspace, wanted)
    with opening.only_one(workspace):
        mended = trash.settle(workspace)
    tokens = trash.tokens_of_ended(workspace) if any(i.kind is Kind.RUN for i in items) else {}
    gone: list[Item] = []
    refused: list[Problem] = []
    for item in items:
        if item.kind is Kind.SNAPSHOT:
            continue
        try:
            problem = _let_go(workspace, item, tokens)
        except FileNotFoundError:
            continue  # somebody else cleaned too
        except OSError as error:
            problem = _problem(item, error)
        if problem is None:
            gone.append(item)
        else:
            refused.append(problem)
    _let_snapshots_go(workspace, {i.path for i in items if i.kind is Kind.SNAPSHOT}, gone, refused)
    return Collected(tuple(gone), tuple(refused), tuple(mended))


def _let_snapshots_go(
    workspace: Workspace, paths: set[str], gone: list[Item], refused: list[Problem]
) -> None:
    aside: list[str] = []
    with opening.only_one(workspace):
        for item in _snapshots(workspace, history.entries(workspace)) if paths else []:
            if item.path in paths:
                try:
                    aside.append(litter.set_aside(workspace, item.path))
                except OSError as error:
                    refused.append(_problem(item, error))
                else:
                    gone.append(item)
    for scratch in aside:
        litter.remove(scratch)


def _problem(item: Item, error: OSError) -> Problem:
    return Problem(item.name, error.strerror or str(error), "Mend that and try again")


def _let_go(workspace: Workspace, item: Item, tokens: Mapping[str, Sequence[Token]]) -> Problem | None:
    """Take one thing out of its place, as one step, and then apart; returns why it stays, if it does."""
    if item.kind in {Kind.ABANDONED, Kind.BEAT}:
        litter.remove(item.path)
        return None
    if item.kind is Kind.POOL:
        return None if account.clear(item.path) else Problem(item.name, "It is in use", "Look again")
    with opening.only_one(workspace):
        if item.kind in {Kind.RUN, Kind.CHECKPOINTS}:
            state = lifecycle.fold(journal.read(workspace.run_folder(item.name)))
            if state.ended_at != item.ended_at:
                return Problem(item.name, "Somebody did it anew in the meantime", "Look again")
        if item.kind is Kind.RUN:
            fault = trash.put_away(workspace, item.name, tokens)
            return Problem(item.name, fault.what, fault.todo) if fault else None
        scratch = litter.set_aside(workspace, item.path)
    litter.remove(scratch)
    return None
