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

from job_orchestration.files import beats, former, journal, locks, token
from job_orchestration.model.run import Place
from job_orchestration.rules import lifecycle, naming
from job_orchestration.rules.naming import PROBLEMS_SUFFIX, TokenName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from job_orchestration.files.beats import Beat
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.run import RunState

BEAT_AGE: Final = timedelta(seconds=30)
"""How old a beat may be for its worker to count as alive."""

_HEAD: Final = 4096
"""More bytes than the first line of any token."""
_ENDS: Final = frozenset({Place.COMPLETED, Place.FAILED})


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A config or a run, as it was found."""

    config: str
    """The name of the config: the stem of the file that was dropped."""
    place: Place
    path: str
    """The drop, or the token."""
    run: str | None = None
    state: RunState | None = None
    """The fold of its journal; `None` when this is no run, or not yet."""
    held_by: str | None = None
    """The worker that holds the run now, as far as anybody knows."""
    beat: Beat | None = None
    """What that worker said of itself last, when it was about this attempt."""
    error: str | None = None
    """The first line of the problems file that lies beside it."""
    former: bool = False
    """Whether the first Job Orchestration made it."""

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
    move shows in the token's inode.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._known: dict[str, tuple[tuple[int, int], RunRecord]] = {}
        """The path of a token to its inode and the time of its last move, and to what it was then."""

    def records(self) -> list[RunRecord]:
        """Every config and run, each once."""
        found: dict[str, RunRecord] = {}
        seen: set[str] = set()
        sources: set[str] = set()
        for _ in range(2):
            for place, folder in self._workspace.folders.items():
                names = _listed(folder)
                if place is Place.SOURCES:
                    sources = names
                running = place is Place.RUNNING and bool(names)
                workers = _Workers.at_this_moment(self._workspace) if running else None
                for name in sorted(names):
                    path = os.path.join(folder, name)
                    if path in seen or name.endswith(PROBLEMS_SUFFIX):
                        continue
                    record = self._record(place, path, workers, names)
                    if record is not None:
                        seen.add(path)
                        found[path if record.former else record.run or path] = record
        self._known = {path: known for path, known in self._known.items() if path in seen}
        readied = self._readied(found.values(), sources)
        return [r for r in found.values() if r.path not in readied]

    def _readied(self, found: Collection[RunRecord], sources: set[str]) -> set[str]:
        """The drops that were met once more, as runs; they have gone, or are about to."""
        drops = [r for r in found if r.place is Place.SOURCES]
        if not drops:
            return set()
        runs = {r.run for r in found}
        configs = {r.config for r in found if r.run is not None}
        removed = {name for name, run in _intended(self._workspace) if run in runs}
        return {
            r.path
            for r in drops
            if (name := os.path.basename(r.path)) not in sources
            or name in removed
            or (r.config in configs and not os.path.lexists(r.path))
        }

    def _record(
        self, place: Place, path: str, workers: _Workers | None, names: Iterable[str]
    ) -> RunRecord | None:
        """What one file is; `None` when it is nothing of ours, or moved on since it was listed."""
        filename = os.path.basename(path)
        problems = f"{path}{PROBLEMS_SUFFIX}" if f"{filename}{PROBLEMS_SUFFIX}" in names else None
        if place is Place.SOURCES:
            if not naming.is_config_name(filename):
                return None
            return RunRecord(naming.stem_of(filename), place, path, error=_first_line(problems))
        name = TokenName.parse(filename)
        if name is None:
            return None
        try:
            if workers is not None:
                return self._token(place, path, name, workers, problems)
            status = os.stat(path, follow_symlinks=False)
            identity = status.st_ino, status.st_ctime_ns
            known = self._known.get(path)
            if known is None or known[0] != identity or problems or known[1].error:
                known = identity, self._token(place, path, name, workers, problems)
                self._known[path] = known
        except OSError:
            return None
        return known[1]

    def _token(
        self, place: Place, path: str, name: TokenName, workers: _Workers | None, problems: str | None
    ) -> RunRecord:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            inode = os.fstat(descriptor).st_ino
            run = token.run_named_in(os.read(descriptor, _HEAD))
            if run is None or not token.is_inside_output(run):
                record = RunRecord(name.stem, place, path, error=_first_line(problems))
                return self._former(record, descriptor) if place in _ENDS else record
        finally:
            os.close(descriptor)
        state = lifecycle.fold(journal.read(self._workspace.run_folder(run)))
        place = Place.HELD if name.held and place is Place.TO_RUN else place
        record = RunRecord(state.config or name.stem, place, path, run, state, error=_first_line(problems))
        return _placed(record, name, inode, workers) if workers else record

    def _former(self, record: RunRecord, descriptor: int) -> RunRecord:
        run, state = former.read(
            self._workspace, os.pread(descriptor, former.MAX_BYTES, 0), record.config, record.place
        )
        return replace(record, run=run, state=state, former=True)


def _placed(record: RunRecord, name: TokenName, inode: int, workers: _Workers) -> RunRecord:
    place, held_by = workers.place(name.worker, inode)
    beat = workers.beats.get(held_by or "")
    mine = beat is not None and (beat.run, beat.attempt) == (record.run, name.generation)
    return replace(record, place=place, held_by=held_by, beat=beat if mine else None)


def _intended(workspace: Workspace) -> set[tuple[str, str]]:
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
