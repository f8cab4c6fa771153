"""Jobs for applications: a store, a job manager and launchers, by the names of GenePlexus's web application.

A job is a run: its safe name is the run's name, and its status is always derived from the run. Before it is
queued, its files lie in ``Misc/jobs/<job>``; then in the run's folder, in ``inputs`` and ``saved``.
Open `file_store` first, then `job_manager` and `launchers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from job_orchestration.diagnostics.errors import ConfigRefusedError, JobExistsError, JobNotFoundError
from job_orchestration.runs.status_codes import job_status_codes

if TYPE_CHECKING:
    from job_orchestration.jobs.azure_queue import AzureQueueLauncher
    from job_orchestration.jobs.file_store import ResultsFileStore
    from job_orchestration.jobs.fsspec_store import FsspecStore
    from job_orchestration.jobs.job_manager import Job, JobManager
    from job_orchestration.jobs.job_names import path_friendly_job_name
    from job_orchestration.jobs.job_status import JobStatus
    from job_orchestration.jobs.launchers import Launcher, LocalLauncher, NullLauncher, UrlLauncher
    from job_orchestration.jobs.running import run_and_save
    from job_orchestration.jobs.stores import Store

__all__ = [
    "AzureQueueLauncher",
    "ConfigRefusedError",
    "FsspecStore",
    "Job",
    "JobExistsError",
    "JobManager",
    "JobNotFoundError",
    "JobStatus",
    "Launcher",
    "LocalLauncher",
    "NullLauncher",
    "ResultsFileStore",
    "Store",
    "UrlLauncher",
    "job_status_codes",
    "path_friendly_job_name",
    "run_and_save",
]

_MODULES = {
    "AzureQueueLauncher": "azure_queue",
    "FsspecStore": "fsspec_store",
    "Job": "job_manager",
    "JobManager": "job_manager",
    "JobStatus": "job_status",
    "Launcher": "launchers",
    "LocalLauncher": "launchers",
    "NullLauncher": "launchers",
    "ResultsFileStore": "file_store",
    "Store": "stores",
    "UrlLauncher": "launchers",
    "path_friendly_job_name": "job_names",
    "run_and_save": "running",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: the names need different libraries."""
    if name in _MODULES:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
