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
    wanted = _without_globs(workspace, names)
    for name in wanted:
        if (run := _folder(name)) not in runs:
            _require(workspace, name, _found(trash.contents(workspace), run))
    refused: list[Problem] = []
    for name in wanted:
        with opening.only_one(workspace):
            run = _folder(name)
            if run in runs:
                continue
            found = _found(trash.contents(workspace), run)
            _require(workspace, name, found)
            if found is None:
                fault = trash.give_token(workspace, run)
            else:
                run = found.run or found.name
                fault = trash.bring_back(workspace, found)
        if fault is None:
            runs.append(run)
        else:
            refused.append(Problem(run, fault.what, fault.todo))
    return Restored(tuple(runs), tuple(refused))


def _folder(name: str) -> str:
    return name.rstrip("/").removeprefix("Output/")


def _require(workspace: Workspace, name: str, found: Discarded | None) -> None:
    run = _folder(name)
    if found is None and not (token.is_inside_output(run) and trash.is_without_token(workspace, run)):
        raise UsageError(f"There is no {escaped(name)} in the trash", "See what there is with: restore")


def _without_globs(workspace: Workspace, names: Sequence[str]) -> list[str]:
    """The names, those of the entries that it fits in the place of each glob."""
    contents = [d for d in trash.contents(workspace) if d.folder is not None]
    wanted: list[str] = []
    for name in names:
        glob = _folder(name)
        is_glob = not selection.GLOB.isdisjoint(glob) and _found(contents, glob) is None
        fitting = [d.name for d in contents if any(fnmatchcase(n or "", glob) for n in (d.run, d.config))]
        wanted += fitting if is_glob and fitting else [name]
    return list(dict.fromkeys(wanted))


def _found(contents: Sequence[Discarded], name: str) -> Discarded | None:
    whole = [d for d in contents if d.folder is not None]
    exact = [d for d in whole if name in {d.name, d.run}]
    found = exact or [d for d in whole if naming.stem_of(name) == d.config]
    if len(found) > 1:
        entries = ", ".join(d.name for d in found)
        raise UsageError(
            f"{escaped(name)} may mean {len(found)} entries of the trash", f"Name one: {entries}"
        )
    return found[0] if found else None
