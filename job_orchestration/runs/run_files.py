"""The files of a run that people read: what its tasks saved and wrote, its inputs, its log and its config.

Files of the program itself (journal, staging, mid-way checkpoints) are not among them, nor is a task's
folder that its checkpoint passes over for another one.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Final

from job_orchestration.diagnostics import suggestions
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped, named
from job_orchestration.workspace import safe_reads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.runs.state import RunState

_OURS: Final = frozenset({"journal"})


def names(run_folder: str, state: RunState) -> list[str]:
    """Return the paths of a run's files, relative to its folder, sorted; links are left out."""
    passed_over = _passed_over(run_folder, state)
    found: list[str] = []
    for folder, folders, files in os.walk(run_folder):
        is_top = folder == run_folder
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and not (is_top and (name in _OURS or name in passed_over))
        ]
        for name in files:
            path = os.path.join(folder, name)
            with suppress(OSError):
                if not name.startswith(".") and stat.S_ISREG(os.lstat(path).st_mode):
                    found.append(os.path.relpath(path, run_folder))
    return sorted(found)


def _passed_over(run_folder: str, state: RunState) -> set[str]:
    """Return the folders of earlier tries of tasks that have a checkpoint."""
    counting = {task.id: task.folder for task in state.tasks if task.folder is not None}
    return {
        name for name in safe_reads.names_in(run_folder) if counting.get(name.partition("~")[0], name) != name
    }


def path_of(run_folder: str, state: RunState, name: str) -> str:
    """Return the path of a file.

    Args:
        run_folder: the folder of the run.
        state: the run.
        name: the path relative to the run's folder, or the end of it if only one file ends so.

    Raises:
        UsageError: if there is no such file, or more than one.
    """
    first, slash, rest = name.partition("/")
    folders = {task.id: task.folder for task in state.tasks if task.folder is not None}
    wanted = f"{folders.get(first, first)}{slash}{rest}"
    known = names(run_folder, state)
    if wanted in known:
        return os.path.join(run_folder, wanted)
    found = [path for path in known if path.endswith(f"/{name}")]
    if len(found) > 1:
        raise UsageError(f"{escaped(name)} may mean {named(map(escaped, found))}", "Write the whole path")
    if not found:
        raise UsageError(f"The run has no file {escaped(name)}", _hint(name, known))
    return os.path.join(run_folder, found[0])


def _hint(name: str, known: Sequence[str]) -> str:
    near = suggestions.nearest_names(name, [*known, *map(os.path.basename, known)], most=3)
    if near:
        return suggestions.did_you_mean([escaped(n) for n in near])
    return f"It has {named(map(escaped, known))}" if known else "It has none yet"


def opened(path: str, mode: str = "r", encoding: str = "utf-8") -> IO[Any]:
    """Open a file of a run for reading; a link, a pipe or a device is refused.

    Args:
        path: its path.
        mode: ``r`` for text, ``rb`` for bytes.
        encoding: of a text.

    Raises:
        UsageError: if the mode is another one.
        OSError: if it cannot be read.
    """
    if mode not in {"r", "rt", "rb"}:
        raise UsageError(f"{mode!r} is no mode for a file of a run", "Use 'r' for text or 'rb' for bytes")
    with safe_reads.plain_file(path) as (descriptor, _):
        os.set_blocking(descriptor, True)
        copy = os.dup(descriptor)
    return open(copy, mode, encoding=None if mode == "rb" else encoding)
