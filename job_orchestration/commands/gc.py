"""`gc`: list what can be deleted, and delete it.

Completed runs go to the trash if a policy or a name selects them; `restore` brings them back. Reproducible or
useless data is deleted for good: snapshots that no queued or failed run needs, caches, task checkpoints of
completed runs, and leftovers of dead processes. The code store is never touched, because any run may be
rerun. `look` changes and locks nothing.

The workspace may change between `look` and deletion. So each run is checked again under the locks of `ready`
and of its token, and all snapshots under the lock of `ready`, since only `ready` can make a commit needed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.code import checkouts
from job_orchestration.code.snapshots import CodeStore
from job_orchestration.commands import changes, selection
from job_orchestration.commands.selection import EVERYTHING, Selection
from job_orchestration.config.settings import parse_size, shown
from job_orchestration.config.workspace_defaults import defaults
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import Fault, Problem, escaped
from job_orchestration.housekeeping import garbage, retention
from job_orchestration.housekeeping.retention import Policy
from job_orchestration.queue import resource_pool
from job_orchestration.runs import catalog, journal, lifecycle, opening, reuse_index, trash
from job_orchestration.runs.artifact_store import PARTIAL, RESUME
from job_orchestration.runs.state import Status
from job_orchestration.workspace import clock, data_cache, locks, safe_reads, temporary_files
from job_orchestration.workspace.layout import FINAL_PLACES, Place

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from job_orchestration.config.expressions import Filter
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.runs.state import RunState
    from job_orchestration.runs.token import Token
    from job_orchestration.workspace.layout import Workspace

CACHE_LIMIT: Final = 10 * 10**9
"""Bytes of ``Misc/cache``, if ``workspace.yaml`` has no ``cacheLimit``."""


class Kind(StrEnum):
    """Kinds of deletable items."""

    RUN = "run"
    CHECKPOINTS = "task checkpoints"
    SNAPSHOT = "snapshot"
    ENVIRONMENT = "environment"
    BYTECODE = "bytecode"
    ABANDONED = "abandoned"
    HEARTBEAT = "beat"
    POOL = "pool"
    REUSE = "reuse"
    CACHE = "cache"
    TRASH = "trash"


@dataclass(frozen=True, slots=True)
class Item:
    """One item that can be deleted, or was."""

    kind: Kind
    name: str
    """The run, or the path in the workspace."""
    path: str
    bytes: int
    ended_at: str | None = None
    """Of a run: when it ended; distinguishes it from a later run of the same name."""

    @property
    def to_trash(self) -> bool:
        """Return whether it goes to the trash, which frees no space."""
        return self.kind is Kind.RUN

    def as_json(self) -> dict[str, Any]:
        """Return the item as ``gc --json`` prints it."""
        to = "trash" if self.to_trash else None
        return {"kind": str(self.kind), "name": self.name, "bytes": self.bytes, "to": to}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Request to `gc`: which runs and what else."""

    runs: tuple[str, ...] = ()
    """Names or globs of completed or failed runs: only these are deleted, if the policy allows it."""
    policy: Policy = field(default_factory=Policy)
    empty_trash: bool = False
    """Delete only trash that is older than the policy's age."""
    statuses: frozenset[str] = frozenset()
    filter: Filter | None = None
    """Both restrict the runs, as in every command that selects runs."""

    @property
    def choice(self) -> Selection:
        """Return the selection of runs."""
        return Selection(self.runs, self.statuses, self.filter)


@dataclass(frozen=True, slots=True)
class Collected:
    """Result of `gc`."""

    items: tuple[Item, ...]
    refused: tuple[Problem, ...]
    """A problem for each item that could not be deleted."""
    mended: tuple[str, ...]
    """Runs that an interrupted `gc` or `restore` had moved halfway, now restored."""


def look(workspace: Workspace, wanted: Wanted) -> list[Item]:
    """Return what would be deleted. Changes and locks nothing.

    Raises:
        UsageError: if a name or a metric is unknown, or the request contradicts itself.
    """
    if wanted.empty_trash:
        return _old_trash(workspace, wanted)
    records = catalog.entries(workspace)
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
        *_environments(workspace, records),
        *_cache(workspace),
        *_garbage(workspace),
    ]


def _is_completed(record: RunRecord) -> bool:
    done = record.state is not None and record.state.status is Status.COMPLETE
    return record.place is Place.COMPLETED and done and not record.is_first_release


def _named(workspace: Workspace, records: Sequence[RunRecord], choice: Selection) -> dict[str, RunState]:
    """Return the ended runs of a selection; a plain name of any other run is an error."""
    changes.require(records, choice, _fault_of)
    return {
        record.run: record.state
        for record in selection.chosen(workspace, records, choice)
        if record.place in FINAL_PLACES and not record.is_first_release and record.run and record.state
    }


def _fault_of(record: RunRecord) -> Fault | None:
    if record.is_first_release:
        return Fault("is a run of the first Job Orchestration", "Move its files yourself")
    if record.place in FINAL_PLACES and record.state is None and record.unreadable is not None:
        return Fault(f"is unreadable: {record.unreadable.what}", record.unreadable.todo)
    if record.place not in FINAL_PLACES or record.state is None:
        return Fault(f"has not ended: it is {record.place.said}", "Only a run that has ended can go")
    return None


def _needed_by_others(records: Sequence[RunRecord], going: Collection[str] = ()) -> dict[str, str]:
    """Map each run that unfinished runs depend on to one of its dependents.

    Failed runs count as well: `retry` checks again that their dependencies have completed.
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
        Item(Kind.RUN, run, folder, garbage.size_of(folder), states[run].ended_at)
        for run in retention.may_go(states, policy, clock.now())
        for folder in [workspace.run_folder(run)]
    ]


def _checkpoints(workspace: Workspace, states: Mapping[str, RunState], policy: Policy) -> list[Item]:
    """Return resume data of tasks whose runs have completed."""
    now = clock.now()
    return [
        Item(Kind.CHECKPOINTS, run, path, garbage.size_of(path), state.ended_at)
        for run, state in states.items()
        for name in (RESUME, PARTIAL)
        if os.path.isdir(path := os.path.join(workspace.run_folder(run), name))
        and retention.is_old(state, policy.older_than, now)
    ]


def _snapshots(workspace: Workspace, records: Sequence[RunRecord]) -> list[Item]:
    """Return snapshots that are reproducible, not in use, and not needed by an unfinished run."""
    found = garbage.snapshots(workspace)
    if not found or not garbage.are_all_seen(workspace):
        return []
    unended = [r for r in records if r.place is not Place.COMPLETED]
    needed = {r.state.code.commit for r in unended if r.state and r.state.code}
    working = garbage.working_folders()
    held = locks.held_inodes(workspace.misc)
    store = CodeStore(Path(workspace.misc))
    return [
        _item(workspace, Kind.SNAPSHOT, path)
        for commit, path in found.items()
        if commit not in needed and store.has(commit) and not garbage.is_used(path, working, held)
    ]


def _environments(workspace: Workspace, records: Sequence[RunRecord]) -> list[Item]:
    """Return environments of recorded packages that no unfinished run needs; they can be made again."""
    names = safe_reads.names_in(workspace.envs)
    if not names:
        return []
    from job_orchestration.executor import recorded_environments

    unended = [r.state for r in records if r.place is not Place.COMPLETED and r.state]
    wanted = [state.own_environment for state in unended if state.own_environment is not None]
    needed = {recorded_environments.folder_of(workspace, one) for one in wanted}
    paths = [path for name in names if (path := os.path.join(workspace.envs, name)) not in needed]
    return [_item(workspace, Kind.ENVIRONMENT, path) for path in paths]


def _cache(workspace: Workspace) -> list[Item]:
    """Return what tasks have parsed, as far as it is beyond the limit. Who has mapped it keeps it."""
    value = defaults(workspace)[0].get("cacheLimit")
    limit = CACHE_LIMIT if value is None else parse_size(value)
    if limit is None:
        raise UsageError(
            f"cacheLimit of workspace.yaml is {shown(value)}, not a size", "Write, for instance: 10G"
        )
    return [_item(workspace, Kind.CACHE, path) for path in data_cache.beyond(workspace.cache, limit)]


def _garbage(workspace: Workspace) -> list[Item]:
    cache = garbage.bytecode(workspace)
    return [
        *([_item(workspace, Kind.BYTECODE, cache)] if cache else []),
        *(_item(workspace, Kind.ABANDONED, path) for path in garbage.abandoned(workspace)),
        *(_item(workspace, Kind.HEARTBEAT, path) for path in garbage.stale_heartbeats(workspace)),
        *(_item(workspace, Kind.REUSE, path) for path in reuse_index.stale(workspace)),
        *(
            _item(workspace, Kind.POOL, path)
            for path in resource_pool.left_behind(workspace, garbage.ABANDONED)
        ),
    ]


def _old_trash(workspace: Workspace, wanted: Wanted) -> list[Item]:
    limit = wanted.policy.older_than
    if limit is None or wanted.policy.keeps or wanted.choice != EVERYTHING:
        raise UsageError(
            "The trash is emptied by age alone", "Write, for instance: gc --empty-trash --older-than 30d"
        )
    now = clock.now()
    ages = {e.path: (now - e.at).total_seconds() for e in trash.contents(workspace) if e.at is not None}
    return [_item(workspace, Kind.TRASH, path) for path, age in ages.items() if age > limit]


def _item(workspace: Workspace, kind: Kind, path: str) -> Item:
    return Item(kind, os.path.relpath(path, workspace.root), path, garbage.size_of(path))


# -- deletion -------------------------------------------------------------------------------------------


def collect(workspace: Workspace, wanted: Wanted) -> Collected:
    """Delete what `look` returns.

    Args:
        workspace: with all its folders in place.
        wanted: what to delete.

    Raises:
        UsageError: as `look`, before anything is deleted.
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
            problem = _delete(workspace, item, tokens)
        except FileNotFoundError:
            continue  # another gc deleted it
        except Exception as error:  # noqa: BLE001  # whatever it is, others may go, and a full disk needs that
            problem = changes.problem_of(workspace, item.name, error)
        if problem is None:
            gone.append(item)
        else:
            refused.append(problem)
    temporary_files.collect(workspace)  # those outside the workspace, which are not listed
    _delete_snapshots(workspace, {i.path for i in items if i.kind is Kind.SNAPSHOT}, gone, refused)
    return Collected(tuple(gone), tuple(refused), tuple(mended))


def _delete_snapshots(
    workspace: Workspace, paths: set[str], gone: list[Item], refused: list[Problem]
) -> None:
    aside: list[str] = []
    with opening.only_one(workspace):
        for item in _snapshots(workspace, catalog.entries(workspace)) if paths else []:
            if item.path in paths:
                try:
                    _keep_foreign_files(workspace, item)
                    scratch = garbage.set_unused_aside(workspace, item.path)
                except Exception as error:  # noqa: BLE001  # as above
                    refused.append(changes.problem_of(workspace, item.name, error))
                    continue
                if scratch is not None:
                    aside.append(scratch)
                    gone.append(item)
    for scratch in aside:
        garbage.remove(scratch)


def _keep_foreign_files(workspace: Workspace, item: Item) -> None:
    """Move what tasks or people wrote into a snapshot to the trash."""
    commit = os.path.basename(item.path)
    names = CodeStore(Path(workspace.misc)).foreign_files(commit)
    if names:
        files = {name: os.path.join(item.path, name) for name in names}
        with checkouts.unlocked(item.path):
            trash.put_files_away(workspace, f"snapshot {commit[:12]}", files)


def _delete(workspace: Workspace, item: Item, tokens: Mapping[str, Sequence[Token]]) -> Problem | None:
    """Rename one item out of its place, then delete it; return a problem if it has to stay."""
    if item.kind in {Kind.ABANDONED, Kind.HEARTBEAT, Kind.REUSE, Kind.CACHE}:
        garbage.remove(item.path)
        return None
    if item.kind is Kind.POOL:
        return None if resource_pool.clear(item.path) else Problem(item.name, "It is in use", "Look again")
    with opening.only_one(workspace):
        if item.kind in {Kind.RUN, Kind.CHECKPOINTS}:
            state = lifecycle.fold(journal.read(workspace.run_folder(item.name)))
            if state.ended_at != item.ended_at:
                return Problem(item.name, "The run has changed since it was listed", "Look again")
        if item.kind is Kind.ENVIRONMENT and item not in _environments(workspace, catalog.entries(workspace)):
            return Problem(item.name, "A run needs it now", "Look again")
        if item.kind is Kind.RUN:
            fault = trash.put_away(workspace, item.name, tokens)
            return Problem(item.name, fault.what, fault.todo) if fault else None
        scratch = garbage.set_aside(workspace, item.path)
    garbage.remove(scratch)
    return None
