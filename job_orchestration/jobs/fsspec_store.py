"""FsspecStore: jobs in any storage that fsspec knows, such as a container of blobs (the extra ``[stores]``).

A job is a folder ``<url>/<job>`` with all its files, and a mark in it that says when it was created. The run
of the job is in some workspace, from which its status is reported here.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.diagnostics.errors import JobExistsError, JobNotFoundError, UsageError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.jobs import job_names, job_status
from job_orchestration.jobs.job_files import CONFIG, JobFiles
from job_orchestration.jobs.job_status import JobStatus
from job_orchestration.workspace import clock

if TYPE_CHECKING:
    from collections.abc import Sequence

_MARK: Final = ".job.json"
"""Says when the job was created; of several creators at once, one writes it."""
_STATUS: Final = "jobstatus"
_LOCAL: Final = frozenset({"file", "local"})


class FsspecStore(JobFiles):
    """Jobs in a folder of any storage.

    Args:
        url: such as ``az://container/jobs``, ``s3://bucket/jobs`` or ``file:///data/jobs``.
        storage_options: what fsspec needs for this storage, such as ``connection_string``.

    Raises:
        UsageError: if fsspec, or what it needs for this storage, is not installed.
    """

    def __init__(self, url: str, **storage_options: Any) -> None:
        try:
            import fsspec

            self._files, self._root = fsspec.core.url_to_fs(url, **storage_options)
        except ImportError as error:
            todo = "Run: pip install 'job-orchestration[stores]', and what fsspec needs for this storage"
            raise UsageError(f"This store cannot be used: {error}", todo) from None
        except ValueError as error:
            raise UsageError(
                f"{escaped(url)} is no store: {error}", "Give an address such as az://box/jobs"
            ) from None
        self.job_path = url
        """The address of the folder."""
        protocol = self._files.protocol
        self._is_local = not _LOCAL.isdisjoint([protocol] if isinstance(protocol, str) else protocol)

    # -- jobs -----------------------------------------------------------------------------------------

    def exists(self, job: str) -> bool:
        """Return whether there is such a job."""
        return bool(self._files.exists(self._path(job_names.path_friendly_job_name(job), _MARK)))

    def create(self, job: str, *, exist_ok: bool = False) -> bool:
        """Create a job, whose files can be saved then.

        Args:
            job: its name.
            exist_ok: whether it may exist.

        Returns:
            Whether it was created now.

        Raises:
            JobExistsError: if it exists and may not.
        """
        safe = job_names.path_friendly_job_name(job)
        self._files.makedirs(self._path(safe), exist_ok=True)
        data = json.dumps({"job": safe, "created_at": clock.now().isoformat()}).encode()
        try:
            self._files.pipe_file(self._path(safe, _MARK), data, mode="create")
        except FileExistsError:
            if exist_ok:
                return False
            raise JobExistsError(
                f"The job {escaped(safe)} exists already; it is {self.status(safe).status}",
                "Use another name, or delete() it",
            ) from None
        return True

    def delete(self, job: str, confirmation: bool = False) -> bool:
        """Delete a job with all its files, for good.

        Args:
            job: its name.
            confirmation: whether it is meant.

        Returns:
            True.

        Raises:
            UsageError: if it is not confirmed.
            JobNotFoundError: if there is no such job.
        """
        safe = self._require(job)
        if not confirmation:
            raise UsageError(f"Nothing was deleted of {escaped(safe)}", "Say delete(job, confirmation=True)")
        for path in self._paths(safe):
            if not path.endswith(f"/{_MARK}"):
                self._files.rm_file(path)
        self._files.rm_file(self._path(safe, _MARK))  # last: what is interrupted can be repeated
        with suppress(OSError, NotImplementedError):
            self._files.rmdir(self._path(safe))
        return True

    def list(self) -> Sequence[str]:
        """Return the names of all jobs, sorted."""
        try:
            found = self._files.ls(self._root, detail=False, refresh=True)
        except FileNotFoundError:
            return []
        names = {str(path).rstrip("/").rpartition("/")[2] for path in found}
        return sorted(name for name in names if not name.startswith(".") and self.exists(name))

    def status(self, job: str) -> JobStatus:
        """Return the status of a job as it was last reported, with the code 404 if there is no such job."""
        safe = job_names.path_friendly_job_name(job)
        if not self.exists(safe):
            return job_status.unknown(safe)
        with suppress(JobNotFoundError):
            return JobStatus.from_json(self.read_json_results(safe, _STATUS))
        return job_status.created(safe, {"results": f"{self.job_path.rstrip('/')}/{safe}"})

    def report_status(self, status: JobStatus) -> None:
        """Keep the status of a job that is executed elsewhere."""
        self.save_json_results(status.name, _STATUS, status.as_json())

    # -- files ----------------------------------------------------------------------------------------

    def file_names(self, job: str) -> Sequence[str]:
        """Return the names of a job's files, sorted."""
        safe = self._require(job)
        names = (path.rpartition("/")[2] for path in self._paths(safe))
        return sorted(name for name in names if not name.startswith("."))

    def input_names(self, job: str) -> Sequence[str]:
        """Return the names of the inputs that were saved."""
        safe = self._require(job)
        marks = [path for path in self._paths(safe) if path.endswith(_INPUT)]
        names = [path.rpartition("/")[2].removeprefix(".").removesuffix(_INPUT) for path in marks]
        return sorted(
            name.removeprefix(f"{safe}_").removesuffix(".txt") for name in names if name.endswith(".txt")
        )

    def results_file_location(self, job: str, filename: str) -> str:
        """Return the address of a file of a job.

        Raises:
            JobNotFoundError: if there is no such job or file.
        """
        safe = self._require(job)
        path = self._path(safe, job_names.file_name(safe, filename, ""))
        if not self._files.exists(path):
            raise JobNotFoundError(
                f"The job {escaped(safe)} has no file {escaped(filename)}", "See file_names() of the store"
            )
        return str(path) if self._is_local else str(self._files.unstrip_protocol(path))

    def read_bytes(self, job: str, filename: str) -> bytes:
        """Return the content of a file of a job.

        Raises:
            JobNotFoundError: if there is no such job or file.
            OSError: if it cannot be read.
        """
        safe = self._require(job)
        try:
            return bytes(self._files.cat_file(self._path(safe, job_names.file_name(safe, filename, ""))))
        except FileNotFoundError:
            raise JobNotFoundError(
                f"The job {escaped(safe)} has no file {escaped(filename)}", "See file_names() of the store"
            ) from None

    def write_bytes(self, job: str, filename: str, data: bytes, *, is_input: bool = False) -> str:
        """Write a file of a job as one step; return its name.

        Raises:
            JobNotFoundError: if there is no such job.
            OSError: the storage failed; the old file is there as it was.
        """
        safe = self._require(job)
        name = job_names.file_name(safe, filename, "")
        if is_input and name != job_names.file_name(safe, CONFIG, ".json"):
            self._put(self._path(safe, f".{name}{_INPUT}"), b"")
        self._put(self._path(safe, name), data)
        return name

    def _put(self, path: str, data: bytes) -> None:
        """Write a file; a put of a storage is one step, but on a disk of this machine it is not."""
        if not self._is_local:
            self._files.pipe_file(path, data)
            return
        from job_orchestration.workspace import durable

        folder, name = os.path.split(path)
        temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}")
        durable.write_new(temporary, data)
        durable.rename(temporary, path)
        durable.sync_folder(folder)

    def _path(self, *parts: str) -> str:
        return "/".join((self._root.rstrip("/"), *parts))

    def _paths(self, job: str) -> Sequence[str]:
        found = self._files.ls(self._path(job), detail=False, refresh=True)
        return [str(path) for path in found]


_INPUT: Final = ".input"
"""Ending of the mark of a file that was handed in."""
