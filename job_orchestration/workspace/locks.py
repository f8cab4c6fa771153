"""Lock folders, and ask the kernel which files are locked without locking anything.

A process that waits for a lock says after two seconds who holds it: a suspended command, or one on a machine
that sleeps, would keep it waiting without a word.

``/proc/locks`` names the holder of each lock by device and inode. The device is that of the mount, which some
file systems (btrfs, for one) report differently from `stat`; so it is looked up among the mounts. The kernel
reports the locks of this machine only, and of the processes that are visible to this one.
"""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.errors import BusyError
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def folder_lock(path: str, *, wait: bool = True) -> Iterator[int]:
    """Hold an exclusive `flock` on a folder.

    Args:
        path: the folder; it must exist.
        wait: whether to wait for another holder; if `may_wait` is false, no process does.

    Yields:
        The descriptor that holds the lock. If this process dies, a child that has inherited the descriptor
        keeps the lock until it ends as well. At the end of the block the lock ends for all of them.

    Raises:
        BlockingIOError: if another process holds the lock and `wait` is false.
        BusyError: if another process holds the lock and `wait` is true, but `may_wait` is false.
        OSError: if the folder cannot be opened (``filename`` is set) or locked (``filename`` is `None`).
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise
            _wait_for(descriptor, path)
        yield descriptor
    finally:
        let_go(descriptor)


def let_go(descriptor: int) -> None:
    """End a lock and close its descriptor.

    The lock would last as long as any copy of the descriptor, and a process that another thread is just
    starting has one until it executes its program.
    """
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def share_folder(path: str) -> int:
    """Take a shared `flock` on a folder, which lasts as long as this process or a fork of it lives.

    Returns:
        The descriptor that holds the lock.

    Raises:
        OSError: if the folder cannot be opened or locked.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def _wait_for(descriptor: int, path: str) -> None:
    """Wait for a lock that another process holds, and say who that is if it takes long."""
    if not may_wait:
        raise BusyError(f"{_holder_of(path)} holds the lock on {path}", "Try again when it has ended")
    import threading

    timer = threading.Timer(
        SAID_AFTER, lambda: say(f"Waiting for the lock on {path}: {_holder_of(path)} holds it.")
    )
    timer.daemon = True
    timer.start()
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    finally:
        timer.cancel()


def _say_on_stderr(sentence: str) -> None:
    with suppress(OSError, AttributeError):
        sys.stderr.write(f"{escaped(sentence)}\n")
        sys.stderr.flush()


SAID_AFTER: Final = 2.0
"""Seconds of waiting after which the holder is named."""
may_wait = True
"""Set to false by ``--no-wait``."""
say: Callable[[str], None] = _say_on_stderr
"""Called with the sentence that names the holder of a lock that this process waits for."""


def _holder_of(path: str) -> str:
    """Describe the process that holds the lock on a folder: its command, id, machine, start and state.

    The kernel names the processes of this machine that are visible from here.
    """
    pid = _pid_of_holder(path)
    if not pid:
        return "a process on another machine, or in another container,"
    import socket

    words = _words_of(pid)
    about = f"process {pid} on {socket.gethostname()}{_since(pid)}"
    if _is_suspended(pid):
        about += f"; it is stopped: let it go on with kill -CONT {pid}, or end it with kill -KILL {pid}"
    return f"{words} ({about})"


def _pid_of_holder(path: str) -> int:
    """Return the process that holds the lock on a folder; 0 if the kernel does not name it."""
    with suppress(OSError, ValueError):
        major, minor = _device(path)
        wanted = major, minor, os.stat(path).st_ino
        with open("/proc/locks", encoding="ascii", errors="replace") as file:
            lines = [line.split() for line in file]
        for _, kind, *rest in lines:
            if kind == "FLOCK":
                device = rest[3].split(":")
                if (int(device[0], 16), int(device[1], 16), int(device[2])) == wanted:
                    return max(int(rest[2]), 0)
    return 0


def _words_of(pid: int) -> str:
    """Return the command of a process in the words of its user, such as ``ready``."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = [os.fsdecode(word) for word in file.read().split(b"\0")]
    except OSError:
        return "a process"
    at = next((n for n, word in enumerate(words) if os.path.basename(word) in _PROGRAMS), None)
    if at is None:
        return os.path.basename(words[0]) or "a process"
    rest = iter(words[at + 1 :])
    for word in rest:
        if word == "--workspace":
            next(rest, None)
        elif word and not word.startswith("-"):
            return word
    return "job-orchestration"


_PROGRAMS: Final = frozenset({"job_orchestration", "job-orchestration", "jo", "__main__.py"})


def _since(pid: int) -> str:
    """Say when a process started; empty if that is unknown."""
    from datetime import UTC, datetime

    with suppress(OSError, ValueError, StopIteration, IndexError):
        with open(f"/proc/{pid}/stat", "rb") as file:
            ticks = int(file.read().rpartition(b") ")[2].split()[19])
        with open("/proc/stat", encoding="ascii") as file:
            booted = next(int(line.split()[1]) for line in file if line.startswith("btime "))
        started = datetime.fromtimestamp(booted + ticks / os.sysconf("SC_CLK_TCK"), UTC).astimezone()
        return f", started {started:%Y-%m-%d %H:%M:%S}"
    return ""


def _is_suspended(pid: int) -> bool:
    """Return whether a process is stopped by a signal or a debugger."""
    with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b") ")[2][:1] in {b"T", b"t"}
    return False


def held_inodes(folder: str) -> frozenset[int] | None:
    """Return the inodes on a folder's file system that are locked by `flock` on this machine.

    Returns:
        `None` if the system does not report locks.
    """
    try:
        with open("/proc/locks", encoding="ascii", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    try:
        device = _device(folder)
    except OSError:
        return None
    found: set[int] = set()
    for line in lines:
        _, kind, *rest = line.split()
        if kind != "FLOCK":  # a waiting lock has an arrow in this place
            continue
        major, minor, inode = rest[3].split(":")
        if (int(major, 16), int(minor, 16)) == device:
            found.add(int(inode))
    return frozenset(found)


def _device(folder: str) -> tuple[int, int]:
    """Return the major and minor number of a folder's file system, as the kernel lists them."""
    with suppress(OSError, StopIteration, ValueError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
                mount = next(line.split()[1] for line in file if line.startswith("mnt_id:"))
        finally:
            os.close(descriptor)
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            number = next(fields[2] for line in file if (fields := line.split())[0] == mount)
        major, minor = number.split(":")
        return int(major), int(minor)
    device = os.stat(folder).st_dev
    return os.major(device), os.minor(device)
