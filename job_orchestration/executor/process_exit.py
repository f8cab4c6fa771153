"""End a process as a Python program ends: threads, exit functions, finalizers, open files, C's own exit.

A child ends this way when its tasks have ended, and so does a fork of a task that comes back to our code: it
writes no event, and touches no file of the run.

What the imports made for as long as their process lives (a temporary folder, say) is shared by all forks of a
fork server, so its removal waits for the fork server's end.
"""

from __future__ import annotations

import _thread
import atexit
import ctypes
import functools
import logging
import os
import signal
import sys
import threading
import traceback
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn

from job_orchestration.executor import open_files, unfinished_work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from job_orchestration.executor.shared_memory import SharedPage

_REMOVERS: Final = frozenset({"os", "pathlib", "posix", "shutil", "tempfile"})
"""Modules whose functions, as exit functions, remove files."""

_c_exit: Final = ctypes.pythonapi.exit
_c_fflush: Final = ctypes.pythonapi.fflush

_removals: Final[list[Callable[[], object]]] = []
"""What removes the temporary files of the imports."""


@contextmanager
def keep_removals() -> Iterator[None]:
    """Keep exit functions that remove files from being called in forks: those that are registered within."""
    register: Callable[..., Any] = atexit.register

    def keep(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Callable[..., Any]:
        if getattr(function, "__module__", None) not in _REMOVERS:
            register(function, *arguments, **keywords)
            return function
        _removals.append(functools.partial(function, *arguments, **keywords))
        return function

    atexit.register = keep  # type: ignore[assignment]  # it is generic in its function
    try:
        yield
    finally:
        atexit.register = register


def note_imports(*, shared: bool) -> None:
    """Note the files and objects of the imports; if forks share them, keep their removal for this process."""
    temporary = open_files.note_imports()
    fflush()
    if not shared:
        return
    _removals.extend(functools.partial(type(thing).__del__, thing) for thing in temporary)
    for finalizer, info in list(weakref.finalize._registry.items()):  # type: ignore[attr-defined]  # noqa: SLF001
        if finalizer.atexit and getattr(info.func, "__module__", None) in _REMOVERS:
            finalizer.atexit = False
            _removals.append(finalizer)


def remove_shared() -> None:
    """Remove the temporary files of the imports: the fork server ends."""
    for remove in reversed(_removals):
        with suppress(Exception):
            remove()


def exit_child(code: int, shared_page: SharedPage) -> NoReturn:
    """End a child; from now on the fork server counts its grace time."""
    shared_page.ending = True
    if shared_page.is_lost:
        _flush_streams()
        os._exit(code)  # the run is another worker's: no code of the tasks touches it any more
    exit_process(code)


def end_if_fork(own: int, error: BaseException | None = None) -> None:
    """End this process if it is a fork that a task made, with the exit code that a script's fork would have.

    Args:
        own: the process whose fork it may be.
        error: the exception by which the fork came back to our code.
    """
    if os.getpid() == own:
        return
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if error.code is not None and not isinstance(error.code, int):
            sys.stderr.write(f"{error.code}\n")
    elif error is not None:
        code = 1
        with suppress(Exception):
            sys.excepthook(type(error), error, error.__traceback__)
    exit_process(code & 0xFF, interrupted=isinstance(error, KeyboardInterrupt))


def exit_process(code: int, *, interrupted: bool = False) -> NoReturn:
    """End this process in the interpreter's order; only a call that never returns can hold it up."""
    try:
        held_up = unfinished_work.end_given_up() if unfinished_work.given_up else False
        _run_exit_functions(held_up=held_up)
        finalized = open_files.finalize()
        _flush_streams()
        if interrupted:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        if (
            finalized and not held_up
        ):  # otherwise a thread may still use the libraries, or there is nothing to do
            _c_exit(code)  # with the interpreter's lock, so no other thread runs any more
        fflush()
    except BaseException:  # noqa: BLE001  # such as a signal's
        with suppress(BaseException):
            traceback.print_exc()
    finally:
        os._exit(code)


def _run_exit_functions(*, held_up: bool) -> None:
    if held_up:
        for function in reversed(getattr(threading, "_threading_atexits", [])):
            with suppress(Exception):
                function()
    elif _thread._count() or getattr(threading, "_threading_atexits", True):  # noqa: SLF001
        _call(threading._shutdown)  # type: ignore[attr-defined]  # noqa: SLF001  # joins threads, ends pools
    if atexit._ncallbacks():  # noqa: SLF001
        _call(atexit._run_exitfuncs)  # noqa: SLF001
    if logging._handlerList:  # type: ignore[attr-defined]  # noqa: SLF001
        _call(logging.shutdown)  # it was registered first, so it comes last


def _call(function: Callable[[], object]) -> None:
    try:
        function()
    except BaseException:  # noqa: BLE001  # the rest of the end follows in any case
        traceback.print_exc()


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105  # `suppress` costs a forked process more pages
            stream.flush()
        except Exception:  # noqa: BLE001, S110  # it is closed, or of a task's own making
            pass


def fflush() -> None:
    """Write what the standard library of C still holds."""
    _c_fflush(None)
