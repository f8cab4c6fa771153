"""The parts of a worker that each run that it has claimed uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from job_orchestration.code.snapshots import CodeStore
    from job_orchestration.executor.fork_server_client import ForkServerPool
    from job_orchestration.notifications.publisher import Publisher
    from job_orchestration.processes.wakeup import WakeupPipe
    from job_orchestration.runs.record_backup import BackupWriter
    from job_orchestration.search.driver import SearchDriver
    from job_orchestration.worker.failed_starts import FailedStarts
    from job_orchestration.worker.heartbeat import HeartbeatSender
    from job_orchestration.worker.stop_requests import StopRequests
    from job_orchestration.workspace.layout import Workspace

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class WorkerServices:
    """The parts of a worker that each of its runs uses."""

    workspace: Workspace
    code: CodeStore
    fork_servers: ForkServerPool
    heartbeat_sender: HeartbeatSender
    publisher: Publisher
    searches: SearchDriver
    starts: FailedStarts
    stop_requests: StopRequests
    wake: WakeupPipe
    backup: BackupWriter
    can_write: Callable[[], bool]
    """Makes a durable write of the worker's own in the workspace."""
    say: Say
