"""Have a fork server load what a run wants, before the process of the run is forked.

A `preload` is code of a task that runs outside of its process, so the worker itself waits for it: it shows
its heartbeat, and obeys stops, cancel requests and timeouts. What goes wrong is a failed try of the task.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from job_orchestration.config.config import specs_of
from job_orchestration.config.settings import parse_duration
from job_orchestration.diagnostics import durations
from job_orchestration.executor import preload_server
from job_orchestration.executor.exit_status import append_to_log, classify_exit
from job_orchestration.runs import cancel_requests, claims, submitted_files
from job_orchestration.runs.events import Outcome, TaskFailed
from job_orchestration.runs.state import TaskStatus

if TYPE_CHECKING:
    from job_orchestration.code.task_importer import CodePlan
    from job_orchestration.config.config import Json, Settings
    from job_orchestration.executor.fork_server_client import ForkServerClient
    from job_orchestration.executor.messages import Message
    from job_orchestration.runs.claims import Claim
    from job_orchestration.worker.services import WorkerServices

_LOOK_EVERY: Final = 0.5
"""Seconds between two checks whether what is loaded is still wanted."""
_UNWANTED: Final = "unwanted"
_TIMEOUT: Final = "timeout"


class RunPreloads:
    """What one claimed run wants to be loaded.

    Args:
        claim: the run.
        settings: its limits.
        services: the parts of its worker.
    """

    def __init__(self, claim: Claim, settings: Settings, services: WorkerServices) -> None:
        self._claim = claim
        self._settings = settings
        self._services = services
        self.figures: dict[str, list[float]] = {}
        """Task to the seconds and megabytes of what was loaded for this run; empty if all was there."""
        self.loaded: dict[str, dict[str, Json]] = {}
        """Method to the keys of the config that decide what it has loaded."""

    def may_help(self, fork_server: ForkServerClient) -> bool:
        """Return whether the run is forked from a fork server that may have something to load."""
        return fork_server.preloads and fork_server.threads <= 1 and self._settings.isolation != "spawn"

    def load(self, plan: CodePlan, index: int) -> ForkServerClient | None:
        """Return a fork server that holds what the run wants.

        Args:
            plan: the code of the run.
            index: its current task.

        Returns:
            `None` if that failed, which is recorded, or is no longer wanted.

        Raises:
            ForkServerError: as for `ForkServerPool.get`; so do the others.
        """
        pool, task = self._services.fork_servers, self._claim.state.tasks[index]
        request = self._request(index)
        fork_server, answer = pool.preloaded(
            plan,
            self._settings.preload_keep,
            lambda found: found.preload(request, lambda: self._wait(found, index)),
        )
        event = None if answer is None else answer["event"]
        if answer is not None and event == "preloaded":
            self.figures = answer["figures"]
            self.loaded = answer["loaded"]
            return fork_server
        code = fork_server.kill()
        pool.bury(fork_server)
        if event == _UNWANTED:
            return None
        failed = self._failure(task.id, answer, code)
        append_to_log(self._claim, f"Task {task.id} failed: {failed.error}")
        self._claim.write(failed)
        return None

    def _request(self, index: int) -> Message:
        state = self._claim.state
        folder = self._claim.run_folder
        values = {**submitted_files.located(state.values, folder), "outputDir": folder}
        tasks = [
            (spec.id, spec.method, spec.merged_with(values))
            for spec, task in zip(specs_of(state.values), state.tasks, strict=True)
            if task.status is not TaskStatus.FINISHED
        ]
        current = state.tasks[index].id
        tasks.sort(key=lambda task: task[0] != current)
        log = os.path.join(self._claim.run_folder, "log.log")
        return preload_server.request_of(tasks, log, f"{self._claim.run}#{self._claim.attempt}")

    def _wait(self, fork_server: ForkServerClient, index: int) -> Message | None:
        limit = self._limit(index)
        deadline = None if limit is None else time.monotonic() + limit
        while True:
            message = fork_server.wait(_LOOK_EVERY, self._services.wake.descriptor)
            if message is None or message["event"] != "nothing":
                return message
            self._services.wake.clear()
            if self._is_unwanted():
                return {"event": _UNWANTED}
            if limit is not None and deadline is not None and time.monotonic() >= deadline:
                return {"event": _TIMEOUT, "limit": limit}
            self._services.heartbeat_sender.busy(self._claim)

    def _limit(self, index: int) -> float | None:
        """Return the seconds that the current task may take; of the run's timeout what is left of it."""
        own = specs_of(self._claim.state.values)[index].parameters.get("timeout")
        limits = [] if own is None else [parse_duration(own)]
        if self._settings.timeout is not None:
            spent = sum(task.duration_s or 0.0 for task in self._claim.state.tasks)
            limits.append(max(self._settings.timeout - spent, 0.0))
        return min((limit for limit in limits if limit is not None), default=None)

    def _is_unwanted(self) -> bool:
        claim = self._claim
        return (
            bool(self._services.stop_requests.urgency(self._settings.grace_time))
            or cancel_requests.reason_for(self._services.workspace, claim.path) is not None
            or not claims.still_ours(claim.path, claim.descriptor)
        )

    @staticmethod
    def _failure(task: str, answer: Message | None, code: int) -> TaskFailed:
        """Return the failed try of a task; `answer` is `None` if the process ended with `code`."""
        if answer is None:
            outcome, how = classify_exit(code, None, oom=None)
            return TaskFailed(task, outcome, f"preload: the process that loads its data has ended: {how}")
        if answer["event"] == _TIMEOUT:
            limit = durations.text_of(answer["limit"])
            return TaskFailed(task, Outcome.TIMEOUT, f"preload: it took longer than the timeout of {limit}")
        return TaskFailed(
            task,
            Outcome(answer["outcome"]),
            answer["error"],
            permanent=answer["permanent"],
            delay_s=answer["delay"],
        )
