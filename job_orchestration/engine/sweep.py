"""Nothing of a run outlives it: finding and ending the processes that a task left behind.

A process that a task started may leave its group and its session, and may be orphaned on purpose. Two
things still tell whose it is. A *child subreaper* inherits the orphans of everything below it, so for a
host (and, when the host was killed, for its worker) whatever is left of a run is a descendant. When host and
worker are both gone, every program that a task started carries the run's name in its environment, and a
process that a task forked, without making it a program, still has the run's journal open for writing.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

MARK: Final = "JOB_ORCHESTRATION_RUN"
"""The variable that names a run and its attempt, as ``RUN#ATTEMPT``."""

lasting: Final[set[int]] = set()
"""Children of a worker that belong to no run, so that nobody sweeps them away with one."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_GET_CHILD_SUBREAPER: Final = 37


_libc: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _prctl(option: int, value: int) -> None:
    if _libc is not None:
        _libc.prctl(option, value, 0, 0, 0)


def become_subreaper() -> None:
    """Inherit the orphans of all descendants from now on. Does nothing where the system has no such thing."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def is_subreaper() -> bool:
    """Whether this process inherits orphans, so that all of its descendants are its own to end."""
    found = ctypes.c_int(0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(found), 0, 0, 0)
    return bool(found.value)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that forked it ends; at once if it already has."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def keep_from_forks(descriptor: int) -> None:
    """Have what a task forks be a process like any other: SIGTERM ends it, and a lock is not held by it.

    A pool of processes waits for ever for members that take SIGTERM for a polite request, and a lock that
    forks share lasts as long as they.
    """
    status = os.fstat(descriptor)

    def let_go() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), status):  # the number may be another file's by now
                os.close(descriptor)

    os.register_at_fork(after_in_child=let_go)


def kill_descendants(spare: Collection[int] = (), seconds: float = 5.0) -> int:
    """End every descendant of this process, and reap what becomes its child by that.

    Args:
        spare: children that are to live on, with everything below them.
        seconds: how long to go on; a process in an uninterruptible wait may outlast it.

    Returns:
        How many were still there at the end.
    """
    deadline = time.monotonic() + seconds
    while True:
        reap(spare)
        if not spare and not _has_children():
            return 0
        left = _descendants(spare)
        if not left:
            return 0
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return sum(_lives(pid) for pid in left)
        time.sleep(0.002)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def reap(spare: Collection[int] = ()) -> None:
    """Collect the ends of children that have died, except those that somebody else waits for."""
    if not spare:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        return
    for pid in _children(os.getpid()):
        if pid not in spare:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _children(pid: int) -> list[int]:
    """The children of a process, whichever of its threads has them."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:
        return _children_by_psutil(pid)
    return found


def _children_by_psutil(pid: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []


def _descendants(spare: Collection[int]) -> list[int]:
    """Every descendant, the dead that nobody has reaped included: what they had may be ours in a moment."""
    found: list[int] = []
    ahead = [child for child in _children(os.getpid()) if child not in spare]
    while ahead:
        pid = ahead.pop()
        found.append(pid)
        ahead += _children(pid)
    return found


def _lives(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def kill_marked(run: str, workspace: str, variable: str, journal: str = "", seconds: float = 5.0) -> int:
    """End every process on this host that belongs to a run. Called by the new holder of the run.

    Args:
        run: the run's name, without an attempt's number.
        workspace: the workspace's folder; another one may have a run of the same name.
        variable: the environment variable that names the workspace.
        journal: the folder of the run's journal, by which forks are known; not looked at when empty.
        seconds: how long to go on.

    Returns:
        How many were found.
    """
    marks = (f"{MARK}={run}#".encode(), f"{variable}={workspace}".encode())
    deadline = time.monotonic() + seconds
    killed: set[int] = set()
    while marked := _marked(*marks, journal):
        killed.update(marked)
        for pid in marked:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            break
        time.sleep(0.005)
    return len(killed)


def _marked(run: bytes, workspace: bytes, journal: str) -> list[int]:
    found = []
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    for name in names:
        if not name.isdigit() or int(name) == os.getpid():
            continue
        with suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
            variables = file.read().split(b"\0")
            marked = workspace in variables and any(v.startswith(run) for v in variables)
            if marked or (journal and _writes_into(f"/proc/{name}", journal)):
                found.append(int(name))
    return found


def _writes_into(process: str, folder: str) -> bool:
    """Whether a process has a file in a folder open for writing; whoever only reads there is left alone."""
    for number in os.listdir(f"{process}/fd"):
        with suppress(OSError):
            if os.path.dirname(os.readlink(f"{process}/fd/{number}")) != folder:
                continue
            with open(f"{process}/fdinfo/{number}", encoding="ascii") as file:
                flags = next(line.split()[1] for line in file if line.startswith("flags:"))
            if int(flags, 8) & os.O_ACCMODE != os.O_RDONLY:
                return True
    return False
