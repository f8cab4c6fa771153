"""Opening runs: from checked configs to output folders and tokens in ConfigsToRun, in one crash-safe step.

Opening is many writes and must look like one. An *intent* in ``Misc/opening/`` names everything that is
about to be made. Then the output folders are written, and the tokens beside the intent; when all of that is
on the disk the tokens are linked into ConfigsToRun, which is the commit point of each run, and the sources
are removed, each only if it is still the very file that was read. Last, the intent goes. What many openings
write waits for the disk together.

Whoever opens next finds the intent of one that died, and settles each run in it: a run that has a token, or
that any worker ever claimed, was opened, and only its source remains to be removed; of any other the
half-made folder is taken away. The lock on ``Misc/opening`` makes sure that only one opens at a time.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.files import durable, journal, token, views
from job_orchestration.files.together import Together
from job_orchestration.model.event import Entry
from job_orchestration.model.run import Place, RunState
from job_orchestration.rules import lifecycle
from job_orchestration.rules.naming import TokenName

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from job_orchestration.files.intake import Drop
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.event import Readied

CONFIG: Final = "config.yaml"
PROVENANCE: Final = "provenance.json"
MADE: Final = (CONFIG, PROVENANCE, "status.yaml", os.path.join("journal", "000000.jsonl"))
"""The files of a run's folder that opening makes; whatever else is there is somebody's and stays."""
MANY: Final = 8
"""Openings whose files are worth the wait for all that others have written to the file system as well."""


@dataclass(frozen=True, slots=True)
class Opening:
    """One run that is to be opened."""

    drop: Drop
    run: str
    stem: str
    """The token's; free in all config folders when it was chosen."""
    token: bytes
    """The resolved config, its header line included: the token's bytes and those of ``config.yaml``."""
    provenance: bytes
    readied: Readied
    keeps_source: bool = False
    """Whether the drop stays for now: it becomes several runs, and goes when the last of them is opened."""


class Opened(NamedTuple):
    """A run that was opened."""

    path: str
    """Of its token, at the moment of the commit."""
    run: str
    state: RunState


@contextmanager
def only_one(workspace: Workspace, *, wait: bool = True) -> Iterator[None]:
    """Wait until nobody else opens runs, and keep others waiting.

    Raises:
        BlockingIOError: when somebody else does, and one is not to wait.
    """
    descriptor = os.open(workspace.opening, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def open_runs(workspace: Workspace, openings: Sequence[Opening], *, may_wait: bool = False) -> list[Opened]:
    """Open some runs; called under `only_one`.

    Args:
        workspace: where.
        openings: the runs.
        may_wait: whether many may wait for what others have written to the disk; a worker has more to do.

    Raises:
        OSError: what the disk says; `recover` settles what was begun.
    """
    if not openings:
        return []
    intent = os.path.join(workspace.opening, f"{openings[0].stem}.json")
    durable.write_new(intent, json.dumps([_intended(o) for o in openings]).encode())
    durable.sync_folder(workspace.opening)
    together = may_wait and len(openings) >= MANY
    with Together.where_trusted(workspace.output) if together else Together(None) as writes:
        states = [_make(workspace, o, writes) for o in openings]
        writes.sync({folder for o in openings for folder in _folders_of(workspace, o)})
    opened = []
    for opening, state in zip(openings, states, strict=True):
        name = str(TokenName(opening.stem))
        target = os.path.join(workspace.to_run, name)
        made = os.path.join(workspace.opening, name)
        durable.link(made, target)
        durable.unlink(made)
        opened.append(Opened(target, opening.run, state))
    durable.sync_folder(workspace.to_run)
    whole = [opening.drop for opening in openings if not opening.keeps_source]
    if whole:
        remove_sources(workspace, whole)
    durable.unlink(intent)
    return opened


def remove_sources(workspace: Workspace, drops: Iterable[Drop]) -> None:
    """Remove drops of which everything is queued, each only if it is still the very file that was read."""
    for drop in drops:
        _remove_source(workspace, drop.filename, drop.identity)
    durable.sync_folder(workspace.sources)


def _intended(opening: Opening) -> dict[str, object]:
    return {
        "run": opening.run,
        "token": str(TokenName(opening.stem)),
        "source": opening.drop.filename,
        "identity": opening.drop.identity,
        **({"keeps_source": True} if opening.keeps_source else {}),
    }


def _folders_of(workspace: Workspace, opening: Opening) -> tuple[str, ...]:
    """The folders that get new names before the commit."""
    folder = workspace.run_folder(opening.run)
    return journal.folder_of(folder), folder, os.path.dirname(folder)


def _make(workspace: Workspace, opening: Opening, writes: Together) -> RunState:
    """Write a run's folder and token; they, and their folders, are to be synced before the commit."""
    folder = workspace.run_folder(opening.run)
    durable.make_folder(os.path.dirname(folder))
    with suppress(FileExistsError):
        os.mkdir(folder)
    os.mkdir(journal.folder_of(folder))
    writes.write_new(os.path.join(folder, CONFIG), opening.token)
    writes.write_new(os.path.join(folder, PROVENANCE), opening.provenance)
    entry = Entry(1, journal.now(), opening.readied)
    writes.write_new(journal.path_of(folder, 0), journal.encode(entry))
    state = lifecycle.fold({0: [entry]})
    views.write_status(folder, state, is_new=True)
    writes.write_new(os.path.join(workspace.opening, str(TokenName(opening.stem))), opening.token)
    return state


def _remove_source(workspace: Workspace, filename: str, identity: Sequence[int]) -> None:
    """Remove a source unless somebody put another file in its place since it was read."""
    path = os.path.join(workspace.sources, filename)
    _, *known = identity  # after a restart the device may have another number, and is the same
    with suppress(FileNotFoundError):
        found = os.lstat(path)
        if [found.st_ino, found.st_size, found.st_mtime_ns] == known:
            durable.unlink(path)


def recover(workspace: Workspace) -> list[str]:
    """Settle what an opening that died has left; called under `only_one`.

    Returns:
        A sentence for each thing that was done.
    """
    done: list[str] = []
    names = sorted(os.listdir(workspace.opening))
    for name in (n for n in names if n.endswith(".json")):
        path = os.path.join(workspace.opening, name)
        with open(path, "rb") as file:
            data = file.read()
        done += [_settle(workspace, intended) for intended in _parsed(data)]
        durable.unlink(path)
    for name in os.listdir(workspace.opening):
        durable.unlink(os.path.join(workspace.opening, name))  # tokens that were never linked
    if names:
        durable.sync_folder(workspace.opening)
    return [sentence for sentence in done if sentence]


def _parsed(data: bytes) -> list[Mapping[str, object]]:
    """The runs of an intent; none when its writer died while writing it, before anything else was made."""
    try:
        found = json.loads(data)
    except ValueError:
        return []
    entries = found if isinstance(found, list) else []
    return [i for i in entries if isinstance(i, dict) and {"run", "source", "identity"} <= i.keys()]


def _settle(workspace: Workspace, intended: Mapping[str, object]) -> str:
    run, source, identity = str(intended["run"]), str(intended["source"]), intended["identity"]
    assert isinstance(identity, list)
    if is_opened(workspace, run):
        durable.sync_folder(workspace.to_run)  # whoever linked the token there may have died before this
        if intended.get("keeps_source"):
            return ""
        _remove_source(workspace, source, identity)
        durable.sync_folder(workspace.sources)
        return f"{source} was queued as {run} before; finished what was left of that"
    folder = workspace.run_folder(run)
    for name in (*MADE, *_half_made_views(folder)):
        with suppress(FileNotFoundError, NotADirectoryError):
            durable.unlink(os.path.join(folder, name))
    for name in (journal.folder_of(folder), folder):
        with suppress(OSError):  # not there, or somebody put something into it
            os.rmdir(name)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    durable.sync_folder(folder)  # before the intent goes: what came back without one would be in the way
    if intended.get("keeps_source"):
        return ""  # one of many; whoever readies the rest says so
    return f"{source} was not queued when an earlier ready was cut short; it is readied anew"


def _half_made_views(folder: str) -> list[str]:
    with suppress(OSError):
        return [name for name in os.listdir(folder) if name.startswith("status.yaml.tmp")]
    return []


def is_opened(workspace: Workspace, run: str) -> bool:
    """Whether a run passed its commit point: its token waits, or somebody claimed it at least once."""
    folder = workspace.run_folder(run)
    for _ in range(2):  # a claim makes its journal file before it takes the token away
        if any(n > 0 for n in journal.attempts(folder)):
            return True
        for place in (workspace.to_run, workspace.running):  # after a power cut that file may be missing
            if any(token.run_of(found.path) == run for found in token.scan(place)):
                return True
    return False


def is_run(folder: str) -> bool:
    """Whether a folder below ``Output/`` is a run's, of this format or of the first Job Orchestration."""
    return os.path.isdir(os.path.join(folder, "journal")) or os.path.isfile(os.path.join(folder, CONFIG))


def enclosing_run(workspace: Workspace, run: str) -> str | None:
    """The run whose folder a new run's would lie in, if there is one."""
    parts = run.split("/")
    for depth in range(1, len(parts)):
        above = "/".join(parts[:depth])
        if is_run(workspace.run_folder(above)):
            return above
    return None


def enclosed_run(workspace: Workspace, run: str) -> str | None:
    """A run whose folder lies inside that of a new run, if there is one."""
    for folder, names, _ in os.walk(workspace.run_folder(run)):
        for name in names:
            if is_run(os.path.join(folder, name)):
                return os.path.relpath(os.path.join(folder, name), workspace.output)
    return None


def taken_stems(workspace: Workspace) -> set[str]:
    """The stems of all tokens: a new one gets a name that none of them has."""
    places = (Place.TO_RUN, Place.RUNNING, Place.COMPLETED, Place.FAILED)
    return {found.stem for place in places for found in _names(workspace.folders[place])}


def _names(folder: str) -> list[TokenName]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [found for name in names if (found := TokenName.parse(name)) is not None]
