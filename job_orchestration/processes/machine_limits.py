"""What this process may use of its machine, by its affinity and its control groups."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTROL_GROUPS: Final = "/sys/fs/cgroup"
_OWN_GROUP: Final = "/proc/self/cgroup"
_MOST_BYTES: Final = 4096


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
