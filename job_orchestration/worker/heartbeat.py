"""Write the heartbeat of a worker, at most once in `EVERY` seconds.

Each heartbeat also writes the summaries of runs that ended since the last one.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from job_orchestration.runs import summary_cache
from job_orchestration.workspace import clock, heartbeats
from job_orchestration.workspace.heartbeats import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.executor.shared_memory import SharedPage
    from job_orchestration.processes.identity import ProcessIdentity
    from job_orchestration.runs.claims import Claim
    from job_orchestration.workspace.layout import Workspace

EVERY: Final = 2.0
"""Seconds between two heartbeats. Tasks of milliseconds do not need a file each."""


class HeartbeatSender:
    """Writes the heartbeats of one worker.

    Args:
        workspace: the workspace that keeps them.
        worker: the worker's name.
        hostname: the name of this machine.
        process: the identity of the worker's process.
        pool: name of the resource pool that it shares; `None` if it has its own.
        resources: what it can allocate to runs.
    """

    def __init__(
        self,
        workspace: Workspace,
        worker: str,
        hostname: str,
        process: ProcessIdentity,
        *,
        pool: str | None = None,
        resources: Mapping[str, int] | None = None,
    ) -> None:
        self._workspace = workspace
        self._heartbeat = Heartbeat(
            *(worker, hostname, process.pid, clock.timestamp(), ""),
            boot=process.boot,
            namespace=process.namespace,
            started=process.started,
            pool=pool,
            resources=resources,
        )
        self._at = 0.0
        self._summaries = summary_cache.SummaryCacheWriter(workspace, worker)

    def idle(self) -> None:
        """Show that no run is held."""
        self._show(replace(self._heartbeat, run=None, attempt=None, task=None, done=None, total=None))

    def busy(self, claim: Claim, shared_page: SharedPage | None = None) -> bool:
        """Show that a run is held; the page holds its current task and progress.

        Returns:
            Whether a heartbeat was due: then other files of the run are due too.
        """
        task, done, total = None, None, None
        running = None if shared_page is None else shared_page.task
        if shared_page is not None and running is not None:
            task = claim.state.tasks[running[0]].id
            done, total = shared_page.progress
        reported = bool(done or total)
        return self._show(
            replace(
                self._heartbeat,
                run=claim.run,
                attempt=claim.attempt,
                task=task,
                done=done if reported else None,
                total=(total or None) if reported else None,
            )
        )

    def moved(self, claim: Claim) -> None:
        """Note the summary of a run that was moved out of Running and is still held."""
        self._summaries.add(claim)

    def end(self) -> None:
        """Remove the heartbeat, since the worker ends."""
        self._summaries.write()
        heartbeats.remove(self._workspace, self._heartbeat.worker)

    def _show(self, heartbeat: Heartbeat) -> bool:
        last = self._heartbeat
        if (heartbeat.run, heartbeat.attempt, heartbeat.task, heartbeat.done) != (
            last.run,
            last.attempt,
            last.task,
            last.done,
        ):
            heartbeat = replace(heartbeat, moved_at=clock.timestamp())
        self._heartbeat = heartbeat
        if time.monotonic() - self._at < EVERY:
            return False
        self._at = time.monotonic()
        self._heartbeat = replace(heartbeat, at=clock.timestamp())
        heartbeats.write(self._workspace, self._heartbeat)
        self._summaries.write()
        return True
