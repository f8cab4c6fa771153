"""Open runs: turn checked configs into output folders and queued tokens in one crash-safe step.

Opening takes many writes and must appear as one. An *intent* in ``Misc/opening/`` names everything that is
about to be created. Then the output folders are written, and the tokens beside the intent. After all of that
is on the disk, each token is linked into ConfigsToRun, which is its run's commit point. Then the sources are
removed (`queued_sources`), and last the intent. Many openings share one sync of the file system.

A run that alone cannot be opened, because its folder belongs to another user, say, is left out, and the
others are opened.

If a process dies while opening, the next one finds the intent and settles each run in it. A run with a token,
or with any attempt, was opened; only its source remains to be removed. The half-made folder of any other run
is removed. A lock on ``Misc/opening`` allows one opening process at a time.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from job_orchestration.config import yaml_writer
from job_orchestration.config.settings import settings_of
from job_orchestration.runs import (
    event_codec,
    journal,
    lifecycle,
    queued_sources,
    status_file,
    submitted_files,
    token,
    token_header,
)
from job_orchestration.runs.artifact_store import PARTIAL
from job_orchestration.runs.events import JournalEntry, Readied
from job_orchestration.runs.queued_sources import Source
from job_orchestration.workspace import clock, durable, failures, locks, naming, safe_reads
from job_orchestration.workspace.group_sync import GroupSync
from job_orchestration.workspace.layout import TOKEN_PLACES
from job_orchestration.workspace.naming import TokenName
from job_orchestration.workspace.safe_reads import names_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from job_orchestration.config.config import Json
    from job_orchestration.runs.events import Code, Event, Trial
    from job_orchestration.runs.state import RunState
    from job_orchestration.runs.taken_checkpoints import TakenCheckpoint
    from job_orchestration.workspace.layout import Workspace

CONFIG: Final = "config.yaml"
PROVENANCE: Final = "provenance.json"
MADE: Final = (CONFIG, PROVENANCE, "status.yaml", os.path.join("journal", "000000.jsonl"))
"""The files that opening creates in a run's folder; all other files there stay."""
INPUTS: Final = submitted_files.FOLDER
"""The folder in a run's folder of the files that were submitted with it."""
MANY: Final = 8
"""Number of openings from which on one sync of the whole file system is cheaper than a sync per file."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CheckedRun:
    """A run that passed every check and may be opened."""

    drop: Source
    run: str
    config: str
    """The name of the config: the stem of the dropped file."""
    name: str
    """The wanted stem of the token; it may be too long or taken."""
    values: Mapping[str, Json]
    """The resolved config, with ``outputDir``."""
    code: Code | None
    trial: Trial | None
    seed: int | None = None
    """The seed; `None`: the one that the config names, or a new one."""
    rerun_of: str | None = None
    """The run that it repeats; there is no dropped file then."""
    keeps_source: bool = False
    """Whether there is no source to remove; that of a trial stays anyway."""
    inputs: tuple[str, ...] = ()
    """Paths of durable files that the run's folder gets a link to, in `INPUTS`."""
    verify: Mapping[str, Json] | None = None
    """How it is to be compared with that run once it has completed."""
    own_environment: Mapping[str, Json] | None = None
    """The Python and packages that its tasks run with, if not those of the worker."""
    checkpoints: tuple[TakenCheckpoint, ...] = ()
    """Those of leading tasks of that run, which the new one takes."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A run to open."""

    drop: Source
    run: str
    stem: str
    """The token's stem; free in all config folders when it was chosen."""
    token: bytes
    """The resolved config with its header line: the content of the token and of ``config.yaml``."""
    provenance: bytes
    readied: Readied
    keeps_source: bool = False
    """Whether no source is removed: it becomes several runs and goes with the last, or there is none."""
    inputs: tuple[str, ...] = ()
    """Paths of durable files that the run's folder gets a link to, in `INPUTS`."""
    checkpoints: tuple[TakenCheckpoint, ...] = ()
    """Those that are taken from the run that ``readied`` names."""


class Opened(NamedTuple):
    """An opened run."""

    path: str
    """The token's path at its commit."""
    run: str
    state: RunState


def only_one(workspace: Workspace, *, wait: bool = True) -> AbstractContextManager[int]:
    """Hold the lock on opening runs.

    Raises:
        BlockingIOError: if another process holds it and `wait` is false.
    """
    return locks.folder_lock(workspace.opening, wait=wait)


def token_of(run: str, values: Mapping[str, Json]) -> bytes:
    """Return the content of the token of a run: its resolved config, below comments for the queue."""
    header = f"{token_header.HEADER}{run}\n{token_header.comment_of(values)}"
    return yaml_writer.to_yaml(values, comment=header)


def prepare(checked: CheckedRun, taken: set[str], provenance: Callable[[str, int], bytes]) -> Opening:
    """Choose a run's seed and token, and build what opening writes.

    Args:
        checked: the run.
        taken: the stems that tokens have; the chosen one is added.
        provenance: makes the content of ``provenance.json`` from the token's digest and the seed.
    """
    data = token_of(checked.run, checked.values)
    digest = hashlib.sha256(data).hexdigest()
    settings = settings_of(checked.values)
    seed = settings.seed if checked.seed is None else checked.seed
    if seed is None:  # drawn seeds are never the same, and then nothing could be reused
        seed = 0 if settings.reuse else random.SystemRandom().getrandbits(32)
    stem = naming.numbered(naming.bounded(checked.name, naming.MOST_STEM_BYTES), lambda n: n in taken)
    taken.add(stem)
    return Opening(
        checked.drop,
        checked.run,
        stem,
        data,
        provenance(digest, seed),
        Readied(
            *(checked.config, digest, checked.values, seed, checked.code, checked.trial),
            rerun_of=checked.rerun_of,
            verify=checked.verify,
            own_environment=checked.own_environment,
        ),
        keeps_source=checked.keeps_source or checked.trial is not None or checked.rerun_of is not None,
        inputs=checked.inputs,
        checkpoints=checked.checkpoints,
    )


def open_runs(
    workspace: Workspace,
    openings: Sequence[Opening],
    *,
    may_wait: bool = False,
    refuse: Callable[[Opening, OSError], None] | None = None,
    before_queued: Callable[[str, RunState], None] | None = None,
) -> list[Opened]:
    """Open runs. The caller holds `only_one`.

    Args:
        workspace: the workspace.
        openings: the runs.
        may_wait: whether a sync of the whole file system is acceptable; a worker avoids that wait.
        refuse: called for a run that alone cannot be opened, after what was made of it is removed; by
            default its error is raised.
        before_queued: called with each run and its state when its folder is made and synced, before any
            worker can claim it.

    Returns:
        The runs that were opened, in order.

    Raises:
        OSError: a write failed; `recover` settles the half-open runs.
    """
    if not openings:
        return []
    intent = os.path.join(workspace.opening, f"{openings[0].stem}.json")
    durable.write_new(intent, json.dumps([_intended(o) for o in openings]).encode())
    durable.sync_folder(workspace.opening)
    in_group = may_wait and len(openings) >= MANY
    with GroupSync.where_trusted(workspace.output) if in_group else GroupSync(None) as writes:
        made = _each(openings, lambda o: _make(workspace, o, writes), refuse)
        if len(made) < len(openings):  # a recovery must not touch what is in the way of the others
            durable.replace(intent, json.dumps([_intended(o) for o, _ in made]).encode())
        writes.sync({folder for o, _ in made for folder in _folders_of(workspace, o)})
    states = {opening.run: state for opening, state in made}
    if before_queued is not None:
        for run, state in states.items():
            before_queued(run, state)
    linked = _each([o for o, _ in made], lambda o: _link(workspace, o), refuse)
    durable.sync_folder(workspace.to_run)
    whole = {opening.drop: opening.run for opening, _ in linked if not opening.keeps_source}
    if whole:
        queued_sources.remove(workspace, whole)
    durable.unlink(intent)
    return [Opened(target, opening.run, states[opening.run]) for opening, target in linked]


def _each(
    openings: Iterable[Opening],
    call: Callable[[Opening], T],
    refuse: Callable[[Opening, OSError], None] | None,
) -> list[tuple[Opening, T]]:
    """Do one step of several openings; refuse those that it alone fails for."""
    done = []
    for opening in openings:
        try:
            done.append((opening, call(opening)))
        except OSError as error:
            if refuse is None or failures.concerns_all(error):
                raise
            refuse(opening, error)
    return done


def _link(workspace: Workspace, opening: Opening) -> str:
    """Put a run's token into ConfigsToRun: its commit point."""
    name = str(TokenName(opening.stem))
    target = os.path.join(workspace.to_run, name)
    made = os.path.join(workspace.opening, name)
    try:
        durable.link(made, target)
    except OSError as error:  # put there by hand a moment ago, or the folder is another user's
        if not failures.concerns_all(error):
            _remove_made(workspace, opening)
            durable.unlink(made)
        raise
    durable.unlink(made)
    return target


def _intended(opening: Opening) -> dict[str, object]:
    return {
        "run": opening.run,
        "token": str(TokenName(opening.stem)),
        "source": opening.drop.filename,
        "identity": opening.drop.identity,
        **({"keeps_source": True} if opening.keeps_source else {}),
        **({"inputs": list(opening.inputs)} if opening.inputs else {}),
        **({"checkpoints": [c.task.id for c in opening.checkpoints]} if opening.checkpoints else {}),
    }


def _folders_of(workspace: Workspace, opening: Opening) -> tuple[str, ...]:
    """Return the folders that get new entries before the commit."""
    folder = workspace.run_folder(opening.run)
    inputs = (os.path.join(folder, INPUTS),) if opening.inputs else ()
    return (*inputs, journal.folder_of(folder), folder, os.path.dirname(folder))


def _make(workspace: Workspace, opening: Opening, writes: GroupSync) -> RunState:
    """Write a run's folder and token; the caller syncs them and their folders before the commit."""
    folder = workspace.run_folder(opening.run)
    durable.make_folder(os.path.dirname(folder))
    with suppress(FileExistsError):
        os.mkdir(folder)
    os.mkdir(journal.folder_of(folder))
    try:
        return _fill(workspace, opening, folder, writes)
    except OSError as error:
        if not failures.concerns_all(error):
            _remove_made(workspace, opening)
        raise


def _fill(workspace: Workspace, opening: Opening, folder: str, writes: GroupSync) -> RunState:
    """Write the files of a run whose journal's folder this process has just made."""
    if opening.inputs:
        os.mkdir(os.path.join(folder, INPUTS))
        for path in opening.inputs:
            durable.link(path, os.path.join(folder, INPUTS, os.path.basename(path)))
    writes.write_new(os.path.join(folder, CONFIG), opening.token)
    writes.write_new(os.path.join(folder, PROVENANCE), opening.provenance)
    events: list[Event] = [opening.readied]
    if opening.checkpoints:
        from job_orchestration.runs import taken_checkpoints

        source = str(opening.readied.rerun_of)
        events += taken_checkpoints.put_in_place(opening.checkpoints, folder, source)
    entries = [JournalEntry(n, clock.timestamp(), event) for n, event in enumerate(events, 1)]
    writes.write_new(journal.path_of(folder, 0), b"".join(map(event_codec.encode, entries)))
    state = lifecycle.fold({0: entries})
    status_file.write_status(folder, state, is_new=True)
    writes.write_new(os.path.join(workspace.opening, str(TokenName(opening.stem))), opening.token)
    return state


def recover(workspace: Workspace) -> list[str]:
    """Settle interrupted openings. The caller holds `only_one`.

    Returns:
        One sentence per settled run.
    """
    done: list[str] = []
    queued_sources.put_all_back(workspace)
    names = sorted(n for n in os.listdir(workspace.opening) if not n.endswith(queued_sources.NOTED))
    for name in (n for n in names if n.endswith(".json")):
        path = os.path.join(workspace.opening, name)
        try:
            done += [_settle(workspace, intended) for intended in _parsed(safe_reads.whole(path))]
            durable.unlink(path)
        except OSError as error:
            if failures.concerns_all(error):
                raise
            done.append(
                f"Misc/opening/{name} of a ready that was cut short is left as it is: {error.strerror}"
            )
    for name in (n for n in names if not n.endswith(".json")):
        with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
            durable.unlink(os.path.join(workspace.opening, name))  # tokens that were never linked
    if names:
        durable.sync_folder(workspace.opening)
    return [sentence for sentence in done if sentence]


def _parsed(data: bytes) -> list[Mapping[str, object]]:
    """Parse an intent; empty if its writer died while writing it, before it created anything else."""
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
        durable.sync_folder(workspace.to_run)  # the process that linked the token may have died before this
        if intended.get("keeps_source"):
            return ""
        queued_sources.remove(workspace, {Source(source, tuple(identity)): run})
        return f"{source} was queued as {run} before; finished what was left of that"
    inputs = intended.get("inputs", ())
    assert isinstance(inputs, (list, tuple))
    tasks = intended.get("checkpoints", ())
    assert isinstance(tasks, (list, tuple))
    _remove_half_made(workspace, run, inputs, tasks)
    if intended.get("keeps_source"):
        return ""  # one of many runs; the pass that queues the rest reports it
    return f"{source} was not queued when an earlier ready was cut short; it is readied again"


def _remove_made(workspace: Workspace, opening: Opening) -> None:
    """Remove what was made of a run that cannot be opened."""
    _remove_half_made(workspace, opening.run, opening.inputs, [c.task.id for c in opening.checkpoints])


def _remove_half_made(
    workspace: Workspace, run: str, inputs: Iterable[str] = (), tasks: Sequence[str] = ()
) -> None:
    """Remove what opening made in a run's folder, and the folder if nothing else is in it."""
    folder = workspace.run_folder(run)
    for name in (*tasks, PARTIAL) if tasks else ():
        shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
    linked = [os.path.join(INPUTS, os.path.basename(path)) for path in inputs]
    for name in (*MADE, *linked, *_half_written_status(folder)):
        with suppress(FileNotFoundError, NotADirectoryError):
            durable.unlink(os.path.join(folder, name))
    emptied = (os.path.join(folder, INPUTS),) if linked else ()
    for name in (*emptied, journal.folder_of(folder), folder):
        with suppress(OSError):  # missing, or it holds other files
            os.rmdir(name)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    durable.sync_folder(
        folder
    )  # before the intent is removed: a folder restored by a power cut would be in the way


def _half_written_status(folder: str) -> list[str]:
    return [name for name in names_in(folder) if name.startswith("status.yaml.tmp")]


def is_opened(workspace: Workspace, run: str) -> bool:
    """Return whether a run passed its commit point: its token is queued, or it has an attempt."""
    folder = workspace.run_folder(run)
    for _ in range(2):  # a claim creates its journal file before it moves the token
        if any(n > 0 for n in journal.attempts(folder)):
            return True
        for place in (workspace.to_run, workspace.running):  # after a power cut that file may be missing
            if any(token_header.run_of(found.path) == run for found in token.scan(place)):
                return True
    return False


def is_run(folder: str) -> bool:
    """Return whether a folder below ``Output/`` is a run of this format or of the first release."""
    return os.path.isdir(os.path.join(folder, "journal")) or os.path.isfile(os.path.join(folder, CONFIG))


def enclosing_run(workspace: Workspace, run: str) -> str | None:
    """Return the existing run whose folder would contain a new run, if any."""
    parts = run.split("/")
    for depth in range(1, len(parts)):
        above = "/".join(parts[:depth])
        if is_run(workspace.run_folder(above)):
            return above
    return None


def enclosed_run(workspace: Workspace, run: str) -> str | None:
    """Return an existing run inside the folder of a new run, if any."""
    for folder, names, _ in os.walk(workspace.run_folder(run)):
        for name in names:
            if is_run(os.path.join(folder, name)):
                return os.path.relpath(os.path.join(folder, name), workspace.output)
    return None


def taken_stems(workspace: Workspace) -> set[str]:
    """Return the stems of all tokens; a new token needs another one."""
    return {found.stem for place in TOKEN_PLACES for found in _tokens_in(workspace.folders[place])}


def _tokens_in(folder: str) -> list[TokenName]:
    return [found for name in names_in(folder) if (found := TokenName.parse(name)) is not None]
