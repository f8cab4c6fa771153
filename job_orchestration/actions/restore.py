"""`restore`: runs come back out of the trash."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from job_orchestration.actions import selection
from job_orchestration.files import litter, opening, token, trash
from job_orchestration.model.errors import UsageError
from job_orchestration.model.problem import Problem, escaped
from job_orchestration.rules import naming
from job_orchestration.rules.naming import Fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.files.trash import Discarded
    from job_orchestration.files.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Kept:
    """What lies in the trash, as it is shown."""

    entry: str
    run: str | None
    config: str
    at: str | None
    """When it was put there: UTC, ISO 8601."""
    bytes: int

    def as_json(self) -> dict[str, Any]:
        """The entry as ``restore --json`` shows it."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of the runs that were wanted back."""

    runs: tuple[str, ...]
    refused: tuple[Problem, ...]


def trashed(workspace: Workspace) -> list[Kept]:
    """What lies in the trash, oldest first; nothing is changed or locked."""
    return [
        Kept(d.name, d.run, d.config, d.at.isoformat() if d.at else None, litter.size_of(d.path))
        for d in trash.contents(workspace)
    ]


def restore(workspace: Workspace, names: Sequence[str]) -> Restored:
    """Bring runs back, each with its token; what is in their way stays as it is.

    Args:
        workspace: with all its folders in place.
        names: output folders, configs, or entries of the trash, or globs. A run that lies in ``Output``
            without a token gets its token back.

    Raises:
        UsageError: when a name means nothing, or more than one thing; then nothing was done.
    """
    with opening.only_one(workspace):
        runs = trash.settle(workspace)
    refused: list[Problem] = []
    for name, found in _wanted(workspace, names, runs):
        if found is not None and found.run in runs:
            continue  # named twice
        with opening.only_one(workspace):
            run, fault = _restore_one(workspace, name, found)
        if fault is None:
            runs.append(run)
        else:
            refused.append(Problem(run, fault.what, fault.todo))
    return Restored(tuple(runs), tuple(refused))


def _wanted(
    workspace: Workspace, names: Sequence[str], there: Sequence[str]
) -> list[tuple[str, Discarded | None]]:
    """Each name with its entry of the trash; without one for a run that lost its token."""
    contents = [d for d in trash.contents(workspace) if d.folder is not None]
    found = [(n, _found(contents, n)) for n in _without_globs(contents, names) if n not in there]
    for run, discarded in found:
        if discarded is None and not (token.is_inside_output(run) and trash.is_without_token(workspace, run)):
            raise UsageError(f"There is no {escaped(run)} in the trash", "See what there is with: restore")
    return found


def _restore_one(workspace: Workspace, name: str, found: Discarded | None) -> tuple[str, Fault | None]:
    """Bring back one run; returns its name, and why it stays where it is, if it does."""
    if found is None:
        return name, trash.give_token(workspace, name)
    still = trash.entry(workspace, found.name)
    if still is None:
        return found.run or name, Fault("Somebody brought it back in the meantime", "Look again")
    return still.run or still.name, trash.bring_back(workspace, still)


def _without_globs(contents: Sequence[Discarded], names: Sequence[str]) -> list[str]:
    """The names as they stand below ``Output``; in the place of each glob those of the entries it fits."""
    wanted: list[str] = []
    for name in names:
        folder = name.rstrip("/").removeprefix("Output/")
        is_glob = not selection.GLOB.isdisjoint(folder) and _found(contents, folder) is None
        fitting = [d.name for d in contents if any(fnmatchcase(n or "", folder) for n in (d.run, d.config))]
        wanted += fitting if is_glob and fitting else [folder]
    return list(dict.fromkeys(wanted))


def _found(contents: Sequence[Discarded], name: str) -> Discarded | None:
    exact = [d for d in contents if name in {d.name, d.run}]
    found = exact or [d for d in contents if naming.stem_of(name) == d.config]
    if len(found) > 1:
        entries = ", ".join(d.name for d in found)
        raise UsageError(
            f"{escaped(name)} may mean {len(found)} entries of the trash", f"Name one: {entries}"
        )
    return found[0] if found else None
