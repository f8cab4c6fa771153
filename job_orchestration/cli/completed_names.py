"""Names of runs and configs for completion, found without reading a journal.

A name comes from a token: the run from its first line, the config from its file name. Ten thousand of them
take a tenth of a second.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from job_orchestration.runs import token_header
from job_orchestration.workspace import naming, safe_reads
from job_orchestration.workspace.layout import Place
from job_orchestration.workspace.naming import TokenName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from job_orchestration.workspace.layout import Workspace

_WAITING: Final = frozenset({Place.TO_RUN, Place.HELD})
_PLACES: Final = {
    "retry": frozenset({Place.FAILED}),
    "cancel": frozenset({*_WAITING, Place.RUNNING}),
    "hold": frozenset({Place.TO_RUN}),
    "release": frozenset({Place.HELD}),
    "wait": frozenset({*_WAITING, Place.RUNNING}),
    "gc": frozenset({Place.COMPLETED, Place.FAILED}),
    "export": frozenset({Place.COMPLETED, Place.FAILED}),
}
"""The places whose runs a command is about; all, for any other command."""
_EVERYWHERE: Final = frozenset(Place) - {Place.SOURCES}


def runs(workspace: Workspace, command: str, word: str) -> Iterator[tuple[str, str]]:
    """Yield the names by which a command finds runs, each with the run's place.

    Args:
        workspace: the workspace to read.
        command: the name of the command.
        word: what the user has typed; the names of configs are left out while that is nothing.
    """
    if command == "restore":
        yield from _trashed(workspace)
        return
    seen: set[str] = set()
    for place, token in _tokens(workspace, _PLACES.get(command, _EVERYWHERE)):
        name = TokenName.parse(os.path.basename(token))
        run = token_header.run_of(token)
        names = (run or "", f"{name.stem}.yaml" if name and word else "")
        for found in names:
            if found and found.startswith(word) and found not in seen:
                seen.add(found)
                yield found, place.value.replace("_", " ")


def dropped(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Yield the names of the configs in ConfigSources."""
    for name in sorted(safe_reads.names_in(workspace.sources)):
        if naming.is_config_name(name):
            yield name, ""


def _tokens(workspace: Workspace, places: Collection[Place]) -> Iterator[tuple[Place, str]]:
    """Yield the tokens of some places, those that are not finished first."""
    for place, folder in workspace.folders.items():
        for filename in sorted(safe_reads.names_in(folder)) if place is not Place.SOURCES else ():
            here = Place.HELD if place is Place.TO_RUN and filename.endswith("~held.yaml") else place
            if here in places and filename.endswith(".yaml"):
                yield here, os.path.join(folder, filename)


def _trashed(workspace: Workspace) -> Iterator[tuple[str, str]]:
    from job_orchestration.runs import trash

    for entry in trash.contents(workspace):
        yield entry.run or entry.name, "in the trash"
