"""Find and kill processes left behind by a task.

A process that a task started may leave its group and its session, and may be orphaned on purpose. It is
found in two ways. A *child subreaper* inherits the orphans of all its descendants, so every process of a run
remains a descendant of the fork server, or of the worker if the fork server was killed. If both are gone, a
program that a task started still has the run's name in its environment, and a process that a task only
forked still has the run's journal open for writing.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

MARK: Final = "JOB_ORCHESTRATION_RUN"
"""The variable that names a run and its attempt, as ``RUN#ATTEMPT``."""

TRACKER: Final = "resource_tracker"
"""The name of the processes of `multiprocessing` and loky that remove shared memory and semaphores."""

lasting: Final[set[int]] = set()
"""Children of a worker that belong to no run; reaping a run spares them."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_GET_CHILD_SUBREAPER: Final = 37


_libc: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _prctl(option: int, value: int) -> None:
    if _libc is not None:
        _libc.prctl(option, value, 0, 0, 0)


def become_subreaper() -> None:
    """Inherit the orphans of all descendants from now on. Does nothing if the system cannot do that."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def is_subreaper() -> bool:
    """Return whether this process inherits orphans, so that it can find all of its descendants."""
    found = ctypes.c_int(0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(found), 0, 0, 0)
    return bool(found.value)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that forked it ends; at once if it already has."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def outlive_parent() -> None:
    """Take `die_with_parent` back."""
    _prctl(_PR_SET_PDEATHSIG, 0)


def keep_from_forks(descriptor: int) -> None:
    """Make forks of a task ordinary processes: SIGTERM ends them, and they do not hold the lock.

    A process pool would wait forever for members that ignore SIGTERM, and a shared lock would be held until
    the last fork ends.
    """
    global _lock  # noqa: PLW0603  # a process works for one run; closures would cost it more pages
    _lock = descriptor, os.fstat(descriptor)
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_let_go)


_lock: tuple[int, os.stat_result] | None = None
"""The descriptor that forks let go, and its file."""
_masks: Final[dict[int, set[int]]] = {}
"""Thread to the signals that it had blocked before it began to fork."""


def _hold() -> None:
    _masks[threading.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.pop(threading.get_ident()))


def _let_go() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    _release()  # a fork that is terminated at once would otherwise take it for our request, and live on
    if _lock is None:
        return
    descriptor, status = _lock
    with suppress(OSError):
        if os.path.samestat(os.fstat(descriptor), status):  # the number may be another file's by now
            os.close(descriptor)


def kill_descendants(spare: Collection[int] = (), seconds: float = 5.0) -> int:
    """Kill every descendant of this process, and reap those that become its children.

    Args:
        spare: children to spare, with their descendants.
        seconds: time limit; a process in an uninterruptible wait may outlast it.

    Returns:
        Number of descendants that are left.
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
    """Reap children that have died, except those that other code waits for."""
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
    """Return the children of all threads of a process."""
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
    """Return every descendant, zombies included: their children may soon become children of this process."""
    found: list[int] = []
    ahead = [child for child in _children(os.getpid()) if child not in spare]
    while ahead:
        pid = ahead.pop()
        found.append(pid)
        ahead += _children(pid)
    return found


def name_descendants(spare: Collection[int] = ()) -> dict[int, str]:
    """Return the descendants of this process that still run, each with the name of its program."""
    if not spare and not _has_children():
        return {}
    found = {}
    for pid in _descendants(spare):
        with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
            if words[0]:  # a zombie has none
                name = os.path.basename(words[0].decode("utf-8", "replace"))
                found[pid] = (
                    TRACKER if any(b".resource_tracker import main" in word for word in words) else name
                )
    return found


def wait_for(children: Collection[int], seconds: float) -> None:
    """Wait until children have ended and collect their ends, for so many seconds at most."""
    deadline = time.monotonic() + seconds
    for pid in children:
        with suppress(ChildProcessError):
            while os.waitpid(pid, os.WNOHANG)[0] == 0 and time.monotonic() < deadline:
                time.sleep(0.002)


def _lives(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def kill_marked(run: str, workspace: str, variable: str, journal: str = "", seconds: float = 5.0) -> int:
    """Kill every process on this machine that belongs to a run. Called by the new holder of the run.

    A process that called this one is spared: a worker may be started in a terminal that a task opened.

    Args:
        run: the run's name, without an attempt's number.
        workspace: the workspace's folder; another one may have a run of the same name.
        variable: the environment variable that names the workspace.
        journal: the folder of the run's journal, by which forks are known; not looked at when empty.
        seconds: time limit.

    Returns:
        Number of processes found.
    """
    marks = (f"{MARK}={run}#".encode(), f"{variable}={workspace}".encode())
    deadline = time.monotonic() + seconds
    killed: set[int] = set()
    spared = _callers()
    while marked := [pid for pid in _marked(*marks, journal) if pid not in spared]:
        killed.update(marked)
        for pid in marked:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            break
        time.sleep(0.005)
    return len(killed)


def _callers() -> frozenset[int]:
    """Return the parent of this process, the parent of that one, and so on."""
    found: set[int] = set()
    pid = os.getppid()
    with suppress(OSError, ValueError):
        while pid > 1 and pid not in found:
            found.add(pid)
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
    return frozenset(found)


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
    """Return whether a process has a file in a folder open for writing; readers are spared."""
    for number in os.listdir(f"{process}/fd"):
        with suppress(OSError):
            if os.path.dirname(os.readlink(f"{process}/fd/{number}")) != folder:
                continue
            with open(f"{process}/fdinfo/{number}", encoding="ascii") as file:
                flags = next(line.split()[1] for line in file if line.startswith("flags:"))
            if int(flags, 8) & os.O_ACCMODE != os.O_RDONLY:
                return True
    return False
