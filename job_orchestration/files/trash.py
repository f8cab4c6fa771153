"""``Misc/trash/``: what was replaced or removed, until somebody brings it back or empties it.

Each entry is a folder named after the time of its making, with the run's output folder and its token. The
token goes there first and comes back last, so a run whose folder is in ``Output`` and whose token is in the
trash was cut off half-way, whichever way it went; `unfinished` finds those, and they are brought back.
A token is the run's frozen config, byte for byte: one that is nowhere is made again from that.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from job_orchestration.files import durable, journal, store, token
from job_orchestration.files.opening import (
    CONFIG,
    PROVENANCE,
    enclosed_run,
    enclosing_run,
    taken_stems,
)
from job_orchestration.model.run import Place, Status
from job_orchestration.rules import lifecycle
from job_orchestration.rules.naming import Fault, TokenName, numbered, stem_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.run import RunState

_STAMP: Final = "%Y%m%dT%H%M%SZ"
_TOKENS: Final = (Place.TO_RUN, Place.RUNNING, Place.COMPLETED, Place.FAILED)
_ENDS: Final = {Status.COMPLETE: Place.COMPLETED, Status.FAILED: Place.FAILED}
_IDENTITY: Final = frozenset({CONFIG, PROVENANCE, "journal", "status.yaml"})
"""What is not output in a run's folder, or is only a view."""


@dataclass(frozen=True, slots=True)
class Discarded:
    """One entry of the trash."""

    path: str
    at: datetime | None
    """When it was put there; `None` for an entry that somebody else made."""
    run: str | None
    """The run that it was; `None` for one of the first Job Orchestration, and for what is no run."""
    folder: str | None
    """What was its output folder; `None` when that is not in this entry."""
    token: str | None

    @property
    def name(self) -> str:
        """What the entry is called."""
        return os.path.basename(self.path)

    @property
    def config(self) -> str:
        """The name of its config, as far as it is known."""
        return stem_of(os.path.basename(self.token or self.folder or ""))


def tokens_of_ended(workspace: Workspace) -> Mapping[str, Sequence[token.Token]]:
    """The tokens of each run that has ended, for whoever puts many away: each is opened once."""
    found: dict[str, list[token.Token]] = {}
    for lying in (t for place in _ENDS.values() for t in token.scan(workspace.folders[place])):
        run = token.run_of(lying.path)
        if run is not None:
            found.setdefault(run, []).append(lying)
    return found


def put_away(
    workspace: Workspace, run: str, known: Mapping[str, Sequence[token.Token]] | None = None
) -> Fault | None:
    """Move a finished run out of the way, its token first; a queued or running one is never touched.

    Args:
        workspace: where it is.
        run: its name.
        known: what `tokens_of_ended` found, if it was asked.

    Returns:
        Why it could not be moved, if it could not.
    """
    folder = workspace.run_folder(run)
    inside = enclosed_run(workspace, run)
    if inside is not None:
        return Fault(
            f"the run {inside} lies inside Output/{run}", "Choose an outputDir that no other run lies in"
        )
    with ExitStack() as locks:
        tokens = [found for found in (known or {}).get(run, ()) if token.run_of(found.path) == run]
        tokens = tokens or _tokens(workspace, run, *_ENDS.values())
        for found in tokens:
            try:
                descriptor = token.lock(found.path)
            except token.UnfitTokenError as error:
                return Fault(f"{found.filename} is in the way: {error.what}", error.todo)
            if descriptor is None:
                return Fault(f"somebody is working on the run {run}", "Try again when that has ended")
            locks.callback(os.close, descriptor)
        if not _has_ended(workspace, run):
            return Fault(
                f"the run {run} is still queued or running",
                "Wait until it has ended, or use another outputDir",
            )
        _move(workspace, folder, tokens)
    return None


def _has_ended(workspace: Workspace, run: str) -> bool:
    """Whether nobody will go on with a run whose tokens, where it has any, are locked by us.

    Somebody who asks a failed run to go on has its token in Running until the journal says so; therefore
    Running is looked at first.
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
    """A new folder in the trash, named after the moment."""
    stamp = datetime.now(UTC).strftime(_STAMP)
    bin_ = _bin_of(workspace)
    durable.make_folder(bin_)
    place = os.path.join(bin_, numbered(stamp, lambda name: os.path.lexists(os.path.join(bin_, name))))
    durable.make_folder(place)
    return place


def put_output_away(workspace: Workspace, run: str, state: RunState) -> None:
    """Do with a run's old output what was asked when it was requeued; doing it again changes nothing.

    A run that begins anew keeps what says what it is: its config, its provenance, and its journal. One that
    goes on from a task loses the mid-way checkpoints of that task and of those behind it.
    """
    asked = state.requeued
    if asked is None:
        return
    folder = workspace.run_folder(run)
    if asked.fresh:
        names = [name for name in os.listdir(folder) if name not in _IDENTITY]
    else:
        ids = [task.id for task in state.tasks]
        names = [os.path.join(store.RESUME, id_) for id_ in ids[ids.index(asked.task or "") :]]
    found = [name for name in names if os.path.lexists(os.path.join(folder, name))]
    if not found:
        return
    place = os.path.join(_new_place(workspace), os.path.basename(folder))
    for name in found:
        target = os.path.join(place, name)
        durable.make_folder(os.path.dirname(target))
        durable.rename_folder(os.path.join(folder, name), target)


def _tokens(workspace: Workspace, run: str, *places: Place) -> list[token.Token]:
    return [
        t for place in places for t in token.scan(workspace.folders[place]) if token.run_of(t.path) == run
    ]


# -- and back again ---------------------------------------------------------------------------------------


def _bin_of(workspace: Workspace) -> str:
    return os.path.join(workspace.misc, "trash")


def contents(workspace: Workspace) -> list[Discarded]:
    """The entries of the trash, oldest first."""
    try:
        names = sorted(os.listdir(_bin_of(workspace)))
    except FileNotFoundError:
        return []
    return [found for name in names if (found := _entry(os.path.join(_bin_of(workspace), name))) is not None]


def entry(workspace: Workspace, name: str) -> Discarded | None:
    """One entry of the trash; `None` when there is none of that name."""
    return _entry(os.path.join(_bin_of(workspace), name))


def _entry(path: str) -> Discarded | None:
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return None
    if not names:
        return None
    folders = [p for n in names if os.path.isdir(p := os.path.join(path, n)) and not os.path.islink(p)]
    tokens = [os.path.join(path, n) for n in names if TokenName.parse(n) is not None]
    folder, found = next(iter(folders), None), next(iter(tokens), None)
    frozen = os.path.join(folder, CONFIG) if folder else found
    run = token.run_of(frozen) if frozen else None
    at = None
    with suppress(ValueError):
        at = datetime.strptime(os.path.basename(path).partition("-")[0], _STAMP).replace(tzinfo=UTC)
    return Discarded(path, at, run if run and token.is_inside_output(run) else None, folder, found)


def settle(workspace: Workspace) -> list[str]:
    """Bring back what was moved half-way when somebody died. Called under `opening.only_one`.

    Returns:
        The runs that are whole again.
    """
    for found in contents(workspace):
        if found.run and found.token and _has_other_name(workspace, found.run, found.token):
            durable.unlink(found.token)  # whoever moved it linked it, and died before the unlink
    with suppress(FileNotFoundError):
        for name in os.listdir(_bin_of(workspace)):
            with suppress(OSError):
                os.rmdir(os.path.join(_bin_of(workspace), name))  # an entry that nothing is in
    return [d.run for d in unfinished(workspace) if d.run and bring_back(workspace, d) is None]


def _has_other_name(workspace: Workspace, run: str, path: str) -> bool:
    """Whether a token in the trash is at the same time one in the folders of configs."""
    with suppress(FileNotFoundError):
        if os.stat(path).st_nlink == 1:
            return False
        return any(os.path.samefile(path, other.path) for other in _tokens(workspace, run, *_TOKENS))
    return False


def unfinished(workspace: Workspace) -> list[Discarded]:
    """The entries with a token whose run is still, or again, in ``Output`` and has no other."""
    found = [d for d in contents(workspace) if d.run and d.token and not d.folder]
    return [d for d in found if d.run and d.token and _is_half_moved(workspace, d.run, d.token)]


def _is_half_moved(workspace: Workspace, run: str, path: str) -> bool:
    with suppress(OSError):
        same = journal.whole(path) == journal.whole(os.path.join(workspace.run_folder(run), CONFIG))
        return same and is_without_token(workspace, run)
    return False


def is_without_token(workspace: Workspace, run: str) -> bool:
    """Whether a run that has ended lies in ``Output`` and nothing in the folders of configs stands for it.

    A token that moves while it is looked for is met when it is looked for once more.
    """
    for _ in range(2):
        state = _state(workspace, run)
        if state.status not in _ENDS or _tokens(workspace, run, *_TOKENS):
            return False
    return True


def _state(workspace: Workspace, run: str) -> RunState:
    return lifecycle.fold(journal.read(workspace.run_folder(run)))


def bring_back(workspace: Workspace, found: Discarded) -> Fault | None:
    """Put an entry's run back where it was; nothing is ever replaced. Called under `opening.only_one`.

    Returns:
        Why it stays in the trash, if it does.
    """
    if found.run is None:
        return Fault(
            f"{found.name} does not say which run it was", f"Move it out of {_bin_of(workspace)} by hand"
        )
    if found.folder is not None:
        fault = _obstacle(workspace, found.run)
        if fault is not None:
            return fault
        target = workspace.run_folder(found.run)
        durable.make_folder(os.path.dirname(target))
        durable.rename_folder(found.folder, target)
    fault = give_token(workspace, found.run, found.token)
    with suppress(OSError):  # something else is in there, and stays
        os.rmdir(found.path)
    return fault


def _obstacle(workspace: Workspace, run: str) -> Fault | None:
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
    """Give a run that has ended its token back. Called under `opening.only_one`.

    Args:
        workspace: where the run lies in ``Output``.
        run: the run.
        path: its token, when there is one in the trash; otherwise it is made anew from the frozen config.

    Returns:
        Why it gets none, if it does not.
    """
    state = _state(workspace, run)
    place = _ENDS.get(state.status)
    if place is None or not is_without_token(workspace, run):
        return Fault(
            f"Output/{run} is no run that has ended and lost its token", "See what it is with: doctor"
        )
    if path is None:
        path = os.path.join(workspace.opening, str(TokenName(state.config)))
        with suppress(FileNotFoundError):
            durable.unlink(path)
        durable.write_new(path, journal.whole(os.path.join(workspace.run_folder(run), CONFIG)))
    taken = taken_stems(workspace)
    stem = numbered(stem_of(os.path.basename(path)), lambda name: name in taken)
    durable.move_new(path, os.path.join(workspace.folders[place], str(TokenName(stem))))
    return None
