"""ResultsFileStore: the jobs of a workspace. A job is the run of its name, and its status that of the run.

A job that is not queued yet has a folder ``Misc/jobs/<job>`` with ``inputs`` (what was handed in, and the
parameters) and ``saved`` (anything else). When its run is there, the files move to the folders of the same
names in ``Output/<job>``; each of them is found in either place, so a crash between two moves hides nothing.
"""

from __future__ import annotations

import os
import re
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.api import Run, Workspace
from job_orchestration.api.reading import Reader, selection_of
from job_orchestration.diagnostics.errors import (
    JobExistsError,
    JobNotFoundError,
    UsageError,
    WorkspaceError,
)
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.jobs import environment, job_names, job_status
from job_orchestration.jobs.job_files import JobFiles
from job_orchestration.runs import journal, opening, trash
from job_orchestration.workspace import durable, layout, safe_reads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from job_orchestration.commands.status import StatusEntry
    from job_orchestration.jobs.job_status import JobStatus

SAVED: Final = "saved"
"""The folder of what is saved through a store, in the folder of a job."""
_KINDS: Final = (opening.INPUTS, SAVED)
_MANY: Final = 10
_TEMPORARY: Final = re.compile(r"\.tmp[0-9]+$")
_ELSEWHERE: Final = {
    "df_GO.tsv": "df_sim.tsv",
    "df_edgelist.tsv": "df_edge.tsv",
    "df_convert_out_subset.tsv": "df_convert_out.tsv",
}
"""Files of a job, and those that the tasks of GenePlexus write instead."""
_ONE_WRITER: Final = threading.Lock()
"""The names of temporary files tell processes apart, not threads."""


class ResultsFileStore(JobFiles):
    """The jobs of a workspace, and their files.

    Args:
        job_path: the folder of the workspace; default: what ``JOBS_PATH`` or ``JOB_PATH`` names, then
            ``JOB_ORCHESTRATION_WORKSPACE``.
        create_if_missing: make the folder a workspace if it is none.

    Raises:
        WorkspaceError: if there is no workspace.
    """

    def __init__(
        self, job_path: str | os.PathLike[str] | None = None, create_if_missing: bool = False
    ) -> None:
        named = os.fspath(job_path) if job_path is not None else environment.jobs_path()
        try:
            place = layout.locate(named)
        except WorkspaceError:
            if not create_if_missing or not named:
                raise
            place = layout.locate(str(Workspace.create(named).path))
        self.workspace = Workspace(place.root)
        """The workspace; its run of a job's name is the job."""
        self.place = place
        """The paths of its parts."""
        self._reader = Reader(place)

    @property
    def job_path(self) -> str:
        """The folder of the workspace."""
        return self.place.root

    def run(self, job: str) -> Run:
        """Return the run of a job.

        Raises:
            JobNotFoundError: if it is not queued yet, or there is no such job.
        """
        safe = self._require(job)
        if not self.is_queued(safe):
            raise JobNotFoundError(f"The job {escaped(safe)} is not queued yet", "Launch it")
        return Run(self._reader, safe)

    # -- jobs -----------------------------------------------------------------------------------------

    def exists(self, job: str) -> bool:
        """Return whether there is such a job, queued or not."""
        safe = job_names.path_friendly_job_name(job)
        return os.path.isdir(self.draft(safe)) or self.is_queued(safe)

    def is_queued(self, job: str) -> bool:
        """Return whether a job has its run, however that goes."""
        safe = job_names.path_friendly_job_name(job)
        return os.path.isdir(journal.folder_of(self.place.run_folder(safe)))

    def create(self, job: str, *, exist_ok: bool = False) -> bool:
        """Create a job, whose files can be saved then.

        Args:
            job: its name.
            exist_ok: whether it may exist.

        Returns:
            Whether it was created now; of several callers at once this is true for one.

        Raises:
            JobExistsError: if it exists and may not.
        """
        safe = job_names.path_friendly_job_name(job)
        made = False
        if not self.is_queued(safe):
            folder = self.draft(safe)
            durable.make_folder(os.path.dirname(folder))
            with suppress(FileExistsError):
                durable.make_new_folder(folder)
                made = True
        if not made and not exist_ok:
            raise JobExistsError(
                f"The job {escaped(safe)} exists already; it is {self.status(safe).status}",
                "Use another name, rerun() for its results once more, or delete() it",
            )
        return made

    def delete(self, job: str, confirmation: bool = False) -> bool:
        """Move a job with all its files to the trash; ``job-orchestration restore`` brings its run back.

        Args:
            job: its name.
            confirmation: whether it is meant.

        Returns:
            True.

        Raises:
            UsageError: if it is not confirmed, or has not ended.
            JobNotFoundError: if there is no such job.
        """
        safe = self._require(job)
        if not confirmation:
            raise UsageError(f"Nothing was deleted of {escaped(safe)}", "Say delete(job, confirmation=True)")
        if self.is_queued(safe):
            if not self.status(safe).has_ended:
                raise UsageError(f"The job {escaped(safe)} has not ended", "Wait for its end, or cancel it")
            fault = trash.put_away(self.place, safe)
            if fault is not None:
                raise UsageError(fault.what[:1].upper() + fault.what[1:], fault.todo)
        drafts = {f"{kind}/{name}": path for kind, name, path in self._drafts(safe)}
        if drafts:
            trash.put_files_away(self.place, safe, drafts)
        self._remove_draft(safe)
        return True

    def list(self) -> Sequence[str]:
        """Return the names of all jobs, sorted: of those that are not queued yet too."""
        drafts = safe_reads.names_in(os.path.dirname(self.draft("x")))
        runs = {record.run for record in self._reader.records() if record.run is not None}
        return sorted({*drafts, *(run for run in runs if _is_safe(run))})

    def status(self, job: str) -> JobStatus:
        """Return the status of a job as it is now; of one that does not exist, with the code 404."""
        safe = job_names.path_friendly_job_name(job)
        if self.is_queued(safe):
            entry = self._entry(safe)
            if entry is not None:
                return job_status.of_entry(safe, entry, {"results": self.place.run_folder(safe)})
        if os.path.isdir(self.draft(safe)):
            return job_status.created(safe, {"results": self.draft(safe)})
        return job_status.unknown(safe)

    def report_status(self, status: JobStatus) -> None:
        """Do nothing: here the status of a job is derived from its run."""

    def _entry(self, job: str) -> StatusEntry | None:
        with suppress(UsageError):
            for entry in self._reader.overview(selection_of([job])).runs:
                if entry.run == job:
                    return entry
        return None

    # -- files ----------------------------------------------------------------------------------------

    def draft(self, job: str) -> str:
        """Return the folder of a job that is not queued yet."""
        return os.path.join(self.place.misc, "jobs", job)

    def file_names(self, job: str) -> Sequence[str]:
        """Return the names of a job's files, sorted; those of its tasks with their folders."""
        safe = self._require(job)
        drafts = {name for _, name, _ in self._drafts(safe)}
        own = Run(self._reader, safe).files if self.is_queued(safe) else ()
        return sorted({*drafts, *(name.removeprefix(f"{SAVED}/").removeprefix("inputs/") for name in own)})

    def results_has_file(self, job: str, filename: str) -> bool:
        """Return whether a job has a file."""
        return self._located(self._require(job), filename) is not None

    def results_file_location(self, job: str, filename: str) -> str:
        """Return the path of a file of a job.

        Raises:
            JobNotFoundError: if there is no such job or file.
        """
        safe = self._require(job)
        path = self._located(safe, filename)
        if path is None:
            known = ", ".join(map(escaped, self.file_names(safe)[:_MANY])) or "none yet"
            raise JobNotFoundError(
                f"The job {escaped(safe)} has no file {escaped(filename)}", f"It has {known}"
            )
        return path

    def read_bytes(self, job: str, filename: str) -> bytes:
        """Return the content of a file of a job; a link or a pipe in its place is refused.

        Raises:
            JobNotFoundError: if there is no such job or file.
            OSError: if it cannot be read.
        """
        for _ in range(_MANY):
            with suppress(FileNotFoundError):  # it has just moved into the run's folder
                return safe_reads.whole(self.results_file_location(job, filename))
        return safe_reads.whole(self.results_file_location(job, filename))

    def write_bytes(self, job: str, filename: str, data: bytes, *, is_input: bool = False) -> str:
        """Write a file of a job as one durable step; return its name.

        Raises:
            JobExistsError: if it is an input of a job that is queued already.
            JobNotFoundError: if there is no such job.
            OSError: the disk failed; the old file is there as it was.
        """
        safe, kind = self._require(job), opening.INPUTS if is_input else SAVED
        name = job_names.file_name(safe, filename, "")
        if is_input and self.is_queued(safe):
            raise JobExistsError(
                f"The job {escaped(safe)} is queued, so its inputs are fixed", "Submit another job"
            )
        for last in (False,) * _MANY + (True,):
            folder = self.place.run_folder(safe) if self.is_queued(safe) else self.draft(safe)
            try:
                with _ONE_WRITER:
                    if os.path.isdir(folder):
                        durable.make_folder(os.path.join(folder, kind))
                    durable.replace(os.path.join(folder, kind, name), data)
                break
            except FileNotFoundError:  # it has just been queued
                if last:
                    raise
        return name

    def input_names(self, job: str) -> Sequence[str]:
        """Return the names of the inputs that were saved and are not queued yet."""
        safe = self._require(job)
        names = [name for kind, name, _ in self._drafts(safe) if kind == opening.INPUTS]
        found = [
            name.removeprefix(f"{safe}_").removesuffix(".txt") for name in names if name.endswith(".txt")
        ]
        return sorted(found)

    def settle(self, job: str) -> None:
        """Move the files of a job that is queued now into its run's folder; may be repeated at any time."""
        for kind, name, path in tuple(self._drafts(job)):
            target = os.path.join(self.place.run_folder(job), kind, name)
            durable.make_folder(os.path.dirname(target))
            with suppress(FileNotFoundError):
                if not os.path.lexists(target):
                    durable.move_new(path, target)
                elif safe_reads.whole(path) == safe_reads.whole(target):
                    durable.unlink(path)
        self._remove_draft(job)

    def _located(self, job: str, filename: str) -> str | None:
        """Return the path of a file of a job, wherever it lies; `None` if there is none."""
        drafts = [path for _, name, path in self._drafts(job) if name == filename]
        if drafts:
            return drafts[0]
        if not self.is_queued(job):
            return None
        own = filename.removeprefix(f"{job}_")
        known = Run(self._reader, job).files
        for name in (f"{SAVED}/{filename}", f"inputs/{filename}", filename, own, _ELSEWHERE.get(own, own)):
            found = [path for path in known if path == name or path.endswith(f"/{name}")]
            if found:
                return os.path.join(self.place.run_folder(job), found[0])
        return None

    def _drafts(self, job: str) -> Iterator[tuple[str, str, str]]:
        """Yield the files of a job that lie outside of its run's folder: kind, name and path."""
        for kind in _KINDS:
            folder = os.path.join(self.draft(job), kind)
            for name in safe_reads.names_in(folder):
                if not name.startswith(".") and not _TEMPORARY.search(name):
                    yield kind, name, os.path.join(folder, name)

    def _remove_draft(self, job: str) -> None:
        """Remove the folder of a job that is not queued yet, as far as it is empty."""
        with suppress(OSError):
            for kind in _KINDS:
                with suppress(FileNotFoundError):
                    os.rmdir(os.path.join(self.draft(job), kind))
            os.rmdir(self.draft(job))


def _is_safe(run: str) -> bool:
    with suppress(UsageError):
        return job_names.path_friendly_job_name(run) == run
    return False
