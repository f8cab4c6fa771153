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
    workspace: Workspace, say: Callable[[str], None], *, workers: int = 1, until_idle: bool = False
) -> Worked:
    """Work off what waits, until a signal says to stop.

    Args:
        workspace: with all its folders in place.
        say: gets a sentence for each thing that happens.
        workers: how many; one works in this process, several have one each.
        until_idle: end when nothing waits and nothing runs.
    """
    return _several(workspace, say, workers, until_idle) if workers > 1 else _one(workspace, say, until_idle)


def _one(workspace: Workspace, say: Callable[[str], None], until_idle: bool) -> Worked:  # noqa: FBT001  # passed on as it came
    from job_orchestration.engine.worker import Orders, Worker

    worker = Worker(workspace, Orders(until_idle=until_idle), say)
    failed = worker.work()
    return Worked(failed > 0, interrupted=worker._stops > 0)  # noqa: SLF001  # it has no other name yet


def _several(workspace: Workspace, say: Callable[[str], None], workers: int, until_idle: bool) -> Worked:  # noqa: FBT001  # passed on as it came
    from job_orchestration.engine.pool import Pool

    with Pool(lambda label, line: say(f"{label}: {line}")) as pool:
        for number in range(1, workers + 1):
            pool.start(f"worker {number}", *arguments(workspace, until_idle=until_idle))
        while pool.turn(1.0):
            pass
        codes = pool.codes("worker")
        trouble = any(code in {2, 4} for code in codes)
        return Worked(1 in codes, interrupted=pool.interrupted, trouble=trouble)


def arguments(workspace: Workspace, *, until_idle: bool) -> list[str]:
    """The command line of one worker."""
    return ["work", "--workspace", workspace.root, *(["--until-idle"] if until_idle else [])]
