"""Find and end processes that hold a run's lock although its worker is dead.

Every process that works for an attempt shares the locked token, so the lock normally ends with the last of
them. Two kinds of processes outlive their worker: a fork server that was stopped (SIGSTOP, a debugger), and a
daemon that a library forked without Python, which inherits every descriptor and closes none. The run would
count as running for ever.

The kernel lists the locks of an open file in ``/proc/PID/fdinfo``. A token's name holds the process id of its
worker, so a token whose lock is held, but not by that process, has lost its worker. A process id may be
counted in another PID namespace; each of a process's numbers is compared. Processes that this user may not
inspect, and those of other machines, are not seen and never ended.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs import token_header
from job_orchestration.workspace.naming import TokenName

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FIRST_PAUSE: Final = 5.0
"""Seconds between two looks at a held token at the least: a fork server takes as long to end what is left."""
_LONGEST_PAUSE: Final = 60.0


def holders(path: str) -> dict[int, str]:
    """Return the processes that hold the lock of a token, each with its program, if its worker does not.

    Args:
        path: a token in Running.

    Returns:
        Program name by process id; empty if the worker is alive, or no holder is visible.
    """
    filename = os.path.basename(path)
    name = TokenName.parse(filename)
    if name is None or name.worker is None:
        return {}
    own = _number_in(name.worker)
    if own is not None and _holds(own, filename):
        return {}
    try:
        pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    except OSError:
        return {}
    found = [pid for pid in pids if _holds(pid, filename)]
    if os.getpid() in found or any(own in _numbers_of(pid) for pid in found):
        return {}
    return {pid: _program_of(pid) for pid in found}


def _number_in(worker: str) -> int | None:
    parts = worker.split(".")
    return int(parts[-2]) if len(parts) >= 3 and parts[-2].isdigit() else None  # noqa: PLR2004


def _holds(pid: int, filename: str) -> bool:
    """Return whether a process has a token of this name open, and locked."""
    with suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.path.basename(os.readlink(f"/proc/{pid}/fd/{number}")) != filename:
                    continue
                with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii", errors="replace") as file:
                    if any(line.startswith("lock:") and "FLOCK" in line for line in file):
                        return True
    return False


def _numbers_of(pid: int) -> frozenset[int]:
    """Return a process's number in each PID namespace that it is part of."""
    with (
        suppress(OSError, ValueError),
        open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file,
    ):
        for line in file:
            if line.startswith("NSpid:"):
                return frozenset(map(int, line.split()[1:]))
    return frozenset({pid})


def _program_of(pid: int) -> str:
    with suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()
    return "a process"


def named_processes(found: Mapping[int, str]) -> str:
    """Return "sleep (process 12), python (process 13)" for a message."""
    return escaped(", ".join(f"{program} (process {pid})" for pid, program in sorted(found.items())))


class OutlivedLocks:
    """Ends what outlived the workers of runs that cannot be claimed.

    A token is looked at now and then; what holds its lock without a worker in two looks in a row is ended.

    Args:
        say: called with one sentence for each run.
        now: a monotonic clock, in seconds.
    """

    def __init__(self, say: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._now = now
        self._looks: dict[str, tuple[float, float, frozenset[int]]] = {}
        """By path: when to look next, the pause after that, and the holders of the last look."""

    def look(self, path: str) -> None:
        """Look at a token in Running that another process holds, if it is time."""
        now = self._now()
        if path not in self._looks:
            self._looks = {p: known for p, known in self._looks.items() if os.path.lexists(p)}
            self._looks[path] = now, _FIRST_PAUSE, frozenset()
        due, pause, before = self._looks[path]
        if now < due:
            return
        found = holders(path)
        self._looks[path] = now + pause, min(2 * pause, _LONGEST_PAUSE), frozenset(found)
        if found:
            self._looks[path] = now + _FIRST_PAUSE, _FIRST_PAUSE, frozenset(found)
        outlived = {pid: program for pid, program in found.items() if pid in before}
        if not outlived:
            return
        run = escaped(token_header.run_of(path) or os.path.basename(path))
        named = named_processes(outlived)
        refused = [pid for pid in outlived if not _end(pid)]
        if not refused:
            self._say(f"{run}: its worker is dead, but {named} held its lock, and was ended")
        else:
            self._say(f"{run}: its worker is dead, but {named} holds its lock. End it to have the run go on.")


def _end(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True
