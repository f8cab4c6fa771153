"""How many workers this machine can use: ``--workers auto``.

One for each processor that this process may use, by its affinity and its control groups. If waiting runs ask
for processors or memory, as many as fit side by side when each asks for what the middle one of them asks for.
The resource pool still decides for each run whether it may start, so a larger run only waits.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.runs import token, token_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from job_orchestration.workspace.layout import Workspace

_CONTROL_GROUPS: Final = "/sys/fs/cgroup"
_OWN_GROUP: Final = "/proc/self/cgroup"
_MOST_BYTES: Final = 4096


class WorkerCount(NamedTuple):
    """A number of workers, and why."""

    number: int
    reason: str
    """A sentence without a full stop."""


def automatic(workspace: Workspace) -> WorkerCount:
    """Return how many workers to start for a workspace on this machine."""
    waiting = [dict(token_header.read_requirements(t.path).resources) for t in token.scan(workspace.to_run)]
    return count_for(usable_cpus(), usable_memory(), waiting)


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


def usable_cpus() -> int:
    """Return the processors that this process may use, by its affinity and the quota of its groups."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for quota, period in (line.split()[:2] for line in _limits("cpu.max") if " " in line):
        with suppress(ValueError, ZeroDivisionError):
            found = min(found, max(int(quota) // int(period), 1))
    return found


def usable_memory() -> int | None:
    """Return the bytes of memory that this process may use; `None` if unknown."""
    found = None
    with suppress(OSError, ValueError):
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for line in _limits("memory.max"):
        with suppress(ValueError):
            found = int(line) if found is None else min(found, int(line))
    return found


def _limits(name: str) -> Iterator[str]:
    """Yield a limit of this process's control group and of each one above it; groups of version 2."""
    with suppress(OSError, UnicodeDecodeError):
        with open(_OWN_GROUP, encoding="utf-8") as file:
            lines = file.read(_MOST_BYTES).splitlines()
        group = next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
        parts = group.split("/") if group else []
        for depth in range(len(parts), -1, -1):
            with (
                suppress(OSError, UnicodeDecodeError),
                open(os.path.join(_CONTROL_GROUPS, *parts[:depth], name), encoding="ascii") as file,
            ):
                yield file.read(_MOST_BYTES).strip()
