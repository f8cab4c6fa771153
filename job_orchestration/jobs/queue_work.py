"""``work --from azure-queue``: workers of a workspace, and a consumer that gives them the jobs of a queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from job_orchestration.api.background import Background
from job_orchestration.commands.work import Worked
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.jobs import azure_queue
from job_orchestration.jobs.file_store import ResultsFileStore
from job_orchestration.jobs.launchers import LaunchError, LocalLauncher
from job_orchestration.jobs.queue_consumer import LEASE, PAUSE, QueueConsumer
from job_orchestration.processes.stop_signals import StopSignals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SOURCE: Final = "azure-queue"
_LOOK_EVERY: Final = 1.0
_LONGEST_PAUSE: Final = 30.0


def queue_of(source: str) -> str:
    """Return the name of the queue in ``azure-queue`` or ``azure-queue:NAME``.

    Raises:
        UsageError: if it is another source.
    """
    kind, _, name = source.partition(":")
    if kind != _SOURCE:
        raise UsageError(f"{source!r} is no source of jobs", f"Write {_SOURCE} or {_SOURCE}:NAME")
    return name or azure_queue.QUEUE


def work_from_queue(
    root: str,
    source: str,
    say: Callable[[str], None],
    *,
    workers: int = 1,
    until_idle: bool = False,
    seconds: float | None = None,
    resources: Mapping[str, int] | None = None,
    lease: int = LEASE,
    pause: int = PAUSE,
) -> Worked:
    """Execute the jobs of a queue until a signal asks to stop; unfinished ones go on in the next worker.

    Args:
        root: the workspace.
        source: see `queue_of`.
        say: called with one line per event.
        workers: how many jobs at once.
        until_idle: stop once the queue is empty and no job of it lives.
        seconds: stop within this time.
        resources: amounts of named resources.
        lease: seconds for which a message is invisible to others.
        pause: seconds until a message that could not become a run is received again.

    Raises:
        UsageError: if the queue is not named as it should be.
        LaunchError: if the queue cannot be reached at the start.
    """
    store = ResultsFileStore(root)
    launcher = LocalLauncher(results_store=store, workers=0)
    consumer = QueueConsumer(
        *("", launcher, say),
        queue=queue_of(source),
        most=max(2 * workers, 2),
        lease=lease,
        pause=pause,
    )
    given = [f"{name}={much}" for name, much in (resources or {}).items()]
    words = ["--workspace", root, "--workers", str(workers)]
    words += ["--resources", ",".join(given)] if given else []
    signals, deadline = StopSignals(), None if seconds is None else time.monotonic() + seconds
    signals.handle()
    pool = Background(["work", *words], say)
    seen: set[str] = set()
    rest = _LOOK_EVERY
    try:
        while not signals.count and (deadline is None or time.monotonic() < deadline):
            if not pool.is_alive:
                pool = Background(["work", *words], say)
            try:
                took, rest = consumer.turn(), _LOOK_EVERY
                seen |= set(consumer.jobs)
            except LaunchError as error:
                say(str(error))
                took, rest = True, min(2 * rest, _LONGEST_PAUSE)
            if until_idle and not took and not consumer.jobs:
                break
            time.sleep(rest)
    finally:
        consumer.release()
        pool.stop()
        signals.restore()
    failed = any(store.status(job).status_code in {500, 504} for job in seen)
    return Worked(failed, interrupted=signals.count > 0)
