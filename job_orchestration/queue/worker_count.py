"""How many workers this machine can use: ``--workers auto``.

One for each processor that this process may use, by its affinity and its control groups. If waiting runs ask
for processors or memory, as many as fit side by side when each asks for what the middle one of them asks for.
The resource pool still decides for each run whether it may start, so a larger run only waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from job_orchestration.processes import machine_limits
from job_orchestration.runs import token, token_header

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.workspace.layout import Workspace


class WorkerCount(NamedTuple):
    """A number of workers, and why."""

    number: int
    reason: str
    """A sentence without a full stop."""


def automatic(workspace: Workspace) -> WorkerCount:
    """Return how many workers to start for a workspace on this machine."""
    waiting = [dict(token_header.read_requirements(t.path).resources) for t in token.scan(workspace.to_run)]
    return count_for(machine_limits.usable_cpus(), machine_limits.usable_memory(), waiting)


def count_for(cpus: int, memory: int | None, waiting: Sequence[Mapping[str, int]]) -> WorkerCount:
    """Return how many workers to start.

    Args:
        cpus: the processors that may be used.
        memory: the bytes that may be used; `None` if unknown.
        waiting: what each waiting run asks for.
    """
    number, reason = cpus, f"{cpus} {'CPU' if cpus == 1 else 'CPUs'} may be used"
    each = max(_middle([request.get("cpus", 1) for request in waiting]), 1)
    if each > 1:
        number, reason = cpus // each, f"{reason}, and the runs that wait ask for {each} each"
    space = _middle([request.get("memory", 0) for request in waiting])
    if memory is not None and space > 0 and memory // space < number:
        from job_orchestration.diagnostics import sizes

        number = memory // space
        reason = (
            f"{sizes.text_of(memory)} of memory may be used, and the runs that wait ask for"
            f" {sizes.text_of(space)} each"
        )
    return WorkerCount(max(number, 1), reason)


def _middle(amounts: Sequence[int]) -> int:
    """Return the upper median; 0 if there is none."""
    return sorted(amounts)[len(amounts) // 2] if amounts else 0
