"""Store: where the inputs and outputs of jobs lie. Two implementations pass one test suite.

`file_store.ResultsFileStore` is a workspace, where the status of a job is derived from its run.
`fsspec_store.FsspecStore` is a folder in any storage that fsspec knows; there a job's status is what was last
reported to it, because the run is elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from job_orchestration.jobs.job_status import JobStatus


class Store(Protocol):
    """Files of jobs; each method takes the name of a job as a person wrote it, and uses its safe name."""

    def exists(self, job: str) -> bool:
        """Return whether there is such a job."""

    def create(self, job: str, *, exist_ok: bool = False) -> bool:
        """Create a job; return whether it was created now. `JobExistsError` if it exists and may not."""

    def delete(self, job: str, confirmation: bool = False) -> bool:
        """Delete a job if it is confirmed."""

    def list(self) -> Sequence[str]:
        """Return the names of all jobs, sorted."""

    def status(self, job: str) -> JobStatus:
        """Return the status of a job; of one that does not exist too."""

    def report_status(self, status: JobStatus) -> None:
        """Keep the status of a job that is executed elsewhere."""

    def file_names(self, job: str) -> Sequence[str]:
        """Return the names of a job's files, sorted."""

    def read_bytes(self, job: str, filename: str) -> bytes:
        """Return the content of a file of a job. `JobNotFoundError` if there is none."""

    def write_bytes(self, job: str, filename: str, data: bytes, *, is_input: bool = False) -> str:
        """Write a file of a job as one step; return its name."""

    def input_names(self, job: str) -> Sequence[str]:
        """Return the names of the inputs that were saved: ``geneset`` and others."""

    def results_file_location(self, job: str, filename: str) -> str:
        """Return the path or address of a file of a job."""

    def has_input_file(self, job: str, name: str = "geneset") -> bool:
        """Return whether an input was saved."""

    def save_input_file(self, job: str, data: str | Iterable[str], name: str = "geneset") -> str:
        """Save an input: names, one a line; return the name of its file."""

    def read_input_file(self, job: str, name: str = "geneset") -> Sequence[str]:
        """Return the names in an input."""

    def read_config(self, job: str) -> dict[str, Any]:
        """Return the parameters that the job was submitted with."""

    def save_json_results(self, job: str, name: str, data: Any) -> str:
        """Save a value as JSON; return the name of the file."""

    def save_output(self, job: str, output: Mapping[str, Any]) -> Sequence[str]:
        """Save several outputs by name; return the names of the files."""
