"""Execute one job here and wait for its end; carry what it made into a store that is elsewhere."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.diagnostics.errors import JobNotFoundError, OrchestrationError, UsageError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.jobs import environment, job_names
from job_orchestration.jobs.file_store import ResultsFileStore
from job_orchestration.jobs.job_files import CONFIG
from job_orchestration.jobs.launchers import LocalLauncher
from job_orchestration.workspace import safe_reads

if TYPE_CHECKING:
    import logging as logging_module
    import os

    from job_orchestration.jobs.job_status import JobStatus
    from job_orchestration.jobs.stores import Store

_INTERNAL: Final = frozenset({"config.yaml", "provenance.json", "status.yaml"})


class JobFailedError(OrchestrationError):
    """A job has ended and did not complete."""

    exit_code = 1


def run_and_save(  # noqa: D417, PLR0917 - `logging` is described with the others
    job_name: str,
    results_store: Store,
    data_path: str | os.PathLike[str] | None = None,
    logging: logging_module.Logger | None = None,
    net_type: str | None = None,
    features: str | None = None,
    GSC: str | None = None,  # noqa: N803 - the name of the parameter
    *,
    workspace: ResultsFileStore | None = None,
) -> bool:
    """Execute a job of a store, wait for its end, and leave its results there.

    A job that is queued already is waited for; a finished one is not executed again.

    Args:
        job_name: the name of the job.
        results_store: where inputs, parameters and results lie.
        data_path: the folder of GenePlexus's data; default: ``DATA_PATH``.
        logging: a logger that gets one line at the start and one at the end.
        net_type, features, GSC: instead of those in the parameters of the job.
        workspace: where to execute it, if the store is no workspace; default: what ``JOBS_PATH`` names.

    Returns:
        True.

    Raises:
        JobNotFoundError: if the store has no such job.
        ConfigRefusedError: if its parameters or inputs are wrong.
        JobFailedError: if it did not complete.
    """
    job = job_names.path_friendly_job_name(job_name)
    if workspace is None and not isinstance(results_store, ResultsFileStore):
        workspace = ResultsFileStore(environment.jobs_path(), create_if_missing=True)
    launcher = LocalLauncher(data_path, results_store, workspace=workspace)
    if not launcher.target.is_queued(job):
        given = {"net_type": net_type, "features": features, "GSC": GSC}
        _change_parameters(results_store, job, {key: value for key, value in given.items() if value})
    if logging is not None:
        logging.info("%s: started", job)
    try:
        launcher.launch(job)
        launcher.target.run(job).wait()
    finally:
        launcher.close()
    status = publish(launcher.target, results_store, job)
    if logging is not None:
        logging.info("%s: %s", job, status.message)
    if not status.completed:
        raise JobFailedError(f"The job {escaped(job)} did not complete. {status.message}", "See its log")
    return True


def publish(source: ResultsFileStore, store: Store, job: str) -> JobStatus:
    """Copy what an ended job made into a store that is elsewhere, its status last; return that status.

    Raises:
        JobNotFoundError: if one of the two has no such job.
        OSError: a file could not be read or written; to repeat it goes on.
    """
    status = source.status(job)
    if store is source:
        return status
    run = source.run(job)
    for name in run.files if status.has_ended else ():
        if name not in _INTERNAL and not name.startswith("inputs/"):
            with suppress(UsageError):  # its name cannot be one in a store
                plain = Path(name).name
                store.write_bytes(job, plain, safe_reads.whole(str(run.folder / name)))
    store.report_status(status)
    return status


def _change_parameters(store: Store, job: str, given: dict[str, Any]) -> None:
    if not store.exists(job):
        raise JobNotFoundError(f"There is no job {escaped(job)}", "Create it and save its inputs")
    if given:
        known: dict[str, Any] = {}
        with suppress(JobNotFoundError):
            known = store.read_config(job)
        store.save_json_results(job, CONFIG, {**known, **given})
