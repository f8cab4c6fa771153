"""Move runs to ``Misc/trash/`` and restore them.

Each entry is a folder named after its time of creation, with the run's output folder and token. The token is
moved there first and restored last, so a run whose folder is in ``Output`` and whose token is in the trash
was interrupted half-way, in either direction; `unfinished` finds such entries, and `settle` restores them. A
token equals the run's frozen config byte for byte, and its digest stands in the journal, so a lost token is
recreated.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.errors import OrchestrationError
from job_orchestration.diagnostics.problems import Fault
from job_orchestration.runs import (
    artifact_store,
    claims,
    journal,
    lifecycle,
    submitted_files,
    token,
    token_header,
)
from job_orchestration.runs.events import Readied
from job_orchestration.runs.opening import (
    CONFIG,
    PROVENANCE,
    enclosed_run,
    enclosing_run,
    taken_stems,
    token_of,
)
from job_orchestration.runs.state import Status
from job_orchestration.workspace import clock, durable, failures, safe_reads
from job_orchestration.workspace.layout import FINAL_PLACES, TOKEN_PLACES, Place
from job_orchestration.workspace.naming import TokenName, numbered, stem_of
from job_orchestration.workspace.safe_reads import DamagedFileError, UnreadableFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from job_orchestration.runs.state import RunState
    from job_orchestration.workspace.layout import Workspace

_STAMP: Final = "%Y%m%dT%H%M%SZ"
_FINAL_PLACE_OF: Final = {Status.COMPLETE: Place.COMPLETED, Status.FAILED: Place.FAILED}
_IDENTITY: Final = frozenset({CONFIG, PROVENANCE, "journal", "status.yaml"})
"""The entries of a run's folder that are not output."""


@dataclass(frozen=True, slots=True)
class TrashEntry:
    """An entry of the trash."""

    path: str
    at: datetime | None
    """Its time of creation; `None` if another program created the entry."""
    run: str | None
    """The run's name; `None` for a run of the first release, and for other files."""
    folder: str | None
    """The path of the run's output folder; `None` if the entry has none."""
    token: str | None

    @property
    def name(self) -> str:
        """The name of the entry."""
        return os.path.basename(self.path)

    @property
    def config(self) -> str:
        """The name of the config, if known; otherwise empty."""
        return stem_of(os.path.basename(self.token or self.folder or ""))


def tokens_of_ended(workspace: Workspace) -> Mapping[str, Sequence[token.Token]]:
    """Map each ended run to its tokens. Opens each token once, for callers that move many runs."""
    found: dict[str, list[token.Token]] = {}
    for lying in (t for place in FINAL_PLACES for t in token.scan(workspace.folders[place])):
        run = token_header.run_of(lying.path)
        if run is not None:
            found.setdefault(run, []).append(lying)
    return found


def put_away(
    workspace: Workspace, run: str, known: Mapping[str, Sequence[token.Token]] | None = None
) -> Fault | None:
    """Move an ended run to the trash, its token first; a queued or running one is never touched.

    Args:
        workspace: the run's workspace.
        run: the run's name.
        known: the result of `tokens_of_ended`, if available.

    Returns:
        The reason if the run could not be moved.
    """
    folder = workspace.run_folder(run)
    inside = enclosed_run(workspace, run)
    if inside is not None:
        return Fault(
            f"the run {inside} lies inside Output/{run}", "Choose an outputDir that no other run lies in"
        )
    with ExitStack() as locks:
        tokens = [found for found in (known or {}).get(run, ()) if token_header.run_of(found.path) == run]
        tokens = tokens or _tokens(workspace, run, *FINAL_PLACES)
        for found in tokens:
            try:
                descriptor = claims.lock(found.path)
            except claims.UnfitTokenError as error:
                return Fault(f"{found.filename} is in the way: {error.what}", error.todo)
            if descriptor is None:
                return Fault(f"the run {run} is held by another process", "Try again after that has ended")
            locks.callback(os.close, descriptor)
        if not _has_ended(workspace, run):
            return Fault(
                f"the run {run} is still queued or running",
                "Wait until it has ended, or use another outputDir",
            )
        _move(workspace, folder, tokens)
    return None


def _has_ended(workspace: Workspace, run: str) -> bool:
    """Return whether a run whose tokens this process has locked has ended for good.

    A retry keeps the token in Running until the journal holds `requeued`; so Running is checked first.
    """
    if _tokens(workspace, run, Place.RUNNING):
        return False
    events = journal.read(workspace.run_folder(run))
    return not events or lifecycle.fold(events).status in {Status.COMPLETE, Status.FAILED}


def _move(workspace: Workspace, folder: str, tokens: Sequence[token.Token]) -> None:
    place = _new_place(workspace)
    for found in tokens:
        durable.move_new(found.path, os.path.join(place, found.filename))
    durable.rename_folder(folder, os.path.join(place, os.path.basename(folder)))


def _new_place(workspace: Workspace) -> str:
    """Create a folder in the trash that no other process uses, named after the current time.

    Only the process whose `mkdir` made the folder has it: a look whether the name is free is out of date when
    several processes move runs in the same second.
    """
    stamp = clock.now().strftime(_STAMP)
    bin_ = _bin_of(workspace)
    durable.make_folder(bin_)
    taken: set[str] = set()
    while True:
        name = numbered(stamp, lambda name: name in taken or os.path.lexists(os.path.join(bin_, name)))
        if durable.make_folder(os.path.join(bin_, name)):
            return os.path.join(bin_, name)
        taken.add(name)


def _new_place_for(workspace: Workspace, folder: str) -> str:
    """Create an entry with an empty folder of a run's name in it, and return the path of that folder.

    `settle` removes empty entries, because a killed process leaves them; it may meet this one before anything
    is in it. Then another entry is made.
    """
    while True:
        place = os.path.join(_new_place(workspace), os.path.basename(folder))
        with suppress(FileNotFoundError):
            durable.make_new_folder(place)
            return place


def put_output_away(workspace: Workspace, run: str, state: RunState) -> None:
    """Move a requeued run's old output to the trash, as its `requeued` event asks. Idempotent.

    A run that restarts from the beginning keeps its config, provenance, journal and
    the files that were submitted with it. A run that restarts from
    a task loses the mid-way checkpoints of that task and of later ones.
    """
    requeued = state.requeued
    if requeued is None:
        return
    folder = workspace.run_folder(run)
    if requeued.fresh:
        inputs = {submitted_files.FOLDER} if submitted_files.are_there(state.values) else frozenset()
        names = [name for name in os.listdir(folder) if name not in _IDENTITY | inputs]
    else:
        ids = [task.id for task in state.tasks]
        names = [os.path.join(artifact_store.RESUME, id_) for id_ in ids[ids.index(requeued.task or "") :]]
    found = [name for name in names if os.path.lexists(os.path.join(folder, name))]
    if not found:
        return
    place = _new_place_for(workspace, folder)
    for name in found:
        target = os.path.join(place, name)
        durable.make_folder(os.path.dirname(target))
        durable.rename_folder(os.path.join(folder, name), target)


def put_files_away(workspace: Workspace, name: str, files: Mapping[str, str]) -> str:
    """Move files that belong to no run into an entry of their own.

    Args:
        workspace: the workspace.
        name: the folder in the entry.
        files: the path of each file, by its path in that folder.

    Returns:
        The path of the folder in the trash.

    Raises:
        OSError: a file could not be moved.
    """
    place = _new_place_for(workspace, name)
    for inside, path in files.items():
        target = os.path.join(place, inside)
        durable.make_folder(os.path.dirname(target))
        durable.rename_folder(path, target)
    return place


def _tokens(workspace: Workspace, run: str, *places: Place) -> list[token.Token]:
    return [
        t
        for place in places
        for t in token.scan(workspace.folders[place])
        if token_header.run_of(t.path) == run
    ]


# -- restoring ---------------------------------------------------------------------------------------


def _bin_of(workspace: Workspace) -> str:
    return os.path.join(workspace.misc, "trash")


def contents(workspace: Workspace) -> list[TrashEntry]:
    """List the entries of the trash, oldest first.

    A folder that holds several runs, as older releases could make one, is an entry for each of them.
    """
    bin_ = _bin_of(workspace)
    return [e for name in safe_reads.names_in(bin_) for e in _entries(os.path.join(bin_, name))]


def still_there(found: TrashEntry) -> bool:
    """Return whether an entry is as it was when it was listed."""
    return found in _entries(found.path)


def _entries(path: str) -> list[TrashEntry]:
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return []
    folders = [p for n in names if os.path.isdir(p := os.path.join(path, n)) and not os.path.islink(p)]
    tokens = [os.path.join(path, n) for n in names if TokenName.parse(n) is not None]
    at = None
    with suppress(ValueError):
        at = datetime.strptime(os.path.basename(path).partition("-")[0], _STAMP).replace(tzinfo=UTC)
    run_of = {token: _run_in(token) for token in tokens}
    found: list[TrashEntry] = []
    for folder in folders:
        run = _run_of(folder)
        own = next((t for t in tokens if run_of[t] == run), None)
        if own is not None:
            tokens.remove(own)
        found.append(TrashEntry(path, at, run, folder, own))
    found += [TrashEntry(path, at, run_of[token], None, token) for token in tokens]
    return found or ([TrashEntry(path, at, None, None, None)] if names else [])


def _run_in(config: str) -> str | None:
    """Return the run that a token or frozen config names, if it may be below ``Output``."""
    run = token_header.run_of(config)
    return run if run and claims.is_inside_output(run) else None


def _run_of(folder: str) -> str | None:
    """Return the run that a folder belongs to, by its journal: a task may have its own ``config.yaml``."""
    with suppress(OSError):
        first = _readied(folder)
        run = first.values.get("outputDir") if first is not None else None
        if isinstance(run, str) and claims.is_inside_output(run):
            return run
    return _run_in(os.path.join(folder, CONFIG))


def _readied(folder: str) -> Readied | None:
    entries, _ = journal.read_file(folder, 0)
    first = entries[0].event if entries else None
    return first if isinstance(first, Readied) else None


def settle(workspace: Workspace) -> list[str]:
    """Restore runs whose move was interrupted. The caller holds `opening.only_one`.

    An entry that cannot be restored stays where it is, and `doctor` names it.

    Returns:
        The restored runs.

    Raises:
        OSError: the disk or the machine failed.
    """
    for found in contents(workspace):
        with _alone():
            if found.run and found.token and _has_other_name(workspace, found.run, found.token):
                durable.unlink(found.token)  # a move was interrupted between its link and its unlink
    for name in safe_reads.names_in(_bin_of(workspace)):
        with suppress(OSError):
            os.rmdir(os.path.join(_bin_of(workspace), name))  # an empty entry
    restored: list[str] = []
    for found in unfinished(workspace):
        with _alone():
            if found.run and bring_back(workspace, found) is None:
                restored.append(found.run)
    return restored


@contextmanager
def _alone() -> Iterator[None]:
    """Go on with the next entry after an error that only this one meets."""
    try:
        yield
    except (OSError, OrchestrationError) as error:
        if failures.concerns_all(error) and not isinstance(error, DamagedFileError | UnreadableFileError):
            raise


def _has_other_name(workspace: Workspace, run: str, path: str) -> bool:
    """Return whether a token in the trash also has a name in a config folder."""
    with suppress(FileNotFoundError):
        if os.stat(path).st_nlink == 1:
            return False
        return any(os.path.samefile(path, other.path) for other in _tokens(workspace, run, *TOKEN_PLACES))
    return False


def unfinished(workspace: Workspace) -> list[TrashEntry]:
    """List the entries with a token whose run is in ``Output`` and has no other token."""
    found = [d for d in contents(workspace) if d.run and d.token and not d.folder]
    return [d for d in found if d.run and d.token and _is_half_moved(workspace, d.run, d.token)]


def _is_half_moved(workspace: Workspace, run: str, path: str) -> bool:
    with suppress(OSError):
        first = _readied(workspace.run_folder(run))
        same = first is not None and _is_token(safe_reads.whole(path), first)
        return same and is_without_token(workspace, run)
    return False


def _is_token(data: bytes, first: Readied) -> bool:
    return hashlib.sha256(data).hexdigest() == first.digest


def is_without_token(workspace: Workspace, run: str) -> bool:
    """Return whether an ended run in ``Output`` has no token in any config folder.

    The folders are searched twice, so that a token that moves during the first search is found.
    """
    for _ in range(2):
        state = _state(workspace, run)
        if state.status not in _FINAL_PLACE_OF or _tokens(workspace, run, *TOKEN_PLACES):
            return False
    return True


def _state(workspace: Workspace, run: str) -> RunState:
    return lifecycle.fold(journal.read(workspace.run_folder(run)))


def bring_back(workspace: Workspace, found: TrashEntry) -> Fault | None:
    """Restore an entry's run; nothing is replaced. The caller holds `opening.only_one`.

    Returns:
        The reason if it stays in the trash.
    """
    if found.run is None:
        return Fault(
            f"{found.name} does not say which run it was", f"Move it out of {_bin_of(workspace)} by hand"
        )
    if found.folder is not None:
        fault = obstacle(workspace, found.run)
        if fault is not None:
            return fault
        journal.read(found.folder)  # if it is damaged, it stays where it is
        target = workspace.run_folder(found.run)
        durable.make_folder(os.path.dirname(target))
        durable.rename_folder(found.folder, target)
    fault = give_token(workspace, found.run, found.token)
    with suppress(OSError):  # other files in it stay
        os.rmdir(found.path)
    return fault


def add(workspace: Workspace, folder: str) -> TrashEntry:
    """Move a folder with a run's output folder and token into the trash, in one step; return its entry."""
    bin_ = _bin_of(workspace)
    durable.make_folder(bin_)
    while True:
        place = _new_place(workspace)
        try:
            durable.rename_folder(folder, place)
        except FileNotFoundError:  # `settle` removes empty entries
            if not os.path.isdir(folder):
                raise
        else:
            return _entries(place)[0]


def obstacle(workspace: Workspace, run: str) -> Fault | None:
    """Return why no run of this name can be put into ``Output``; `None` if it can."""
    if os.path.lexists(workspace.run_folder(run)):
        return Fault(
            f"Output/{run} is there already", "Move it away, or gc it, before you restore the old one"
        )
    above = enclosing_run(workspace, run)
    if above is not None:
        return Fault(f"Output/{run} would lie inside the run {above}", "Move that away first")
    folder = os.path.dirname(workspace.run_folder(run))
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder) or os.path.realpath(folder) != folder:
        return Fault(f"{folder} is no folder of its own", "Move it away first")
    return None


def give_token(workspace: Workspace, run: str, path: str | None = None) -> Fault | None:
    """Restore the token of an ended run. The caller holds `opening.only_one`.

    Args:
        workspace: the run's workspace.
        run: the run's name; its folder is in ``Output``.
        path: the token in the trash; if not given, the token is recreated from the frozen config or, if a
            task has written its own ``config.yaml``, from the journal.

    Returns:
        The reason if no token was restored.
    """
    state = _state(workspace, run)
    place = _FINAL_PLACE_OF.get(state.status)
    if place is None or not is_without_token(workspace, run):
        return Fault(
            f"Output/{run} is no run that has ended and lost its token", "See what it is with: doctor"
        )
    if path is None:
        data = _lost_token(workspace, run)
        if data is None:
            what = f"the token of {run} is lost, and its config.yaml is not as it was queued"
            return Fault(what, f"Put Output/{run}/config.yaml back from a copy")
        path = os.path.join(workspace.opening, str(TokenName(state.config)))
        with suppress(FileNotFoundError):
            durable.unlink(path)
        durable.write_new(path, data)
    taken = taken_stems(workspace)
    stem = numbered(stem_of(os.path.basename(path)), lambda name: name in taken)
    durable.move_new(path, os.path.join(workspace.folders[place], str(TokenName(stem))))
    return None


def _lost_token(workspace: Workspace, run: str) -> bytes | None:
    folder = workspace.run_folder(run)
    first = _readied(folder)
    if first is None:
        return None
    with suppress(OSError):
        data = safe_reads.whole(os.path.join(folder, CONFIG))
        if _is_token(data, first):
            return data
    data = token_of(run, first.values)
    return data if _is_token(data, first) else None
