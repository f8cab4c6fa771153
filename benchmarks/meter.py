"""A small program that runs commands and prints what they and all their descendants cost.

It is a subreaper: a process that outlives its parent (a daemon, a process in a session of its own) becomes
its child, is ended with the rest and is waited for, so its processor time is counted. Nothing but the
standard library is imported, and it runs as a process of its own, because a child's peak memory begins with
that of its parent.

Usage: ``python -I -S meter.py PLAN.json``. The plan: ``commands`` (lists of words that run side by side),
``cwd``, ``env``, ``limit`` (seconds), ``output`` (a file for what they print), ``input`` (text for their
standard input), and ``until`` (``folder``, ``files`` and ``last``: for commands that do not end by
themselves, how many files they are to have made where, and one of the last). Prints one JSON object:
``wall``, ``cpu`` (user and system seconds), ``rss`` (MiB of the largest process), ``code`` (the worst exit
code), ``ended`` (``itself``, ``done`` or ``limit``).
"""

import ctypes
import json
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from typing import Any

CHILD_SUBREAPER = 36
GRACE = 5.0
"""Seconds between a polite end and a kill."""


PAUSE = 0.05
"""Seconds between two looks at what the end of no process tells."""


def children(parent: int) -> list[int]:
    """The children of a process, adopted ones included."""
    try:
        found = []
        for task in os.listdir(f"/proc/{parent}/task"):
            with open(f"/proc/{parent}/task/{task}/children", encoding="ascii") as file:
                found += [int(pid) for pid in file.read().split()]
        return found
    except FileNotFoundError:  # it has just ended, or a kernel without that file
        return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and parent_of(pid) == parent]


def descendants() -> list[int]:
    """The children of this process, theirs, and so on; all are asked to end, as by a terminal's Ctrl-C."""
    found = children(os.getpid())
    for pid in found:  # which grows meanwhile
        found += children(pid)
    return found


def parent_of(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def reap(codes: dict[int, int], *, block: bool = False) -> None:
    """Take note of all that have ended; with `block` wait for the first."""
    try:
        while True:
            pid, status = os.waitpid(-1, 0 if block else os.WNOHANG)
            if pid == 0:
                return
            codes[pid] = os.waitstatus_to_exitcode(status)
            block = False
    except ChildProcessError:
        return


def end_all(codes: dict[int, int]) -> None:
    """End all descendants: SIGTERM first, SIGKILL after a grace time."""
    deadline = time.monotonic() + GRACE
    asked: set[int] = set()
    while found := descendants():
        forced = time.monotonic() > deadline
        for pid in found:
            if forced or pid not in asked:
                asked.add(pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if forced else signal.SIGTERM)
        time.sleep(0.01)
        reap(codes)


def made(folder: str) -> int:
    """How many files lie in a folder's folders."""
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            with os.scandir(entry.path) as files:
                count += sum(1 for _ in files)
    return count


def is_done(until: dict[str, Any]) -> bool:
    """Whether what was to be made is there; counts only when the last one is, because counting is dear."""
    return os.path.exists(until["last"]) and made(until["folder"]) >= until["files"]


def start(plan: dict[str, Any]) -> list[int]:
    """Start the commands; their standard input is a file, so that no command waits for a writer."""
    output = os.open(plan["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    with open(f"{plan['output']}.in", "w+", encoding="utf-8") as file:
        file.write(plan.get("input") or "")
        file.flush()
        redirections: list[tuple[object, ...]] = [(os.POSIX_SPAWN_DUP2, output, number) for number in (1, 2)]
        redirections.append((os.POSIX_SPAWN_OPEN, 0, file.name, os.O_RDONLY, 0))
        os.chdir(plan["cwd"])
        return [
            os.posix_spawnp(words[0], words, plan["env"], file_actions=redirections, setsigmask=())
            for words in plan["commands"]
        ]


def stop(*_: object) -> None:
    """End all, and this too."""
    end_all({})
    sys.exit(1)


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    ctypes.CDLL(None).prctl(CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    codes: dict[int, int] = {}
    started = time.monotonic()
    pids = start(plan)
    until, ended = plan.get("until"), "itself"
    while not all(pid in codes for pid in pids) or (until and not is_done(until)):
        if time.monotonic() - started > plan["limit"]:
            ended = "limit"
            break
        if until and is_done(until):
            ended = "done"
            break
        if until and not children(os.getpid()):
            break
        signal.sigtimedwait({signal.SIGCHLD}, PAUSE)
        reap(codes)
    wall = time.monotonic() - started
    code = max((abs(codes.get(pid, 0)) for pid in pids), default=0)
    end_all(codes)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "rss": used.ru_maxrss / 1024}
    print(json.dumps({**found, "code": code, "ended": ended}))


if __name__ == "__main__":
    main()
