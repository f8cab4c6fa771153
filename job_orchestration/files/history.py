"""What is there: every config and run of a workspace, read without changing or locking anything.

Tokens move while we look, and a look at five folders is five looks. They are taken in the direction of
life, so that a run which moves on is met again further on, and the later look counts. Whatever moves the
other way (handed back, or asked to go on) is caught by a second look, which reads only names that the first
one did not see. A drop that is gone by then was readied in the meantime, and was met as a run; so was one
that is still there while its intent says so.

Who works on a run: its token in Running is locked by its holder for as long as that lives. On this host the
kernel tells (`files.locks`). Of another host only the worker's beat is known: a young one means that it
lives, an old one that the run is interrupted. Where there is no beat either, nobody knows; such a run
counts as running, held by nobody that we know of.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.files import beats, digests, former, journal, locks, token
from job_orchestration.model.run import Place
from job_orchestration.rules import lifecycle, naming, summarizing
from job_orchestration.rules.naming import PROBLEMS_SUFFIX, TokenName

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from job_orchestration.files.beats import Beat
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.run import RunState
    from job_orchestration.model.summary import RunSummary

BEAT_AGE: Final = timedelta(seconds=30)
"""How old a beat may be for its worker to count as alive."""

_HEAD: Final = 4096
"""More bytes than the first line of any token."""
_ENDS: Final = frozenset({Place.COMPLETED, Place.FAILED})


_HELD: Final = "~held.yaml"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A config or a run, as it was found."""

    config: str
    """The name of the config: the stem of the file that was dropped."""
    place: Place
    path: str
    """The drop, or the token."""
    run: str | None = None
    folded: RunState | None = None
    held_by: str | None = None
    """The worker that holds the run now, as far as anybody knows."""
    beat: Beat | None = None
    """What that worker said of itself last, when it was about this attempt."""
    error: str | None = None
    """The first line of the problems file that lies beside it."""
    former: bool = False
    """Whether the first Job Orchestration made it."""
    logged_at: str | None = None
    """When a run that is worked on last wrote to its log: UTC, ISO 8601."""
    digest: RunSummary | None = None
    output: str | None = None
    """The run's folder, for those that a digest was found of."""

    @property
    def state(self) -> RunState | None:
        """The fold of its journal, which is read now if a digest was there; `None`: no run, or not yet."""
        if self.folded is None and self.output is not None:
            object.__setattr__(self, "folded", lifecycle.fold(journal.read(self.output)))
        return self.folded

    @property
    def summary(self) -> RunSummary | None:
        """The little of its state that overviews need; no journal is read for it."""
        if self.digest is None and self.folded is not None:
            object.__setattr__(self, "digest", summarizing.summary_of(self.folded))
        return self.digest

    @property
    def names(self) -> set[str]:
        """What it is called besides its output folder: its config's name, and its token's."""
        filename = os.path.basename(self.path)
        name = TokenName.parse(filename)
        return {self.config, name.stem if name else naming.stem_of(filename)}


class _Workers(NamedTuple):
    """What is known at one moment about who works."""

    held: frozenset[int] | None
    beats: Mapping[str, Beat]
    host: str
    """How this host's part of a worker's name reads."""

    @classmethod
    def at_this_moment(cls, workspace: Workspace) -> _Workers:
        host, _, _ = naming.worker_name(socket.gethostname(), 0, "x").partition(".")
        return cls(locks.held_inodes(workspace.running), beats.read(workspace), host)

    def place(self, worker: str | None, inode: int) -> tuple[Place, str | None]:
        """Whether a token in Running is worked on, and by whom."""
        here = worker is not None and worker.partition(".")[0] == self.host
        if self.held is not None and inode in self.held:
            return Place.RUNNING, worker
        if worker is None or (here and self.held is not None):
            return Place.INTERRUPTED, None
        beat = self.beats.get(worker)
        if beat is None:
            return Place.RUNNING, None
        return (Place.RUNNING, worker) if _is_young(beat) else (Place.INTERRUPTED, None)


def _is_young(beat: Beat) -> bool:
    with suppress(ValueError, TypeError):
        return datetime.now(UTC) - datetime.fromisoformat(beat.at) < BEAT_AGE
    return False


class History:
    """A reader that remembers what nobody works on, for those who look again and again.

    The journal of a run that waits or has ended is written by nobody who has not moved its token first, and a
    move shows in the token's inode. What others remembered of it (`files.digests`) is used the first time.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._digests: dict[str, digests.Row] | None = None
        self._known: dict[str, tuple[str, RunRecord]] = {}
        """The path of a token to its inode and the time of its last move, and to what it was then."""

    def records(self) -> list[RunRecord]:
        """Every config and run, each once."""
        found: dict[str, RunRecord] = {}
        seen: dict[Place, set[str]] = {place: set() for place in self._workspace.folders}
        sources: set[str] = set()
        if self._digests is None:
            self._digests = digests.read(self._workspace)
        for _ in range(2):
            for place, folder in self._workspace.folders.items():
                names = _listed(folder)
                if place is Place.SOURCES:
                    sources = names
                running = place is Place.RUNNING and bool(names)
                workers = _Workers.at_this_moment(self._workspace) if running else None
                problems = {name for name in names if name.endswith(PROBLEMS_SUFFIX)}
                if self._digests and not running:
                    self._recall(place, names - seen[place], problems, seen[place], found)
                for name in sorted(names - seen[place] - problems):
                    path = f"{folder}/{name}"
                    told = f"{path}{PROBLEMS_SUFFIX}" if f"{name}{PROBLEMS_SUFFIX}" in problems else None
                    record = self._record(place, path, name, workers, told)
                    if record is not None:
                        seen[place].add(name)
                        found[path if record.former else record.run or path] = record
        if len(self._known) > len(found):
            paths = {record.path for record in found.values()}
            self._known = {path: known for path, known in self._known.items() if path in paths}
        self._digests = {}
        readied = self._readied(found.values(), sources)
        return [r for r in found.values() if r.path not in readied] if readied else list(found.values())

    def _readied(self, found: Collection[RunRecord], sources: set[str]) -> set[str]:
        """The drops that were met once more, as runs; they have gone, or are about to."""
        drops = [r for r in found if r.place is Place.SOURCES]
        if not drops:
            return set()
        runs = {r.run for r in found}
        configs = {r.config for r in found if r.run is not None}
        removed = {name for name, run in intended(self._workspace) if run in runs}
        return {
            r.path
            for r in drops
            if (name := os.path.basename(r.path)) not in sources
            or name in removed
            or (r.config in configs and not os.path.lexists(r.path))
        }

    def _record(
        self, place: Place, path: str, filename: str, workers: _Workers | None, problems: str | None
    ) -> RunRecord | None:
        """What one file is; `None` when it is nothing of ours, or moved on since it was listed."""
        if place is Place.SOURCES:
            if not naming.is_config_name(filename):
                return None
            return RunRecord(naming.stem_of(filename), place, path, error=_first_line(problems))
        try:
            if workers is not None:
                return _read_token(self._workspace, place, path, workers, problems)
            status = os.stat(path, follow_symlinks=False)
            identity = digests.key_of(status)
            known = self._known.get(path)
            if known is None or known[0] != identity or problems or known[1].error:
                record = _read_token(self._workspace, place, path, None, problems)
                if record is None:
                    return None
                known = identity, record
                self._known[path] = known
        except OSError:
            return None
        return known[1]

    def _recall(
        self, place: Place, names: set[str], problems: set[str], seen: set[str], found: dict[str, RunRecord]
    ) -> None:
        """Find what digests tell of the tokens in a folder: one short loop, for there may be very many."""
        assert self._digests is not None
        folder, output = self._workspace.folders[place], self._workspace.output
        take, stat = self._digests.pop, os.lstat
        told = {name.removesuffix(PROBLEMS_SUFFIX) for name in problems}
        for name in sorted(names - told):
            path = f"{folder}/{name}"
            try:
                status = stat(path)
            except OSError:
                continue
            row = take(f"{status.st_ino}.{status.st_ctime_ns}", None)
            if row is None or row[1] != name or row[2] is None:
                continue
            run, summary = row[2], digests.summary_of(row)
            config = summary.config or name.partition("~")[0].removesuffix(".yaml")
            where = Place.HELD if place is Place.TO_RUN and name.endswith(_HELD) else place
            record = RunRecord(config, where, path, run, digest=summary, output=f"{output}/{run}")
            self._known[path] = row[0], record
            seen.add(name)
            found[run] = record


def read_settled(workspace: Workspace, place: Place, path: str) -> RunRecord | None:
    """What a token is that nobody works on; `None` for any other file.

    Raises:
        OSError: it cannot be read, or moved on.
    """
    return _read_token(workspace, place, path, None, None)


def _read_token(
    workspace: Workspace, place: Place, path: str, workers: _Workers | None, problems: str | None
) -> RunRecord | None:
    name = TokenName.parse(os.path.basename(path))
    if name is None:
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        inode = os.fstat(descriptor).st_ino
        run = token.run_named_in(os.read(descriptor, _HEAD))
        if run is None or not token.is_inside_output(run):
            record = RunRecord(name.stem, place, path, error=_first_line(problems))
            return _former(workspace, record, descriptor) if place in _ENDS else record
    finally:
        os.close(descriptor)
    state = lifecycle.fold(journal.read(workspace.run_folder(run)))
    place = Place.HELD if name.held and place is Place.TO_RUN else place
    record = RunRecord(state.config or name.stem, place, path, run, state, error=_first_line(problems))
    return _placed(workspace, record, name, inode, workers) if workers else record


def _former(workspace: Workspace, record: RunRecord, descriptor: int) -> RunRecord:
    data = os.pread(descriptor, former.MAX_BYTES, 0)
    run, state = former.read(workspace, data, record.config, record.place)
    return replace(record, run=run, folded=state, former=True)


def _placed(
    workspace: Workspace, record: RunRecord, name: TokenName, inode: int, workers: _Workers
) -> RunRecord:
    place, held_by = workers.place(name.worker, inode)
    beat = workers.beats.get(held_by or "")
    mine = beat is not None and (beat.run, beat.attempt) == (record.run, name.generation)
    logged_at = None
    if held_by is not None and record.run is not None:
        with suppress(OSError, ValueError, OverflowError):
            changed = os.stat(os.path.join(workspace.run_folder(record.run), "log.log")).st_mtime
            logged_at = datetime.fromtimestamp(changed, UTC).isoformat()
    return replace(record, place=place, held_by=held_by, beat=beat if mine else None, logged_at=logged_at)


def intended(workspace: Workspace) -> set[tuple[str, str]]:
    """The drops that somebody is queueing at this moment, or was when it died, each with its run."""
    found: set[tuple[str, str]] = set()
    for name in _listed(workspace.opening):
        if name.endswith(".json"):
            with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
                with open(os.path.join(workspace.opening, name), "rb") as file:
                    intents = json.load(file)
                found |= {(i["source"], i["run"]) for i in intents}
    return found


def _listed(folder: str) -> set[str]:
    try:
        return set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _first_line(path: str | None) -> str | None:
    if path is None:
        return None
    with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.readline(_HEAD).rstrip("\n") or None
    return None


def entries(workspace: Workspace) -> list[RunRecord]:
    """Every config and run of a workspace, each once; nothing is changed, locked or waited for."""
    return History(workspace).records()


def living_workers(workspace: Workspace) -> list[Beat]:
    """The last beats of the workers that, as far as anybody knows, are alive."""
    here = socket.gethostname()
    young = [beat for beat in beats.read(workspace).values() if _is_young(beat)]
    return [beat for beat in young if beat.host != here or _is_process(beat.pid)]


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's, so it is there
        return True
    return True
