"""What a run's interpreter is set up with: streams, signals, logging.

Nearly all of it is done in the host, once, and inherited by every fork. What a fresh fork does by itself
costs far more than it looks: each object that it touches lies in memory that it shares with the host, and
the first touch of a page copies it. So a child changes as little as it can before the task begins.
"""

from __future__ import annotations

import atexit
import faulthandler
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Final, TextIO

from job_orchestration.engine import sweep
from job_orchestration.model.run import Outcome

if TYPE_CHECKING:
    from types import FrameType

    from job_orchestration.engine.page import Page

_FORMAT: Final = "%(asctime)s [%(levelname)-5.5s]  %(message)s"
"""Of a line of the log, as the first Job Orchestration had it."""

_page: Page | None = None
"""Set in a child: before that, signals are the worker's to give."""


def prepare() -> None:
    """Set up an interpreter that has imported the tasks; its forks inherit all of it."""
    _make_streams()
    logging.basicConfig(format=_FORMAT, level=logging.INFO, handlers=[_ToStderr()], force=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_signal)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)
    atexit._clear()  # noqa: SLF001  # hosts end by os._exit, and a child runs what its own tasks registered


def settle_in(host: int, page: Page) -> None:
    """Turn a fresh fork, or a fresh interpreter, into a run's own process."""
    global _page  # noqa: PLW0603  # a signal handler has no other way to know
    sweep.die_with_parent(host)
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    _page = page


def leave(code: int) -> None:
    """End the child without unwinding into whatever it was forked from."""
    try:
        atexit._run_exitfuncs()  # noqa: SLF001  # those that the tasks registered
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def note(sentence: str) -> None:
    """A line of the log at level INFO: what logging would write, without what it would touch."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    sys.stderr.write(f"{stamp},{int(now % 1 * 1000):03d} [INFO ]  {sentence}\n")


def _on_signal(number: int, _frame: FrameType | None) -> None:
    """In a host nothing: its worker says when it is over. In a child SIGTERM asks, and SIGINT interrupts."""
    if _page is None:
        return
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    if _page.stop is None:
        _page.stop = Outcome.INTERRUPTED


class _ToStderr(logging.StreamHandler[TextIO]):
    """Writes to what ``sys.stderr`` is at the moment."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # an attribute there, the same to its readers
        return sys.stderr


def _make_streams() -> None:
    """Open ``sys.stdout`` and ``sys.stderr`` anew, as what they will be: a pipe.

    A stream remembers whether its file could seek, so the descriptors are a pipe while it is opened.
    """
    kept = (os.dup(1), os.dup(2))
    reading, writing = os.pipe()
    os.dup2(writing, 1)
    os.dup2(writing, 2)
    sys.stdout, sys.stderr = _stream(1), _stream(2)
    os.dup2(kept[0], 1)
    os.dup2(kept[1], 2)
    for descriptor in (*kept, reading, writing):
        os.close(descriptor)


def _stream(descriptor: int) -> TextIO:
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
