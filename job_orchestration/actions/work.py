"""`work`: run a worker, or several."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from job_orchestration.files.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Worked:
    """How the work ended."""

    failed: bool
    """Whether a run gave up that these workers had."""
    interrupted: bool
    """Whether a signal ended it."""
    trouble: bool = False
    """Whether a worker could not use the workspace."""


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
    """Work off what waits, until a signal says to stop.

    Args:
        workspace: with all its folders in place.
        say: gets a sentence for each thing that happens.
        workers: how many; one works in this process, several have one each.
        until_idle: end when nothing waits and nothing runs.
        seconds: be gone by then, and hand back what is not finished.
        resources: how much there is of what runs may take, besides processors and memory: ``{"gpus": 2}``.
        pool: the name of the pool whose resources it shares; those of this call when not given.

    Raises:
        UsageError: when there are fewer GPUs than it was told.
        WorkspaceError: when the locks of the workspace's file system cannot be trusted.
    """
    if workers > 1:
        with shared(workspace, resources or {}, pool) as words:
            one = arguments(workspace, until_idle=until_idle, seconds=seconds)
            return _several(say, workers, [*one, *words])
    from job_orchestration.engine.orders import Orders
    from job_orchestration.engine.worker import Worker

    worker = Worker(workspace, Orders(until_idle, seconds, resources or {}, pool), say)
    failed = worker.work()
    return Worked(failed > 0, interrupted=worker.was_stopped)


def _several(say: Callable[[str], None], workers: int, words: list[str]) -> Worked:
    from job_orchestration.engine.pool import Pool

    with Pool(lambda label, line: say(f"{label}: {line}")) as pool:
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
    """The words for the workers of a pool that share this machine's resources, for as long as it lasts.

    Args:
        workspace: where the account is kept.
        resources: how much there is.
        pool: the name of a pool that may have other workers, and lasts longer.

    Raises:
        UsageError: when there are fewer GPUs than it was told.
    """
    from job_orchestration.engine import room

    name = pool or f"pool{os.getpid()}"
    given = [f"{resource}={much}" for resource, much in resources.items()]
    whole = room.Room(workspace, name, resources, lambda _: None)
    try:
        yield ["--pool", name, *(["--resources", ",".join(given)] if given else [])]
    finally:
        if pool is None:
            whole.close()


def arguments(workspace: Workspace, *, until_idle: bool, seconds: float | None = None) -> list[str]:
    """The command line of one worker."""
    idle = ["--until-idle"] if until_idle else []
    limit = [] if seconds is None else ["--for", f"{seconds}s"]
    return ["work", "--workspace", workspace.root, *idle, *limit]
