"""List every config and run of a workspace; nothing is changed or locked.

Tokens move during a listing of five folders. The folders are listed in the order of a run's life, so a run
that advances is seen again in a later folder, and the later record counts. A run that moves back (released,
requeued) is found by a second pass, which reads only names that the first pass did not see. A dropped file
that is gone by then, or that an intent names, was queued meanwhile and is listed as a run.

The holder of a run locks its token in Running for as long as it lives. For workers of this machine the kernel
lists the locks (`workspace.locks`). For those of another machine, or of a container, whose locks are not
listed here, only the heartbeat is known: a recent one means alive, an old one means interrupted. Without a
heartbeat the holder is unknown, and the run is listed as running.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.processes import identity
from job_orchestration.runs import (
    claims,
    first_release_runs,
    journal,
    lifecycle,
    summaries,
    summary_cache,
    token_header,
    unreadable,
)
from job_orchestration.runs.events import INTENDED
from job_orchestration.workspace import clock, heartbeats, locks, naming, safe_reads
from job_orchestration.workspace.layout import FINAL_PLACES, Place
from job_orchestration.workspace.naming import PROBLEMS_SUFFIX, TokenName
from job_orchestration.workspace.safe_reads import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from job_orchestration.diagnostics.problems import Fault
    from job_orchestration.runs.state import RunState
    from job_orchestration.runs.summaries import RunSummary
    from job_orchestration.workspace.heartbeats import Heartbeat
    from job_orchestration.workspace.layout import Workspace

HEARTBEAT_EXPIRY: Final = timedelta(seconds=30)
"""Age of the oldest heartbeat of a worker that counts as alive."""

_HEAD: Final = 4096
"""More bytes than the first line of any token."""

_HELD: Final = "~held.yaml"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A config or a run, as listed."""

    config: str
    """The name of the config: the stem of the dropped file."""
    place: Place
    path: str
    """The path of the dropped file or of the token."""
    run: str | None = None
    folded: RunState | None = None
    held_by: str | None = None
    """The worker that holds the run; `None` if there is none, or it is unknown."""
    heartbeat: Heartbeat | None = None
    """The last heartbeat of that worker, if it is about this attempt."""
    error: str | None = None
    """The first line of the problems file beside it."""
    is_first_release: bool = False
    """Whether the first release made it."""
    logged_at: str | None = None
    """The last write to the log of a running run: UTC, ISO 8601."""
    cached: RunSummary | None = None
    """The summary, if it was cached or is computed already; read `summary` instead."""
    output: str | None = None
    """The run's folder, if the record was made from a cached summary."""
    unreadable: Fault | None = None
    """What is wrong with its files if they cannot be read; `None` as long as no read has failed."""
    workspace: Workspace | None = None

    @property
    def state(self) -> RunState | None:
        """The fold of its journal, which is read now if only its summary is known.

        `None` for a config, and for a run that cannot be read.
        """
        if self.folded is None and self.output is not None and self.unreadable is None:
            assert self.workspace is not None
            try:
                object.__setattr__(self, "folded", _fold(self.output))
            except OSError as error:
                fault = unreadable.fault_of(self.workspace, error)
                object.__setattr__(self, "unreadable", fault)
                object.__setattr__(self, "error", f"{fault.what}. {fault.todo}")
        return self.folded

    @property
    def summary(self) -> RunSummary | None:
        """The part of its state that overviews need; no journal is read for it."""
        if self.cached is None and self.folded is not None:
            object.__setattr__(self, "cached", summaries.summary_of(self.folded))
        return self.cached

    @property
    def end(self) -> str | None:
        """How it ended: ``completed``, ``failed``, ``cancelled`` or ``pruned``; `None` if it has not."""
        if self.place not in FINAL_PLACES:
            return None
        outcome = self.summary.outcome if self.summary is not None else None
        return outcome if self.place is Place.FAILED and outcome in INTENDED else str(self.place)

    @property
    def names(self) -> set[str]:
        """Its names besides the output folder: the config's and the token's."""
        filename = os.path.basename(self.path)
        name = TokenName.parse(filename)
        return {self.config, name.stem if name else naming.stem_of(filename)}


class _Workers(NamedTuple):
    """The locks and heartbeats of all workers at one moment."""

    held: frozenset[int] | None
    heartbeats: Mapping[str, Heartbeat]
    hostname: str
    """This machine's part of a worker's name."""

    @classmethod
    def now(cls, workspace: Workspace) -> _Workers:
        hostname, _, _ = naming.worker_name(socket.gethostname(), 0, "x").partition(".")
        return cls(locks.held_inodes(workspace.running), heartbeats.read(workspace), hostname)

    def place(self, worker: str | None, inode: int) -> tuple[Place, str | None]:
        """Return the place of a token in Running, and its holder if known."""
        here = worker is not None and self._is_here(worker)
        if self.held is not None and inode in self.held:
            return Place.RUNNING, worker
        if worker is None or (here and self.held is not None):
            return Place.INTERRUPTED, None
        heartbeat = self.heartbeats.get(worker)
        if heartbeat is None:
            return Place.RUNNING, None
        return (Place.RUNNING, worker) if _is_recent(heartbeat) else (Place.INTERRUPTED, None)

    def _is_here(self, worker: str) -> bool:
        """Return whether a worker's locks are listed here: by its identity, or else by its hostname."""
        heartbeat = self.heartbeats.get(worker)
        process = None if heartbeat is None else heartbeat.identity
        return worker.partition(".")[0] == self.hostname if process is None else process.is_comparable


def _is_recent(heartbeat: Heartbeat) -> bool:
    with suppress(ValueError, TypeError):
        return clock.now() - datetime.fromisoformat(heartbeat.at) < HEARTBEAT_EXPIRY
    return False


class Catalog:
    """Reads a workspace repeatedly and keeps the records of runs that no worker holds.

    A process moves the token of a waiting or ended run before it writes to the journal, and a move changes
    the token's key. The first listing uses the summary cache (`runs.summary_cache`).
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._cached: dict[str, summary_cache.Row] | None = None
        self._known: dict[str, tuple[str, RunRecord]] = {}
        """Path of a token to its key (inode and change time) and its record."""

    def records(self) -> list[RunRecord]:
        """List every config and run once."""
        found: dict[str, RunRecord] = {}
        seen: dict[Place, set[str]] = {place: set() for place in self._workspace.folders}
        sources: set[str] = set()
        if self._cached is None:
            self._cached = summary_cache.read(self._workspace)
        for _ in range(2):
            for place, folder in self._workspace.folders.items():
                names = set(safe_reads.names_in(folder))
                if place is Place.SOURCES:
                    sources = names
                running = place is Place.RUNNING and bool(names)
                workers = _Workers.now(self._workspace) if running else None
                problems = {name for name in names if name.endswith(PROBLEMS_SUFFIX)}
                if self._cached and not running:
                    self._recall(place, names - seen[place], problems, seen[place], found)
                for name in sorted(names - seen[place] - problems):
                    path = f"{folder}/{name}"
                    report = f"{path}{PROBLEMS_SUFFIX}" if f"{name}{PROBLEMS_SUFFIX}" in problems else None
                    record = self._record(place, path, name, workers, report)
                    if record is not None:
                        seen[place].add(name)
                        found[path if record.is_first_release else record.run or path] = record
        if len(self._known) > len(found):
            paths = {record.path for record in found.values()}
            self._known = {path: known for path, known in self._known.items() if path in paths}
        self._cached = {}
        readied = self._readied(found.values(), sources)
        return [r for r in found.values() if r.path not in readied] if readied else list(found.values())

    def _readied(self, found: Collection[RunRecord], sources: set[str]) -> set[str]:
        """Return the dropped files that are listed as runs too: they are gone or will be removed."""
        dropped = [r for r in found if r.place is Place.SOURCES]
        if not dropped:
            return set()
        runs = {r.run for r in found}
        configs = {r.config for r in found if r.run is not None}
        removed = {name for name, run in intended(self._workspace) if run in runs}
        return {
            r.path
            for r in dropped
            if (name := os.path.basename(r.path)) not in sources
            or name in removed
            or (r.config in configs and not os.path.lexists(r.path))
        }

    def _record(
        self, place: Place, path: str, filename: str, workers: _Workers | None, problems: str | None
    ) -> RunRecord | None:
        """Read the record of one file; `None` if it is no config or token, or has moved since."""
        if place is Place.SOURCES:
            if not naming.is_config_name(filename):
                return None
            return RunRecord(naming.stem_of(filename), place, path, error=_first_line(problems))
        try:
            if workers is not None:
                return _read_token(self._workspace, place, path, workers, problems)
            status = os.stat(path, follow_symlinks=False)
            identity = summary_cache.key_of(status)
            known = self._known.get(path)
            if known is None or known[0] != identity or problems or known[1].error:
                record = _read_token(self._workspace, place, path, None, problems)
                if record is None:
                    return None
                known = identity, record
                self._known[path] = known
        except OSError as error:
            return _unopened(self._workspace, place, path, error)
        return known[1]

    def _recall(
        self, place: Place, names: set[str], problems: set[str], seen: set[str], found: dict[str, RunRecord]
    ) -> None:
        """Make the records of a folder's tokens that are in the cache. Kept short for very many tokens."""
        assert self._cached is not None
        workspace = self._workspace
        folder, output = workspace.folders[place], workspace.output
        take, stat = self._cached.pop, os.lstat
        refused = {name.removesuffix(PROBLEMS_SUFFIX) for name in problems}
        for name in sorted(names - refused):
            path = f"{folder}/{name}"
            try:
                status = stat(path)
            except OSError:
                continue
            row = take(f"{status.st_ino}.{status.st_ctime_ns}", None)
            if row is None or row[1] != name or row[2] is None:
                continue
            run, summary = row[2], summary_cache.summary_of(row)
            config = summary.config or name.partition("~")[0].removesuffix(".yaml")
            where = Place.HELD if place is Place.TO_RUN and name.endswith(_HELD) else place
            record = RunRecord(
                *(config, where, path, run), cached=summary, output=f"{output}/{run}", workspace=workspace
            )
            self._known[path] = row[0], record
            seen.add(name)
            found[run] = record


def _fold(run_folder: str) -> RunState:
    """Fold a run's journal.

    Raises:
        OSError: it cannot be read, or has no beginning.
    """
    state = lifecycle.fold(journal.read(run_folder))
    if state.readied_at is None:
        raise DamagedFileError(journal.path_of(run_folder, 0), "the run's record is gone")
    return state


def read_settled(workspace: Workspace, place: Place, path: str) -> RunRecord | None:
    """Read the record of a token that no worker holds; `None` for any other file.

    Raises:
        OSError: it cannot be read, or has moved.
    """
    return _read_token(workspace, place, path, None, None)


def _read_token(
    workspace: Workspace, place: Place, path: str, workers: _Workers | None, problems: str | None
) -> RunRecord | None:
    name = TokenName.parse(os.path.basename(path))
    if name is None:
        return None
    descriptor = os.open(path, safe_reads.READ_ONLY)
    try:
        inode = os.fstat(descriptor).st_ino
        run = token_header.run_named_in(os.read(descriptor, _HEAD))
        if run is None or not claims.is_inside_output(run):
            record = RunRecord(name.stem, place, path, error=_first_line(problems))
            return _first_release_record(workspace, record, descriptor) if place in FINAL_PLACES else record
    finally:
        os.close(descriptor)
    place = Place.HELD if name.held and place is Place.TO_RUN else place
    try:
        state = _fold(workspace.run_folder(run))
        record = RunRecord(state.config or name.stem, place, path, run, state, error=_first_line(problems))
    except OSError as error:
        if not os.path.lexists(path):
            raise  # it has moved since
        fault = unreadable.fault_of(workspace, error)
        record = _unreadable(RunRecord(name.stem, place, path, run), fault)
    return _placed(workspace, record, name, inode, workers) if workers else record


def _unopened(workspace: Workspace, place: Place, path: str, error: OSError) -> RunRecord | None:
    """Return the record of a token that cannot be opened; `None` if it is a link, or has moved."""
    name = TokenName.parse(os.path.basename(path))
    if name is None or error.errno in {errno.ENOENT, errno.ELOOP} or not os.path.lexists(path):
        return None
    error.filename = error.filename or path
    return _unreadable(RunRecord(name.stem, place, path), unreadable.fault_of(workspace, error))


def _unreadable(record: RunRecord, fault: Fault) -> RunRecord:
    return replace(record, unreadable=fault, error=f"{fault.what}. {fault.todo}")


def _first_release_record(workspace: Workspace, record: RunRecord, descriptor: int) -> RunRecord:
    data = os.pread(descriptor, first_release_runs.MAX_BYTES, 0)
    run, state = first_release_runs.read(workspace, data, record.config, record.place)
    return replace(record, run=run, folded=state, is_first_release=True)


def _placed(
    workspace: Workspace, record: RunRecord, name: TokenName, inode: int, workers: _Workers
) -> RunRecord:
    place, held_by = workers.place(name.worker, inode)
    heartbeat = workers.heartbeats.get(held_by or "")
    mine = heartbeat is not None and (heartbeat.run, heartbeat.attempt) == (record.run, name.generation)
    logged_at = None
    if held_by is not None and record.run is not None:
        with suppress(OSError, ValueError, OverflowError):
            changed = os.stat(os.path.join(workspace.run_folder(record.run), "log.log")).st_mtime
            logged_at = datetime.fromtimestamp(changed, UTC).isoformat()
    return replace(
        record, place=place, held_by=held_by, heartbeat=heartbeat if mine else None, logged_at=logged_at
    )


def intended(workspace: Workspace) -> set[tuple[str, str]]:
    """Read the intents: each file that is being queued, or was when its process died, with its run."""
    found: set[tuple[str, str]] = set()
    for name in safe_reads.names_in(workspace.opening):
        if name.endswith(".json"):
            with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
                with open(os.path.join(workspace.opening, name), "rb") as file:
                    intents = json.load(file)
                found |= {(i["source"], i["run"]) for i in intents}
    return found


def find(workspace: Workspace, run: str, stem: str) -> RunRecord | None:
    """Return the record of one run by its token's stem; no file of another run is opened.

    Args:
        workspace: the workspace.
        run: its output folder.
        stem: the stem of its token, or a guess.

    Returns:
        The record; `None` if no such token was seen: it has another stem, has just moved, or is gone.
    """
    for place, filename in _names_of(workspace, stem):
        path = f"{workspace.folders[place]}/{filename}"
        with suppress(OSError):
            if token_header.run_of(path) == run:
                workers = _Workers.now(workspace) if place is Place.RUNNING else None
                report = f"{path}{PROBLEMS_SUFFIX}"
                problems = report if os.path.lexists(report) else None
                return _read_token(workspace, place, path, workers, problems)
    return None


def _names_of(workspace: Workspace, stem: str) -> Iterator[tuple[Place, str]]:
    """Yield the names that a token may have; the folder that may hold many others is listed last."""
    yield Place.TO_RUN, f"{stem}.yaml"
    yield Place.TO_RUN, f"{stem}{_HELD}"
    yield from _listed_names(workspace, Place.RUNNING, stem)
    yield Place.COMPLETED, f"{stem}.yaml"
    yield Place.FAILED, f"{stem}.yaml"
    yield from _listed_names(workspace, Place.TO_RUN, stem)


def _listed_names(workspace: Workspace, place: Place, stem: str) -> Iterator[tuple[Place, str]]:
    """Yield the names in a folder that hold more than the stem: an attempt, or the end of a delay."""
    for filename in safe_reads.names_in(workspace.folders[place]):
        if filename.startswith(stem) and (name := TokenName.parse(filename)) and name.stem == stem:
            yield place, filename


def _first_line(path: str | None) -> str | None:
    if path is None:
        return None
    with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read(_HEAD).splitlines()
        return next((line for line in lines if ": warning: " not in line), lines[0] if lines else None)
    return None


def entries(workspace: Workspace) -> list[RunRecord]:
    """List every config and run of a workspace once; nothing is changed, locked or waited for."""
    return Catalog(workspace).records()


def living_workers(workspace: Workspace) -> list[Heartbeat]:
    """Return the last heartbeats of the workers that seem alive."""
    return [h for h in heartbeats.read(workspace).values() if _is_recent(h) and _may_live(h)]


def _may_live(heartbeat: Heartbeat) -> bool:
    """Return whether the process of a heartbeat may live: it does, or cannot be seen from here."""
    process = heartbeat.identity
    if process is None and heartbeat.hostname == socket.gethostname():
        process = identity.ProcessIdentity(identity.boot(), identity.namespace(), heartbeat.pid, 0)
    return process is None or process.is_alive() is not False
