"""Keep a copy of the record of the run that a worker holds, outside of the run's folder.

A task may remove or overwrite anything in its run's folder. What is needed to go on with a run is its journal
(`runs.journal`): before a worker advances a run, it writes the files of the journal, and the provenance, into
``Misc/backups/WORKER``, in one call over what the last run left there. So a run costs one write, and a worker
one file. The file is not synced: it must survive the worker, and the kernel's page cache does. A checksum
covers all of it, so half of an older content is never taken for a copy.

`runs.record_repair` reads the copy back when the journal is not what was written.
"""

from __future__ import annotations

import json
import os
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.workspace import safe_reads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.workspace.layout import Workspace

_FORMAT: Final = 1


def folder_of(workspace: Workspace) -> str:
    """Return the folder of the copies."""
    return os.path.join(workspace.misc, "backups")


class BackupWriter:
    """Writes the copies of one worker; best effort, because a full disk must not stop a run.

    Args:
        workspace: the workspace of the runs.
        worker: the worker's name.
    """

    def __init__(self, workspace: Workspace, worker: str) -> None:
        self._path = os.path.join(folder_of(workspace), worker)
        self._descriptor = -1
        self._length = 0

    def write(self, run: str, files: Mapping[str, bytes]) -> None:
        """Replace the copy by that of another run.

        Args:
            run: the run's name.
            files: path in the run's folder to content.
        """
        body = b"".join(files.values())
        head = {
            "format": _FORMAT,
            "run": run,
            "crc": zlib.crc32(body),
            "files": {name: len(data) for name, data in files.items()},
        }
        data = json.dumps(head).encode() + b"\n" + body
        with suppress(OSError):
            if self._descriptor < 0:
                os.makedirs(os.path.dirname(self._path), exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                self._descriptor = os.open(self._path, flags, 0o666)
            os.pwrite(self._descriptor, data, 0)
            if len(data) < self._length:
                os.ftruncate(self._descriptor, len(data))
            self._length = len(data)

    def close(self) -> None:
        """Remove the copy: the worker ends, and holds no run."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            with suppress(OSError):
                os.unlink(self._path)
            self._descriptor = -1


def read(workspace: Workspace, run: str) -> dict[str, bytes]:
    """Return the latest copy of a run's files, by path in the run's folder; empty if there is none."""
    found: dict[str, bytes] = {}
    for name in safe_reads.names_in(folder_of(workspace)):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            files = _files_in(safe_reads.whole(os.path.join(folder_of(workspace), name)), run)
            if len(files) > len(found):
                found = files
    return found


def _files_in(data: bytes, run: str) -> dict[str, bytes]:
    line, _, body = data.partition(b"\n")
    head = json.loads(line)
    length = sum(head["files"].values())
    if head["format"] != _FORMAT or head["run"] != run or zlib.crc32(body[:length]) != head["crc"]:
        return {}
    found, at = {}, 0
    for name, size in head["files"].items():
        found[name] = body[at : at + size]
        at += size
    return found
