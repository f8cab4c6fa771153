"""`work`: run a worker, or several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

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
) -> Worked:
    """Work off what waits, until a signal says to stop.

    Args:
        workspace: with all its folders in place.
        say: gets a sentence for each thing that happens.
        workers: how many; one works in this process, several have one each.
        until_idle: end when nothing waits and nothing runs.
        seconds: be gone by then, and hand back what is not finished.

    Raises:
        WorkspaceError: when the locks of the workspace's file system cannot be trusted.
    """
    if workers > 1:
        return _several(say, workers, arguments(workspace, until_idle=until_idle, seconds=seconds))
    from job_orchestration.engine.worker import Orders, Worker

    worker = Worker(workspace, Orders(until_idle, seconds), say)
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


def arguments(workspace: Workspace, *, until_idle: bool, seconds: float | None = None) -> list[str]:
    """The command line of one worker."""
    idle = ["--until-idle"] if until_idle else []
    limit = [] if seconds is None else ["--for", f"{seconds}s"]
    return ["work", "--workspace", workspace.root, *idle, *limit]
