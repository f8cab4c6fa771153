"""What the routes do: names resolved, configs submitted, runs steered, each error an `HttpError`."""

from __future__ import annotations

import os
import subprocess
import threading
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.api import Workspace
from job_orchestration.api.reading import Reader, selection_of
from job_orchestration.commands.submit import Submission
from job_orchestration.config import workspace_defaults
from job_orchestration.config.notification_settings import CALLBACK, CALLBACK_PUBLIC
from job_orchestration.diagnostics.errors import ConfigRefusedError, OrchestrationError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.jobs import environment
from job_orchestration.jobs.file_store import ResultsFileStore
from job_orchestration.jobs.job_names import path_friendly_job_name
from job_orchestration.jobs.launchers import LocalLauncher
from job_orchestration.processes import supervisor
from job_orchestration.runs import journal, lifecycle, opening, run_files, trash
from job_orchestration.submission.reports import problems_as_json
from job_orchestration.web import job_views, submission_rules
from job_orchestration.web.problem_details import HttpError, of_error
from job_orchestration.web.submitter import Submitter
from job_orchestration.workspace import layout
from job_orchestration.workspace.layout import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from job_orchestration.api import Run
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.submission.reports import Queued

_MOST_AT_ONCE: Final = 4
"""Jobs that `run_now` executes at the same time."""
_ENDED: Final = frozenset({"completed", "failed", "cancelled", "pruned"})


class JobService:
    """The jobs of one workspace; any number of threads may use it.

    Args:
        root: the folder of the workspace.
    """

    def __init__(self, root: str) -> None:
        self.place = layout.prepare(root)
        self.workspace = Workspace(root)
        self.reader = Reader(self.place)
        self.submitter = Submitter(self.place)
        self._steering = threading.Lock()
        self._slots = threading.Semaphore(_MOST_AT_ONCE)

    def close(self) -> None:
        """Finish what is being submitted."""
        self.submitter.close()

    # -- look -----------------------------------------------------------------------------------------

    def record(self, name: str) -> RunRecord:
        """Return the record of a job.

        Raises:
            HttpError: 404 if there is none, 409 if the name may mean several.
        """
        wanted = name.rstrip("/")
        records = self.reader.records()
        found = [record for record in records if record.run == wanted]
        found = found or [record for record in records if wanted in record.names]
        if not found:
            raise HttpError(404, f"There is no job {escaped(name)}. See what there is with GET /jobs.")
        if len(found) > 1:
            runs = ", ".join(sorted(escaped(record.run or record.config) for record in found)[:5])
            raise HttpError(409, f"{escaped(name)} may mean {len(found)} jobs: {runs}. Name one by its run.")
        return found[0]

    def run(self, name: str) -> Run:
        """Return a queued job as a run.

        Raises:
            HttpError: as `record`; 409 if it is not queued yet.
        """
        record = self.record(name)
        if record.run is None or record.state is None:
            raise HttpError(409, f"{escaped(name)} is not queued, so there is nothing of it yet.")
        with _as_http():
            return self.workspace.run(record.run)

    def job(self, name: str) -> dict[str, Any]:
        """Return a job; the errors are those of `record`."""
        return self._view(self.record(name))

    def jobs(
        self, status: str, expression: str, name: str, limit: int, offset: int
    ) -> tuple[list[dict[str, Any]], int]:
        """Return some jobs, and how many there are."""
        with _as_http():
            entries = self.reader.overview(selection_of((), status, expression)).runs
        if name:
            entries = [
                one for one in entries if any(fnmatchcase(n, name) for n in (one.run or "", one.config))
            ]
        return [job_views.job_of(entry) for entry in entries[offset : offset + limit]], len(entries)

    def jobs_of(self, runs: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return those of the named runs that are there."""
        known = {record.run for record in self.reader.records()}
        there = [run for run in runs if run in known]
        with suppress(OrchestrationError):
            found = self.reader.overview(selection_of(there)).runs if there else ()
            return {entry.run: job_views.job_of(entry) for entry in found if entry.run is not None}
        return {}

    def _view(self, record: RunRecord) -> dict[str, Any]:
        entries = self.reader.overview(selection_of([record.run or record.config])).runs
        for entry in entries:
            if (entry.run, entry.config) == (record.run, record.config):
                return job_views.job_of(entry)
        raise HttpError(404, f"There is no job {escaped(record.run or record.config)}.")

    # -- submit ---------------------------------------------------------------------------------------

    def submit(
        self, name: str | None, config: Mapping[str, Any], inputs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Queue a config from the network; return the job.

        Raises:
            HttpError: 400 with all problems, 409 if the name is taken.
        """
        defaults, _ = workspace_defaults.defaults(self.place)
        problems = submission_rules.problems_of(config, defaults)
        if name is not None and (problem := submission_rules.name_problem(name)):
            problems.append(problem)
        if problems:
            raise HttpError(400, "The config may not say this over HTTP.", problems)
        wanted = dict(config)
        url = wanted.get(CALLBACK, defaults.get(CALLBACK))
        if not url and (owners := environment.callback_url()):
            wanted[CALLBACK] = owners
        elif CALLBACK in wanted and not submission_rules.is_allowed_callback(url, defaults):
            if problem := submission_rules.callback_problem(url):
                raise HttpError(400, "The config may not say this over HTTP.", [problem])
            wanted[CALLBACK_PUBLIC] = True
        taken = name or str(wanted.get("outputDir", ""))
        self._insist_on_new(taken)
        queued = self._outcome(self.submitter.begin(Submission(wanted, name, dict(inputs))), taken)
        return self._accepted(queued)

    def _accepted(self, queued: Queued) -> dict[str, Any]:
        """Return a job that was just queued; no other run is read for it."""
        with _as_http():
            state = lifecycle.fold(journal.read(self.place.run_folder(queued.run)))
        task = None if state.current is None else state.tasks[state.current].id
        return job_views.accepted(state.config, queued.run, task, state.readied_at)

    def enqueue(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Queue configs that lie in ConfigSources, by their names; return what became of each.

        A job that waits or runs already is left as it is and counts as accepted.
        """
        found = [self._begun(name) for name in names]
        return [
            one if isinstance(one, dict) else self._enqueued(name, one)
            for name, one in zip(names, found, strict=True)
        ]

    def _begun(self, name: str) -> dict[str, Any] | Future[Queued | OrchestrationError]:
        try:
            record = self.record(name)
        except HttpError as error:
            if error.status == 404 and (job := self._launched(name)) is not None:  # noqa: PLR2004
                return job
            return {**job_views.unknown(name, error.detail), "status_code": error.status}
        if record.place is Place.SOURCES:
            return self.submitter.begin(os.path.basename(record.path))
        job = self._view(record)
        if job["state"] not in _ENDED:
            return job
        again = f"POST {job['links']['self']}/rerun"
        detail = f"{escaped(name)} exists and has ended. Rerun it with {again}, or use another name."
        return {**job, "status_code": 409, "status": "Conflict", "message": detail}

    def _launched(self, name: str) -> dict[str, Any] | None:
        """Queue a job that an application has prepared in the store of jobs; `None` if there is none."""
        store = ResultsFileStore(self.place.root)
        try:
            if submission_rules.name_problem(name) or not store.exists(name):
                return None
            LocalLauncher(results_store=store, workers=0).launch(name)
            return self.job(path_friendly_job_name(name))
        except ConfigRefusedError as error:
            problems = problems_as_json(error.problems)
            return {**job_views.unknown(name, str(error)), "status_code": 400, "problems": problems}
        except OrchestrationError as error:
            return {**job_views.unknown(name, str(error)), "status_code": of_error(error).status}

    def _enqueued(self, name: str, future: Future[Queued | OrchestrationError]) -> dict[str, Any]:
        try:
            return self.job(self._outcome(future, name).run)
        except HttpError as error:
            found = {"status": "Bad Request", "status_code": error.status, "state": "refused"}
            return {
                **job_views.unknown(name, error.detail),
                **found,
                "problems": problems_as_json(error.problems),
            }

    def _insist_on_new(self, run: str) -> None:
        if not run or not os.path.lexists(self.place.run_folder(run)):
            return
        if any(record.run == run for record in self.reader.records()):
            raise HttpError(
                409,
                f"The job {escaped(run)} exists. Rerun it with POST {job_views.links_of(run)['self']}/rerun,"
                " or use another name.",
            )

    def _outcome(self, future: Future[Queued | OrchestrationError], name: str) -> Queued:
        with _as_http():
            outcome = future.result()
        if isinstance(outcome, ConfigRefusedError):
            if any(problem.key == "outputDir" for problem in outcome.problems):
                self._insist_on_new(name)  # somebody was faster
            raise HttpError(400, str(outcome), outcome.problems)
        if isinstance(outcome, OrchestrationError):
            raise of_error(outcome)
        return outcome

    # -- steer ----------------------------------------------------------------------------------------

    def cancel(self, name: str) -> dict[str, Any]:
        """End a job now; return it."""
        return self._steer(name, lambda run: run.cancel())

    def retry(self, name: str, task: str | None, *, fresh: bool) -> dict[str, Any]:
        """Queue a failed job again; return it."""
        return self._steer(name, lambda run: run.retry(task=task, fresh=fresh))

    def rerun(self, name: str) -> dict[str, Any]:
        """Queue an ended job once more under another name; return the new one."""
        return self._steer(name, lambda run: run.rerun())

    def _steer(self, name: str, change: Any) -> dict[str, Any]:
        run = self.run(name)
        with _as_http(), self._steering:
            changed = change(run)
        return self.job(changed.name)

    def delete(self, name: str) -> None:
        """Move an ended job to the trash.

        Raises:
            HttpError: 409 if it has not ended.
        """
        run = self.run(name).name
        with _as_http(), self._steering, opening.only_one(self.place):
            fault = trash.put_away(self.place, run)
        if fault is not None:
            raise HttpError(409, f"{fault.what}. {fault.todo}.")

    def run_now(self, name: str, seconds: float) -> dict[str, Any]:
        """Queue a job if it is not, execute it, and wait for its end, at most some seconds; return it."""
        (job,) = self.enqueue([name])
        if job["state"] in _ENDED or job["run"] is None:
            return job if job["run"] is None else self.job(job["run"])
        if not self._slots.acquire(blocking=False):
            raise HttpError(429, "Too many jobs are being executed at once.", headers={"Retry-After": "5"})
        try:
            worker = self._worker_of(job["run"])
            with suppress(TimeoutError), _as_http():
                self.workspace.run(job["run"]).wait(timeout=seconds)
            if worker is not None:
                threading.Thread(target=worker.wait, daemon=True).start()
        finally:
            self._slots.release()
        return self.job(job["run"])

    def _worker_of(self, run: str) -> subprocess.Popen[bytes] | None:
        """Start a process that executes this run and ends; `None` if a worker has it."""
        record = self.record(run)
        if record.place is not Place.TO_RUN:
            return None
        code = "from job_orchestration.web import single_run; single_run.main()"
        command = [*supervisor.program([], f"{code}; raise SystemExit(0); "), self.place.root, run]
        null = subprocess.DEVNULL
        return subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True)

    # -- files ----------------------------------------------------------------------------------------

    def files(self, name: str) -> list[str]:
        """Return the paths of the files of a job, relative to its folder."""
        with _as_http():
            return self.run(name).files

    def file(self, name: str, path: str) -> tuple[str, str]:
        """Return the folder of a job, and the path of a file below it.

        Raises:
            HttpError: 404 if it has no such file; a link is none.
        """
        run = self.run(name)
        with _as_http():
            state = run._state  # noqa: SLF001  # the fold of its journal, read once
            if path not in run_files.names(str(run.folder), state):
                raise HttpError(
                    404, f"{escaped(name)} has no file {escaped(path)}. See GET /jobs/NAME/files."
                )
        return str(run.folder), path


@contextmanager
def _as_http() -> Iterator[None]:
    """Turn our errors into those of HTTP."""
    try:
        yield
    except OrchestrationError as error:
        raise of_error(error) from None
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise
        raise HttpError(
            503, f"The workspace cannot be used: {escaped(error.strerror or str(error))}."
        ) from None
