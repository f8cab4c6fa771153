"""The folder in which a fork server imports the tasks: a working folder of its own.

What stands at the top of a module may read and write by relative names, as in a script: open a log, make a
folder for results. Each run of the fork server begins with a copy of what was made there.

The folder is removed when its fork server ends. One that was killed leaves it behind, without a lock, and the
next fork server of the workspace removes it. What a module wrote there after the imports, by a path or a file
that it kept, goes to the trash.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.runs import working_folder
from job_orchestration.workspace import locks
from job_orchestration.workspace.safe_reads import names_in

if TYPE_CHECKING:
    from job_orchestration.runs.working_folder import View

_NOTED: Final = "imported.json"
"""The file beside the working folder that says what the imports wrote into it."""


class ImportFolder:
    """The folder of this fork server, locked as long as it or one of its children lives.

    Args:
        parent: where it is made; what dead fork servers left there is removed.
        view: what it shows before the imports; this process changes into it.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, parent: str, view: View) -> None:
        os.makedirs(parent, exist_ok=True)
        collect(parent)
        with locks.folder_lock(parent):
            self._own = tempfile.mkdtemp(dir=parent)
            self._descriptor = os.open(self._own, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self._inside = view.inside
        self.base = working_folder.of_run(self._own)
        """The working folder in which the tasks are imported."""
        view.enter(self.base)

    def view(self) -> View:
        """Return what runs begin with: what the folder shows now, after the imports."""
        found = working_folder.view_in(self.base, self._inside)
        if found.copies:
            noted = {name: _state_of(path) for name, path in found.copies}
            with open(os.path.join(self._own, _NOTED), "w", encoding="utf-8") as file:
                json.dump(noted, file)
        return found

    def remove(self) -> None:
        """Remove the folder; the fork server ends."""
        os.chdir("/")
        _remove(self._own)


def collect(parent: str) -> None:
    """Remove the folders of fork servers that have ended. Best effort: errors are ignored."""
    for name in names_in(parent):
        path = os.path.join(parent, name)
        with suppress(OSError), locks.folder_lock(parent), locks.folder_lock(path, wait=False):
            _remove(path)


def _remove(path: str) -> None:
    noted: dict[str, list[int]] = {}
    with suppress(OSError, ValueError), open(os.path.join(path, _NOTED), "rb") as file:
        noted = json.load(file)
    base = working_folder.of_run(path)
    wrote = [os.path.relpath(os.path.join(path, name), base) for name in working_folder.files_in(path)]
    wrote = [name for name in wrote if noted.get(name) != _state_of(os.path.join(base, name))]
    if wrote:
        from job_orchestration.runs import trash
        from job_orchestration.workspace import layout

        workspace = layout.locate(os.path.dirname(os.path.dirname(os.path.dirname(path))))
        trash.put_files_away(workspace, "imports", {name: os.path.join(base, name) for name in wrote})
    shutil.rmtree(path, ignore_errors=True)


def _state_of(path: str) -> list[int]:
    status = os.lstat(path)
    return [status.st_size, status.st_mtime_ns]
