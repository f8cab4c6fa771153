"""`work`: run a worker, or several."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from job_orchestration.workspace.layout import Workspace


@dataclass(frozen=True, slots=True)
class Worked:
    """Result of `work` and `up`."""

    failed: bool
    """Whether a run of these workers failed."""
    interrupted: bool
    """Whether a signal ended it."""
    trouble: bool = False
    """Whether a worker failed: it could not use the workspace, or its arguments were invalid."""


def work(
    workspace: Workspace,
    say: Callable[[str], None],
    *,
    workers: int = 1,
    until_idle: bool = False,
    seconds: float | None = None,
    resources: Mapping[str, int] | None = None,
    pool: str | None = None,
) -> Worked:
    """Execute waiting runs until a signal asks to stop.

    Args:
        workspace: with all its folders in place.
        say: called with one line per event.
        workers: number of workers; a single one runs in this process, several in one process each.
        until_idle: stop once nothing is waiting and nothing is running.
        seconds: stop within this time and release the unfinished run.
        resources: amounts of named resources, besides processors and memory: ``{"gpus": 2}``.
        pool: name of the resource pool to share; default: a pool of this call.

    Raises:
        UsageError: if the machine has fewer GPUs than given.
        WorkspaceError: if the locks of the file system cannot be trusted.
    """
    if workers > 1:
        with shared(workspace, resources or {}, pool) as words:
            one = arguments(workspace, until_idle=until_idle, seconds=seconds)
            return _several(say, workers, [*one, *words])
    from job_orchestration.worker.options import WorkerOptions
    from job_orchestration.worker.worker import Worker

    worker = Worker(workspace, WorkerOptions(until_idle, seconds, resources or {}, pool), say)
    failed = worker.work()
    return Worked(failed + worker.unreadable > 0, interrupted=worker.was_stopped)


def _several(say: Callable[[str], None], workers: int, words: list[str]) -> Worked:
    from job_orchestration.processes.supervisor import Supervisor

    with Supervisor(lambda label, line: say(f"{label}: {line}")) as pool:
        for number in range(1, workers + 1):
            pool.start(f"worker {number}", *words)
        while pool.turn(1.0):
            pass
        codes = pool.codes("worker")
        trouble = any(code in {2, 4} for code in codes)
        return Worked(1 in codes, interrupted=pool.interrupted, trouble=trouble)


@contextmanager
def shared(
    workspace: Workspace, resources: Mapping[str, int], pool: str | None = None
) -> Iterator[list[str]]:
    """Yield the arguments for workers that share a resource pool; the pool is closed afterwards.

    Args:
        workspace: where the reservations are kept.
        resources: amounts of named resources.
        pool: name of a pool shared with other workers; it is not closed here.

    Raises:
        UsageError: if the machine has fewer GPUs than given.
    """
    from job_orchestration.queue import resource_pool

    name = pool or f"pool{os.getpid()}"
    given = [f"{resource}={much}" for resource, much in resources.items()]
    whole = resource_pool.ResourcePool(workspace, name, resources, lambda _: None)
    try:
        yield ["--pool", name, *(["--resources", ",".join(given)] if given else [])]
    finally:
        if pool is None:
            whole.close()


def arguments(workspace: Workspace, *, until_idle: bool, seconds: float | None = None) -> list[str]:
    """Return the command-line arguments of one worker."""
    idle = ["--until-idle"] if until_idle else []
    limit = [] if seconds is None else ["--for", f"{seconds}s"]
    return ["work", "--workspace", workspace.root, *idle, *limit]
