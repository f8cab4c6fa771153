"""Launchers: start a job whose inputs and parameters lie in a store. Each returns a status code, or raises.

``LocalLauncher`` queues the job in a workspace here and sees that a worker runs; ``UrlLauncher`` asks another
instance to do so; ``NullLauncher`` only keeps the names, for tests. None of them waits for the job.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from job_orchestration.diagnostics.errors import (
    ConfigRefusedError,
    JobExistsError,
    JobNotFoundError,
    OrchestrationError,
    UsageError,
)
from job_orchestration.diagnostics.problems import Problem, escaped
from job_orchestration.jobs import environment, job_configs, job_names
from job_orchestration.jobs.file_store import ResultsFileStore
from job_orchestration.runs import catalog, status_codes
from job_orchestration.workspace import locks, temporary_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from job_orchestration.api.background import Background
    from job_orchestration.jobs.stores import Store

_LONGEST_PAUSE: Final = 30.0
_MOST_BYTES: Final = 1 << 20
_AGAIN: Final = frozenset({408, 425, 429})


class LaunchError(OrchestrationError):
    """A job could not be launched; its files are in the store, so that it can be launched again."""


class Launcher(Protocol):
    """One way to start a job."""

    def launch(self, job_name: str) -> int:
        """Start a job; to start one that was started already changes nothing.

        Returns:
            A status code: 202 if the job was accepted.

        Raises:
            JobNotFoundError: if the store has no such job.
            ConfigRefusedError: if its parameters are wrong.
            LaunchError: if it could not be started now.
        """


class NullLauncher:
    """Starts nothing, and keeps the names: for tests of applications."""

    def __init__(self) -> None:
        self.launched: list[str] = []

    def launch(self, job_name: str) -> int:
        """Keep the safe name of a job; return 202."""
        self.launched.append(job_names.path_friendly_job_name(job_name))
        return status_codes.ACCEPTED


class LocalLauncher:
    """Queues jobs in a workspace of this machine. Never waits for a job.

    Args:
        data_path: the folder of GenePlexus's data; default: ``DATA_PATH``, which its tasks read.
        results_store: where the inputs and parameters lie; default: the workspace that ``JOBS_PATH`` names.
        callback_url: called when a job has ended, with the job's name behind it, if the job's parameters and
            ``workspace.yaml`` name no other address; default: ``CALLBACK_URL``.
        workspace: where the jobs are executed; default: that of the store.
        workers: how many workers to start as soon as a job is queued and no worker lives. They end with this
            program, and unfinished jobs go on in the next worker. 0 starts none.
    """

    def __init__(
        self,
        data_path: str | os.PathLike[str] | None = None,
        results_store: Store | None = None,
        callback_url: str | None = None,
        *,
        workspace: ResultsFileStore | None = None,
        workers: int = 1,
    ) -> None:
        self.results_store: Store = ResultsFileStore() if results_store is None else results_store
        if workspace is None:
            if not isinstance(self.results_store, ResultsFileStore):
                raise UsageError("This store is no workspace", "Name one to execute jobs in: workspace=")
            workspace = self.results_store
        self.target = workspace
        """The store of the workspace that executes the jobs."""
        self.data_path = None if data_path is None else os.fspath(data_path)
        self.callback_url = callback_url
        self._workers = workers
        self._started: Background | None = None
        self._lock = threading.Lock()

    def launch(self, job_name: str) -> int:
        """Queue a job; return 202. See `Launcher`."""
        safe = job_names.path_friendly_job_name(job_name)
        if not self.results_store.exists(safe):
            raise JobNotFoundError(f"There is no job {escaped(safe)}", "Create it and save its inputs")
        with suppress(FileNotFoundError):  # another launch has just queued it
            if not self.target.is_queued(safe):
                self.target.create(safe, exist_ok=True)
                with locks.folder_lock(self.target.draft(safe)):
                    if not self.target.is_queued(safe):
                        self._submit(safe)
        self.target.settle(safe)
        self.start_workers()
        return status_codes.ACCEPTED

    def start_workers(self) -> None:
        """Start workers if this launcher is to, and none lives."""
        if not self._workers:
            return
        with self._lock:
            started = self._started is not None and self._started.is_alive
            if not started and not catalog.living_workers(self.target.place):
                from job_orchestration.api.background import Background

                words = ["--workspace", self.target.job_path, "--workers", str(self._workers)]
                self._started = Background(["work", *words])

    def close(self) -> None:
        """Stop the workers that it started; unfinished jobs go on in the next worker."""
        if self._started is not None:
            self._started.stop()

    def _submit(self, job: str) -> None:
        store = self.results_store
        job_config: Mapping[str, Any] = {}
        with suppress(JobNotFoundError):
            job_config = store.read_config(job)
        config = job_configs.config_of(
            job_config, callback_url=self._callback(), data_path=self.data_path or None
        )
        keys = job_configs.input_keys(job_config, store.input_names(job))
        with tempfile.TemporaryDirectory(prefix=temporary_files.SYSTEM_PREFIX) as folder:
            inputs = {}
            for name, key in keys.items():
                path = Path(folder, job_names.file_name(job, name, ".txt"))
                path.write_bytes(store.read_bytes(job, path.name))
                inputs[key] = path
            self.target.workspace.submit(config, name=job, inputs=inputs)

    def _callback(self) -> str | None:
        if self.callback_url is not None:
            return self.callback_url
        from job_orchestration.config import workspace_defaults

        values, _ = workspace_defaults.defaults(self.target.place)
        return None if values.get("callbackUrl") else environment.callback_url()


class UrlLauncher:
    """Asks another instance to start jobs, by one POST of ``{"jobnames": [name]}`` as JSON.

    What may pass by itself (no answer, a server error, too many requests) is tried again after growing
    pauses. A job that another try of the same launch has started counts as started.

    Args:
        launch_url: such as ``https://example.org/api/enqueue``.
        token: sent as ``Authorization: Bearer``.
        timeout: seconds for one try.
        retries: how many more tries there are after the first.
        pause: seconds before the second try; doubled before each later one.
    """

    def __init__(
        self,
        launch_url: str,
        *,
        token: str | None = None,
        timeout: float = 10,
        retries: int = 3,
        pause: float = 0.5,
    ) -> None:
        parts = urlsplit(launch_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(f"{escaped(launch_url)} cannot be called", "Give an address with http or https")
        self.launch_url = launch_url
        self._token = token
        self._timeout = timeout
        self._retries = retries
        self._pause = pause
        self._open: Callable[..., Any] = urllib.request.build_opener(_NoRedirections).open

    def launch(self, job_name: str) -> int:
        """Ask for a job to be started; return the code of the answer. See `Launcher`."""
        safe = job_names.path_friendly_job_name(job_name)
        pause, reason = self._pause, ""
        for number in range(self._retries + 1):
            if number:
                time.sleep(min(pause, _LONGEST_PAUSE))
                pause *= 2
            try:
                code, text, wait = self._post(safe)
            except (OSError, ValueError) as error:
                reason = f"{type(error).__name__}: {error}"
                continue
            if code < 300:  # noqa: PLR2004 - of success
                return _code_of(safe, text, code)
            if code not in _AGAIN and code < 500:  # noqa: PLR2004 - of a server error
                return self._refused(safe, code, text, is_again=number > 0)
            pause, reason = max(pause, wait), f"{code} {text}"
        raise LaunchError(
            f"{escaped(self.launch_url)} did not accept the job {escaped(safe)}: {escaped(reason[:300])}",
            "Launch it again: its files are kept",
        )

    def _post(self, job: str) -> tuple[int, str, float]:
        """Send one request; return the code and text of the answer, and seconds to wait if it says so."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": job}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        body = json.dumps({"jobnames": [job]}).encode()
        request = urllib.request.Request(self.launch_url, body, headers, method="POST")  # noqa: S310 - see above
        try:
            with self._open(request, timeout=self._timeout) as answer:
                return answer.status, answer.read(_MOST_BYTES).decode("utf-8", "replace"), 0.0
        except urllib.error.HTTPError as error:
            with error:
                wait = error.headers.get("Retry-After", "0") if error.headers else "0"
                text = error.read(_MOST_BYTES).decode("utf-8", "replace")
                return error.code, text, float(wait) if wait.isdecimal() else 0.0

    def _refused(self, job: str, code: int, text: str, *, is_again: bool) -> int:
        if problems := _problems_in(text):
            raise ConfigRefusedError(problems)
        if code == _CONFLICT and is_again:
            return status_codes.ACCEPTED
        if code == _CONFLICT:
            raise JobExistsError(f"The job {escaped(job)} exists already", "Use another name")
        if code == status_codes.NOT_FOUND:
            raise JobNotFoundError(f"There is no job {escaped(job)} there", "Save its inputs in its store")
        raise LaunchError(
            f"{escaped(self.launch_url)} refused the job {escaped(job)}: {code} {escaped(text[:300])}",
            "See the answer",
        )


_CONFLICT: Final = 409


class _NoRedirections(urllib.request.HTTPRedirectHandler):
    """A redirection would turn the POST into a GET somewhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _problems_in(text: str) -> list[Problem]:
    """Return the problems of a config in an answer; none if it says none."""
    with suppress(ValueError, AttributeError, TypeError):
        found = json.loads(text).get("problems", ())
        parts = [[str(one.get(key, "")) for key in ("file", "what", "todo", "key")] for one in found]
        return [Problem(file, what, todo, key) for file, what, todo, key in parts if what]
    return []


def _code_of(job: str, text: str, code: int) -> int:
    """Return the code of one job in an answer about several, or that of the whole answer."""
    with suppress(ValueError, AttributeError, TypeError):
        for one in json.loads(text).get("jobs", ()):
            if one.get("jobname") == job and isinstance(one.get("status_code"), int):
                return int(one["status_code"])
    return status_codes.ACCEPTED if code == status_codes.COMPLETED else code
