"""Set up the interpreter of a run: streams, signals, logging, random numbers.

Nearly all of it is done once in the fork server and inherited by every fork. Work in a fresh fork costs more
than it seems to: each object that it touches lies in memory shared with the fork server, and the first touch
of a page copies the page. So a child changes as little as it can before the task begins.
"""

from __future__ import annotations

import faulthandler
import os
import random
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final, TextIO

from job_orchestration.executor import log_setup, process_state
from job_orchestration.executor.import_hooks import OnImport
from job_orchestration.processes import reaper
from job_orchestration.runs.events import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, ModuleType

    from job_orchestration.executor.shared_memory import SharedPage

_shared_page: SharedPage | None = None
"""`None` in a fork server: there signals have no effect."""


def look_like_script() -> None:
    """Have the imports of the tasks find what a script finds; call it before them."""
    sys.argv = ["Tasks.py"]
    log_setup.adopt_basic_config()


def prepare_interpreter() -> None:
    """Set up an interpreter that has imported the tasks; its forks inherit all of it."""
    log_setup.prepare()  # before the streams change, of which a handler of the imports may have one
    _make_streams()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, _on_signal)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)
    process_state.note_imports()
    sys.meta_path.insert(0, _seeds_later)


def restore_signals() -> None:
    """Give every signal its default disposition, and block none.

    ``nohup``, ``cron`` and ``&`` in a script start programs that ignore some signals, and that is inherited
    through every fork and exec. The code of a task shall not depend on how its worker was started. Python
    itself ignores SIGPIPE and SIGXFSZ in every interpreter, so these two stay.
    """
    unchangeable = {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, getattr(signal, "SIGXFSZ", None)}
    for number in signal.valid_signals() - unchangeable:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def become_child(fork_server: int, shared_page: SharedPage) -> None:
    """Turn a fresh fork, or a fresh interpreter, into a run's own process."""
    global _shared_page  # noqa: PLW0603  # a signal handler has no other way to know
    reaper.die_with_parent(fork_server)
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    _shared_page = shared_page


def log_line(sentence: str, level: str = "INFO") -> bool:
    """Write a line of the log: what logging would write, without what it would touch.

    Returns:
        Whether it could be written; a task may have closed the descriptors of its output.
    """
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    return write_to_log(f"{stamp},{int(now % 1 * 1000):03d} [{level[:5]:5}]  {sentence}\n")


def write_to_log(text: str) -> bool:
    """Write text into the log of the run, as `print` would; return whether it could be written."""
    try:
        sys.stderr.write(text)
    except (AttributeError, OSError, ValueError):  # a task closed it, or put something else in its place
        try:
            os.write(2, text.encode(errors="backslashreplace"))
        except OSError:
            return False
    return True


def _on_signal(number: int, _frame: FrameType | None) -> None:
    """Handle a signal.

    A fork server ignores it: its worker decides when it ends. In a child SIGTERM asks for the end, and SIGINT
    interrupts.
    """
    if _shared_page is None:
        return
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    if _shared_page.stop is None:
        _shared_page.stop = Outcome.INTERRUPTED


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


_SEEDERS: Final[dict[str, Any]] = {
    "numpy": lambda numpy, seed: numpy.random.seed(seed % 2**32),
    "torch": lambda torch, seed: torch.manual_seed(seed),
}


def seed_all(seed: int) -> None:
    """Start the random numbers of Python and of each library that is loaded, or will be."""
    global _seed  # noqa: PLW0603  # the finder has no other way to know
    _seed = seed
    random.seed(seed)
    for name, start in _SEEDERS.items():
        module = sys.modules.get(name)
        if module is None:
            _seeds_later.functions[name] = _execute_and_seed
        else:
            start(module, seed)
    if _seeds_later not in sys.meta_path:
        sys.meta_path.insert(0, _seeds_later)


_seed = 0
"""The seed of the task that runs."""


def _execute_and_seed(module: ModuleType, execute: Callable[[], object]) -> None:
    execute()
    _SEEDERS[module.__name__](module, _seed)


_seeds_later: Final = OnImport(dict.fromkeys(_SEEDERS, _execute_and_seed))
"""Seeds a library when it has been imported."""
