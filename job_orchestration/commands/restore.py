"""`restore`: list the trash, and bring runs back from it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from job_orchestration.commands import changes, selection
from job_orchestration.commands.changes import Changes
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import Fault, Problem, escaped
from job_orchestration.housekeeping import garbage
from job_orchestration.runs import claims, opening, trash
from job_orchestration.workspace import naming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.runs.trash import TrashEntry
    from job_orchestration.workspace.layout import Workspace


@dataclass(frozen=True, slots=True)
class Kept:
    """One entry of the trash."""

    entry: str
    run: str | None
    config: str
    at: str | None
    """When it was moved there: UTC, ISO 8601."""
    bytes: int

    def as_json(self) -> dict[str, Any]:
        """Return the entry as ``restore --json`` prints it."""
        return {name: getattr(self, name) for name in self.__slots__}


def trashed(workspace: Workspace) -> list[Kept]:
    """Return the entries of the trash, oldest first. Changes and locks nothing."""
    return [
        Kept(d.name, d.run, d.config, d.at.isoformat() if d.at else None, garbage.size_of(d.path))
        for d in trash.contents(workspace)
    ]


def restore(workspace: Workspace, names: Sequence[str]) -> Changes:
    """Bring runs back, each with its token; nothing is overwritten.

    Args:
        workspace: with all its folders in place.
        names: output folders, configs, trash entries, or globs. A run in ``Output`` without a token gets
            its token back.

    Raises:
        UsageError: if a name matches nothing, or more than one entry; then nothing was done.
    """
    with opening.only_one(workspace):
        runs = trash.settle(workspace)
    refused: list[Problem] = []
    for name, found in _wanted(workspace, names, runs):
        if found is not None and found.run in runs:
            continue  # named twice
        run = name if found is None else found.run or found.name
        with opening.only_one(workspace):
            problem = changes.guarded(workspace, run, functools.partial(_restore_one, workspace, run, found))
        if problem is None:
            runs.append(run)
        else:
            refused.append(problem)
    return Changes(tuple(runs), tuple(refused))


def _wanted(
    workspace: Workspace, names: Sequence[str], there: Sequence[str]
) -> list[tuple[str, TrashEntry | None]]:
    """Return each name with its trash entry; `None` for a run that lost its token."""
    contents = [d for d in trash.contents(workspace) if d.folder is not None]
    found = [(n, _found(contents, n)) for n in _without_globs(contents, names) if n not in there]
    for run, discarded in found:
        if discarded is None and not (
            claims.is_inside_output(run) and trash.is_without_token(workspace, run)
        ):
            raise UsageError(f"There is no {escaped(run)} in the trash", "See what there is with: restore")
    return found


def _restore_one(workspace: Workspace, run: str, found: TrashEntry | None) -> Problem | None:
    """Bring back one run; return why it stays where it is, if it does."""
    if found is None:
        fault = trash.give_token(workspace, run)
    elif not trash.still_there(found):
        fault = Fault("It has been restored in the meantime", "Look again")
    else:
        fault = trash.bring_back(workspace, found)
    return Problem(run, fault.what, fault.todo) if fault else None


def _without_globs(contents: Sequence[TrashEntry], names: Sequence[str]) -> list[str]:
    """The names as they stand below ``Output``; in the place of each glob those of the entries it fits."""
    wanted: list[str] = []
    for name in names:
        folder = name.rstrip("/").removeprefix("Output/")
        is_glob = not selection.GLOB.isdisjoint(folder) and _found(contents, folder) is None
        fitting = [d.name for d in contents if any(fnmatchcase(n or "", folder) for n in (d.run, d.config))]
        wanted += fitting if is_glob and fitting else [folder]
    return list(dict.fromkeys(wanted))


def _found(contents: Sequence[TrashEntry], name: str) -> TrashEntry | None:
    exact = [d for d in contents if name in {d.name, d.run}]
    found = exact or [d for d in contents if naming.stem_of(name) == d.config]
    if len(found) > 1:
        are_apart = len({d.path for d in found}) > 1
        entries = ", ".join(escaped(d.name if are_apart else d.run or d.name) for d in found)
        raise UsageError(
            f"{escaped(name)} may mean {len(found)} entries of the trash", f"Name one: {entries}"
        )
    return found[0] if found else None
