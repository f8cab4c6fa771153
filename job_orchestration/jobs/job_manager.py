"""JobManager: links an application with a store and a launcher."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.diagnostics.errors import (
    ConfigRefusedError,
    JobNotFoundError,
    UsageError,
)
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.jobs import job_configs, job_names
from job_orchestration.jobs.file_store import ResultsFileStore
from job_orchestration.jobs.job_files import CONFIG, GENESET
from job_orchestration.runs import status_codes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from job_orchestration.api import Run
    from job_orchestration.diagnostics.problems import Problem
    from job_orchestration.jobs.job_status import JobStatus
    from job_orchestration.jobs.launchers import Launcher
    from job_orchestration.jobs.stores import Store

_CALLBACK: Final = ("CALLBACK_URL", "callback_url", "callbackUrl", "update_url")
_ADDRESS: Final = ("NOTIFY_ADDRESS", "notify_address", "notifyAddress", "notifyaddress")


class Job:
    """A job; each attribute is read when it is asked for."""

    def __init__(self, manager: JobManager, name: str) -> None:
        self._manager = manager
        self.name = name
        """Its safe name."""

    @property
    def status(self) -> JobStatus:
        """Its status now."""
        return self._manager.status(self.name)

    @property
    def status_code(self) -> int:
        """The code of its status now."""
        return self._manager.status_code(self.name)

    @property
    def completed(self) -> bool:
        """Whether it has completed."""
        return self._manager.completed(self.name)

    @property
    def job_config(self) -> dict[str, Any]:
        """The parameters that it was submitted with."""
        return self._manager.job_config(self.name)

    @property
    def results(self) -> dict[str, Any]:
        """What it made, as far as it is there."""
        return self._manager.results(self.name)

    def __repr__(self) -> str:
        return f"<Job {self.name!r}: {self.status.status}>"


class JobManager:
    """What a web application asks of its jobs.

    Args:
        results_store: where inputs, parameters and results lie.
        launcher: what starts a job.
        callback_url: called when a job has ended, with the job's name behind it, unless the parameters of a
            job name another address.
    """

    status_codes: Final = status_codes.job_status_codes

    def __init__(self, results_store: Store, launcher: Launcher, *, callback_url: str | None = None) -> None:
        self.results_store = results_store
        self.launcher = launcher
        self.update_url = callback_url
        """The address that is called when a job has ended; `None`: that of the environment or workspace."""
        self.notify_address: str | None = None
        """The address that gets mail of each job that names no other."""

    @property
    def job_path(self) -> str:
        """The folder or address of the store."""
        return str(getattr(self.results_store, "job_path", ""))

    def set_config(self, app_config: Mapping[str, Any]) -> None:
        """Take ``CALLBACK_URL`` and ``NOTIFY_ADDRESS`` from the settings of an application."""
        self.update_url = next((app_config[key] for key in _CALLBACK if app_config.get(key)), self.update_url)
        self.notify_address = next(
            (app_config[key] for key in _ADDRESS if app_config.get(key)), self.notify_address
        )

    # -- names ----------------------------------------------------------------------------------------

    @staticmethod
    def cloud_friendly_job_name(name: str) -> str:
        """Return the safe name of a job: small letters, digits and hyphens, at most 63 characters."""
        return job_names.path_friendly_job_name(name)

    def generate_job_id(self, prefix: str = "") -> str:
        """Return a name that no job has: eight letters and digits, behind a prefix if one is given."""
        while True:
            name = job_names.with_prefix(prefix, job_names.job_id(secrets.choice))
            if not self.results_store.exists(name):
                return name

    # -- submit ---------------------------------------------------------------------------------------

    @staticmethod
    def validate_job_config(job_config: Mapping[str, Any]) -> list[Problem]:
        """Return what is missing in the parameters of a job; ``submit`` makes all other checks as well."""
        return job_configs.problems_of(job_config)

    def submit(
        self, genes: str | Iterable[str] | Mapping[str, Iterable[str]], job_config: Mapping[str, Any]
    ) -> Job:
        """Save the inputs and parameters of a job, and start it. Of many callers with one name, one succeeds.

        Args:
            genes: the gene set; or several inputs by name: ``{"geneset": […], "negatives": […]}``.
            job_config: ``jobname``, the parameters, and ``tasks`` if it is no job for GenePlexus.

        Returns:
            The job, which waits for a worker.

        Raises:
            ConfigRefusedError: with all problems; nothing of the job is kept.
            JobExistsError: if there is a job of that name.
            LaunchError: if it could not be started now; ``start`` tries again.
        """
        if problems := job_configs.problems_of(job_config):
            raise ConfigRefusedError(problems)
        inputs = genes if isinstance(genes, Mapping) else {GENESET: genes}
        name = job_names.path_friendly_job_name(job_configs.name_of(job_config))
        self.results_store.create(name)
        try:
            for key, lines in inputs.items():
                self.results_store.save_input_file(name, lines, key)
            self.results_store.save_json_results(name, CONFIG, self._with_defaults(job_config))
            self.launcher.launch(name)
        except (UsageError, ConfigRefusedError):
            self._discard(name)
            raise
        return Job(self, name)

    launch = submit
    """The name of the first application."""

    def start(self, name: str) -> Job:
        """Start a job whose inputs and parameters are in the store already."""
        safe = self._known(name)
        self.launcher.launch(safe)
        return Job(self, safe)

    def _with_defaults(self, job_config: Mapping[str, Any]) -> dict[str, Any]:
        given = job_configs.config_of(
            job_config, callback_url=self.update_url, notify_address=self.notify_address
        )
        own = {key: given[key] for key in ("callbackUrl", "notifyAddress") if key in given}
        return dict(job_config) | own

    def _discard(self, name: str) -> None:
        store = self.results_store
        if not (isinstance(store, ResultsFileStore) and store.is_queued(name)):
            store.delete(name, confirmation=True)

    # -- look -----------------------------------------------------------------------------------------

    def exists(self, name: str) -> bool:
        """Return whether there is such a job."""
        return self.results_store.exists(name)

    job_exists = exists

    def job(self, name: str) -> Job:
        """Return a job.

        Raises:
            JobNotFoundError: if there is none of that name.
        """
        return Job(self, self._known(name))

    def status(self, name: str) -> JobStatus:
        """Return the status of a job now; of one that does not exist, with the code 404."""
        return self.results_store.status(name)

    def status_code(self, name: str) -> int:
        """Return the code of the status of a job now."""
        return self.status(name).status_code

    def completed(self, name: str) -> bool:
        """Return whether a job has completed."""
        return self.status(name).completed

    job_completed = completed

    def job_config(self, name: str) -> dict[str, Any]:
        """Return the parameters that a job was submitted with."""
        return self.results_store.read_config(name)

    def update(self, name: str) -> JobStatus:
        """Read the status of a job anew, and keep it in a store that cannot derive it."""
        store = self.results_store
        found = store.status(self._known(name))
        target = getattr(self.launcher, "target", None)
        if isinstance(target, ResultsFileStore) and target is not store and target.is_queued(name):
            found = target.status(name)
            store.report_status(found)
        return found

    def results(self, name: str) -> dict[str, Any]:
        """Return what a job made, as far as it is there: tables, graph, and what its tasks returned.

        Raises:
            JobNotFoundError: if there is no such job.
        """
        safe = self._known(name)
        read: Any = getattr(self.results_store, "read")  # noqa: B009 - of both stores, not of the Protocol
        found: dict[str, Any] = read(safe)
        run = self._run_or_none(safe)
        return {**found, "results": {} if run is None else run.results}

    # -- steer ----------------------------------------------------------------------------------------

    def cancel(self, name: str) -> JobStatus:
        """End a job now; return its status. ``retry`` goes on from its checkpoint."""
        self._run(name).cancel()
        return self.update(name)

    def retry(self, name: str, *, fresh: bool = False) -> JobStatus:
        """Queue a job again that failed or was cancelled; finished tasks do not run again."""
        self._run(name).retry(fresh=fresh)
        self._wake()
        return self.update(name)

    def rerun(self, name: str) -> Job:
        """Queue a new job in the recorded code, parameters and seed of one that has ended."""
        again = Job(self, self._run(name).rerun().name)
        self._wake()
        return again

    def cleanup(self, *names: str, older_than: float | None = None) -> list[dict[str, Any]]:
        """Free what ended jobs do not need any more; jobs that are named, or older, go to the trash.

        Args:
            names: jobs that have ended.
            older_than: all jobs that ended longer ago, in seconds.

        Returns:
            Dicts with ``kind``, ``name``, ``bytes`` and ``to``.
        """
        store = self._file_store()
        safe = [self._known(name) for name in names]
        return store.workspace.gc(*safe, older_than=older_than, yes=True)

    def _known(self, name: str) -> str:
        safe = job_names.path_friendly_job_name(name)
        if not self.results_store.exists(safe):
            raise JobNotFoundError(
                f"There is no job {escaped(safe)}", "See the jobs with list() of the store"
            )
        return safe

    def _file_store(self) -> ResultsFileStore:
        for one in (self.results_store, getattr(self.launcher, "target", None)):
            if isinstance(one, ResultsFileStore):
                return one
        raise UsageError("The jobs of this store are executed elsewhere", "Steer them where they run")

    def _run(self, name: str) -> Run:
        return self._file_store().run(self._known(name))

    def _run_or_none(self, name: str) -> Run | None:
        try:
            return self._file_store().run(name)
        except UsageError:
            return None

    def _wake(self) -> None:
        start = getattr(self.launcher, "start_workers", None)
        if start is not None:
            start()
