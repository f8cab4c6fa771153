"""What a task saves: gathered aside, and put in place all at once when the task has finished.

The files are gathered in ``.partial/`` of the run's folder. Committing them is: sync every file, one rename
to the folder named after the task, sync the run's folder; then the checkpoint that names the folder is
written. A crash between the two leaves a folder that no checkpoint names; the next try commits beside it,
as ``TASK~2``, and replaces nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from job_orchestration.files import durable
from job_orchestration.model.event import Output

if TYPE_CHECKING:
    from job_orchestration.model.task import Json

PARTIAL: Final = ".partial"
RESUME: Final = ".resume"


class FolderStore:
    """A task's own files, as its `context.store`.

    Args:
        run_folder: the run's output folder.
        task: the task's id, which names the folder.
        label: tells this try from every other one of this run.
    """

    def __init__(self, run_folder: str, task: str, label: str) -> None:
        self._run_folder = run_folder
        self._task = task
        self._staging = os.path.join(run_folder, PARTIAL, f"{task}~{label}")

    @property
    def folder(self) -> Path:
        """Where the files are gathered; made when it is first asked for."""
        os.makedirs(self._staging, exist_ok=True)
        return Path(self._staging)

    def path(self, name: str) -> Path:
        """The path of a file in the store, its parents made.

        Raises:
            ValueError: when the name leads out of the folder.
        """
        path = self.folder / name
        inside = os.path.normpath(os.path.join(self._staging, name))
        if os.path.isabs(name) or not inside.startswith(self._staging + os.sep):
            raise ValueError(f"{name!r} is not a name inside the task's folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def save_json(self, name: str, value: Json) -> Path:
        """Save a value as strict JSON, indented for people.

        Raises:
            ValueError: for NaN, infinity and what else JSON cannot say.
        """
        return self.save_text(name, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")

    def save_text(self, name: str, text: str) -> Path:
        """Save text as UTF-8."""
        return self.save_bytes(name, text.encode("utf-8"))

    def save_bytes(self, name: str, data: bytes) -> Path:
        """Save bytes as they are."""
        path = self.path(name)
        path.write_bytes(data)
        return path

    def commit(self) -> tuple[str | None, tuple[Output, ...]]:
        """Put the files in place.

        Returns:
            The folder's name in the run's folder and what is in it; nothing when nothing was saved.
        """
        if not os.path.isdir(self._staging):
            return None, ()
        durable.sync_tree(self._staging)
        name, number = self._task, 1
        while os.path.lexists(os.path.join(self._run_folder, name)):
            number += 1
            name = f"{self._task}~{number}"
        outputs = tuple(_outputs(self._staging, name))
        durable.rename_folder(self._staging, os.path.join(self._run_folder, name))
        return name, outputs

    def discard(self) -> None:
        """Throw away what was gathered: the try came to nothing."""
        shutil.rmtree(self._staging, ignore_errors=True)


def _outputs(folder: str, name: str) -> list[Output]:
    found = []
    for parent, _, files in os.walk(folder):
        for file in files:
            full = os.path.join(parent, file)
            if not os.path.isfile(full):
                continue
            with open(full, "rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
            found.append(
                Output(os.path.join(name, os.path.relpath(full, folder)), os.path.getsize(full), digest)
            )
    return sorted(found, key=lambda output: output.path)


def clear_partial(run_folder: str) -> None:
    """Throw away what earlier attempts had gathered and never committed."""
    shutil.rmtree(os.path.join(run_folder, PARTIAL), ignore_errors=True)
