"""Store a task's files: stage them aside and commit them atomically when the task finishes.

Files are staged in ``.partial/`` of the run's folder. A commit syncs every file, renames the staging folder
to the task's name and syncs the run's folder; then the checkpoint that names the folder is written. A crash
between the two leaves a folder that no checkpoint names; the next try commits beside it, as ``TASK~2``, and
replaces nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from job_orchestration.config import json_floats
from job_orchestration.runs import kept_values
from job_orchestration.runs.events import OutputFile
from job_orchestration.workspace import durable

if TYPE_CHECKING:
    from collections.abc import Iterable

PARTIAL: Final = ".partial"
RESUME: Final = ".resume"

log = logging.getLogger("job_orchestration")


class ArtifactStore:
    """The files of one task: its `context.store`.

    Args:
        run_folder: the run's output folder.
        task: the task's id, which names the folder.
        label: unique among the tries of this run.
    """

    def __init__(self, run_folder: str, task: str, label: str) -> None:
        self._run_folder = run_folder
        self._task = task
        self._staging = f"{run_folder}/{PARTIAL}/{task}~{label}"

    @property
    def staging(self) -> str:
        """The path of the staging folder, which need not exist."""
        return self._staging

    @property
    def folder(self) -> Path:
        """The staging folder; created on first access."""
        os.makedirs(self._staging, exist_ok=True)
        return Path(self._staging)

    def path(self, name: str) -> Path:
        """Return the path of a file in the store and create its parents.

        Raises:
            ValueError: the name leads out of the folder.
        """
        path = self.folder / name
        inside = os.path.normpath(os.path.join(self._staging, name))
        if os.path.isabs(name) or not inside.startswith(self._staging + os.sep):
            raise ValueError(f"{name!r} is not a name inside the task's folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def save_json(self, name: str, value: object) -> Path:
        """Save a value as strict JSON, indented for people; `TaskContext.load_json` reads it.

        NaN and infinities are objects ``{"$float": "nan"}``. What JSON cannot say is kept as a description,
        and a warning in the log names its place.
        """
        found, phrases = kept_values.kept(value, name, limit=None)
        if phrases:
            log.warning(
                "%s", kept_values.sentence_of(phrases, "write {} into a file in self.context.store.folder")
            )
        return self.save_text(name, json_floats.text_of(found, indent=2, ensure_ascii=False) + "\n")

    def save_text(self, name: str, text: str) -> Path:
        """Save text as UTF-8."""
        return self.save_bytes(name, text.encode("utf-8"))

    def save_bytes(self, name: str, data: bytes) -> Path:
        """Save bytes."""
        path = self.path(name)
        path.write_bytes(data)
        return path

    def commit(self, known: Iterable[OutputFile] | None = None) -> tuple[str | None, tuple[OutputFile, ...]]:
        """Commit the staged files.

        Args:
            known: the files, their paths relative to the store, if their digests need not be computed.

        Returns:
            The folder's name in the run's folder and its files; `None` and no files if nothing was saved.
        """
        if not os.access(self._staging, os.F_OK):  # raises no exception where there is nothing
            return None, ()
        durable.sync_tree(self._staging)
        name, number = self._task, 1
        while os.path.lexists(os.path.join(self._run_folder, name)):
            number += 1
            name = f"{self._task}~{number}"
        if known is None:
            outputs = tuple(_outputs(self._staging, name))
        else:
            outputs = tuple(OutputFile(f"{name}/{file.path}", file.bytes, file.sha256) for file in known)
        durable.rename_folder(self._staging, os.path.join(self._run_folder, name))
        return name, outputs

    def discard(self) -> None:
        """Delete the staged files of a failed try."""
        shutil.rmtree(self._staging, ignore_errors=True)


def _outputs(folder: str, name: str) -> list[OutputFile]:
    found = []
    for parent, _, files in os.walk(folder):
        for file in files:
            full = os.path.join(parent, file)
            if not os.path.isfile(full):
                continue
            with open(full, "rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
            found.append(
                OutputFile(os.path.join(name, os.path.relpath(full, folder)), os.path.getsize(full), digest)
            )
    return sorted(found, key=lambda output: output.path)


def clear_partial(run_folder: str) -> None:
    """Delete files that earlier attempts staged but never committed."""
    shutil.rmtree(os.path.join(run_folder, PARTIAL), ignore_errors=True)
