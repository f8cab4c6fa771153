"""Wait for what a task left at work when it returned: its threads, its pools' work, its processes.

An idle member of a pool is not at work: the pool may serve the next task, and ends with the process. Neither
is a process that a library ends by itself, such as a manager's server. What is still at work when the time is
over is given up: it is named in the log, not waited for again, and does not hold up the end of the process.
"""

from __future__ import annotations

import _thread
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.executor.child_setup import log_line

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOK_AGAIN: Final = 0.02
"""Seconds between two checks of what is still at work."""

_POOLS: Final = (
    ("concurrent.futures.thread", "_threads_queues"),
    ("concurrent.futures.process", "_threads_wakeups"),
    ("joblib.externals.loky.process_executor", "_threads_wakeups"),
    ("loky.process_executor", "_threads_wakeups"),
)
"""Where pools keep the threads that they wait for at exit."""

given_up: Final[list[Any]] = []
"""Threads and processes that were at work for too long."""


def may_be() -> bool:
    """Whether anything can be at work; this costs less than to look."""
    return _thread._count() > 0 or "multiprocessing.process" in sys.modules  # noqa: SLF001


def wait(task: str, seconds: float) -> None:
    """Wait until nothing that this process started is at work, for so many seconds at most."""
    deadline = time.monotonic() + seconds
    while left := [work for work in _at_work() if work not in given_up]:
        if time.monotonic() >= deadline:
            names = ", ".join(map(_name_of, left))
            log_line(
                f"Task {task} has returned, but this did not end within {seconds:g} s (graceTime): {names}"
            )
            given_up.extend(left)
            return
        time.sleep(min(_LOOK_AGAIN, max(deadline - time.monotonic(), 0.0)))


def end_given_up() -> bool:
    """Kill the processes that were given up, and have no pool wait for a thread that was.

    Returns:
        Whether such a thread still runs: nothing can end it.
    """
    threads = [work for work in given_up if isinstance(work, threading.Thread)]
    for process in [work for work in given_up if work not in threads] + _members(threads):
        with suppress(Exception):
            process.kill()
    for module, name in _POOLS:
        pools = getattr(sys.modules.get(module), name, {})
        for thread in threads:
            pools.pop(thread, None)
    return any(thread.is_alive() for thread in threads)


def _members(threads: list[threading.Thread]) -> list[Any]:
    """The processes of the pools that these threads manage."""
    return [member for thread in threads for member in dict(getattr(thread, "processes", {})).values()]


def _name_of(work: Any) -> str:  # a thread or a process of either library
    if isinstance(work, threading.Thread):
        return f"thread {work.name}"
    return f"process {work.name} ({work.pid})"


def _at_work() -> Iterator[Any]:
    threads = [thread for thread in threading.enumerate() if not thread.daemon]
    for thread in threads:
        if thread not in {threading.current_thread(), threading.main_thread()} and _is_busy(thread):
            yield thread
    module = sys.modules.get("multiprocessing.process")
    children = [child for child in getattr(module, "_children", ()) if not child.daemon]
    if children:
        managed = _managed(threads)
        for child in children:
            with suppress(Exception):  # a child of another process: it was inherited by a fork
                if id(child) not in managed and child.is_alive():
                    yield child


def _is_busy(thread: threading.Thread) -> bool:
    """Whether a thread is at work; the threads of idle pools are not."""
    pending = getattr(
        thread, "pending_work_items", None
    )  # the manager of a pool of processes, loky's as well
    if pending is not None:
        return len(pending) > 0
    module = sys.modules.get("concurrent.futures.thread")
    work_queue = getattr(module, "_threads_queues", {}).get(thread)
    if work_queue is None:
        return True
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001  # a pool keeps no count of its idle threads
    while frame is not None and frame.f_code.co_name != "_worker":
        frame = frame.f_back
    return not work_queue.empty() or (frame is not None and frame.f_locals.get("work_item") is not None)


def _managed(threads: list[threading.Thread]) -> set[int]:
    """The processes that belong to a pool, or that an exit function of `multiprocessing` ends."""
    found = set(map(id, _members(threads)))
    finalizers = getattr(sys.modules.get("multiprocessing.util"), "_finalizer_registry", {})
    for finalizer in list(finalizers.values()):
        found.update(map(id, getattr(finalizer, "_args", None) or ()))
    return found
