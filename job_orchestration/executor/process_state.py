"""Have each task of a run begin alike, whether it follows another task or a kill.

What a task sets for its whole process (the working directory, the environment, signals, logging, …) is put
back before the next task of the run begins: after a kill that task would not find it either. Modules and
their globals stay, because they cannot be put back.

Nearly all of the state is noted once, in the fork server, and inherited by its forks. What differs between
the runs of a fork server is noted in the child (`RunState`).
"""

from __future__ import annotations

import _locale
import _signal  # type: ignore[import-not-found]  # no stubs know it
import builtins
import faulthandler
import gc
import logging
import operator
import os
import resource
import signal
import sys
import threading
import time
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from job_orchestration.executor import library_state

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    PutBack = Callable[[], object]

_put_back: Final[list[PutBack]] = []

_HOOKS: Final = (
    *("stdin", "stdout", "stderr", "excepthook", "unraisablehook", "displayhook", "dont_write_bytecode"),
    *("pycache_prefix", "tracebacklimit"),
)
"""Attributes of `sys`."""
_OWN_LIMITS: Final = frozenset({resource.RLIMIT_DATA})
"""Limits that the fork server sets from outside."""


def note_imports() -> None:
    """Note the state that the imports left, in an interpreter that runs tasks or is forked to do so."""
    _put_back[:] = [part() for part in (_streams, _interpreter, _builtins, _signals, _warnings, _logging)]
    _put_back.extend(part() for part in (_lists, _locale_and_umask, _limits_and_processors))
    library_state.note()


class RunState:
    """The state of a run's process before its first task."""

    def __init__(self) -> None:
        self._folder = os.getcwd()
        self._environment: dict[bytes, bytes] = os.environ._data.copy()  # type: ignore[attr-defined]  # noqa: SLF001  # undecoded

    def put_back(self) -> None:
        """Put back everything that a task set for its process."""
        for part in (self._own, *_put_back, library_state.put_back):
            with suppress(Exception):  # of the code of others, such as a stream or a handler of logging
                part()

    def _own(self) -> None:
        kept = self._environment | library_state.added_environment
        if os.environ._data != kept:  # type: ignore[attr-defined]  # noqa: SLF001
            _put_environment_back(kept)
        os.chdir(self._folder)


def _put_environment_back(kept: dict[bytes, bytes]) -> None:
    zone = os.environ.get("TZ")
    for name in os.environb.keys() - kept.keys():
        del os.environb[name]
    os.environb.update({name: value for name, value in kept.items() if os.environb.get(name) != value})
    if os.environ.get("TZ") != zone:
        time.tzset()


def _limits_and_processors() -> PutBack:
    names = (name for name in vars(resource) if name.startswith("RLIMIT_"))
    limits = {n: resource.getrlimit(n)[0] for n in {getattr(resource, name) for name in names} - _OWN_LIMITS}
    processors = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None

    def put_back() -> None:
        for number, soft in limits.items():
            now = resource.getrlimit(number)
            if now[0] != soft:
                with suppress(ValueError, OSError):  # a task may have lowered the hard limit for good
                    resource.setrlimit(number, (soft, now[1]))
        if processors is not None and os.sched_getaffinity(0) != processors:
            os.sched_setaffinity(0, processors)

    return put_back


def _streams() -> PutBack:
    kept = {name: getattr(sys, name) for name in _HOOKS if hasattr(sys, name)}

    def put_back() -> None:
        for name in _HOOKS:
            if name in kept:
                setattr(sys, name, kept[name])
            elif hasattr(sys, name):
                delattr(sys, name)
        for number, name in ((1, "stdout"), (2, "stderr")):
            if kept[name].closed:
                stream = open(number, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
                kept[name] = stream
                setattr(sys, name, stream)

    return put_back


def _lists() -> PutBack:
    kept = [(found, found.copy()) for found in (sys.path, sys.argv)]

    def put_back() -> None:
        for found, content in kept:
            found[:] = content
        sys.path, sys.argv = kept[0][0], kept[1][0]

    return put_back


def _interpreter() -> PutBack:
    recursion, interval = sys.getrecursionlimit(), sys.getswitchinterval()
    trace, profile, thread_hook = sys.gettrace(), sys.getprofile(), threading.excepthook
    collects, thresholds = gc.isenabled(), gc.get_threshold()
    stack = threading.stack_size()

    def put_back() -> None:
        sys.setrecursionlimit(recursion)
        sys.setswitchinterval(interval)
        sys.settrace(trace)
        sys.setprofile(profile)
        threading.excepthook = thread_hook
        (gc.enable if collects else gc.disable)()
        gc.set_threshold(*thresholds)
        threading.stack_size(stack)

    return put_back


def _builtins() -> PutBack:
    kept = vars(builtins).copy()

    def put_back() -> None:
        now = vars(builtins)
        if len(now) == len(kept) and all(map(operator.is_, now.values(), kept.values())):
            return  # the names were not looked at, which would copy their memory
        for name in now.keys() - kept.keys():
            del now[name]
        now.update({name: value for name, value in kept.items() if now.get(name) is not value})

    return put_back


def _signals() -> PutBack:
    # `signal` would make an enum of every number and handler
    handlers = {int(number): _signal.getsignal(number) for number in signal.valid_signals()}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    def put_back() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            if signal.getitimer(timer)[0]:
                signal.setitimer(timer, 0)
        for number, handler in handlers.items():
            if handler is not None and _signal.getsignal(number) != handler:
                _signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        faulthandler.cancel_dump_traceback_later()
        faulthandler.enable()
        faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)

    return put_back


def _locale_and_umask() -> PutBack:
    kept = _locale.setlocale(_locale.LC_ALL)
    umask = os.umask(0)
    os.umask(umask)

    def put_back() -> None:
        os.umask(umask)
        if _locale.setlocale(_locale.LC_ALL) != kept:
            _locale.setlocale(_locale.LC_ALL, kept)

    return put_back


def _warnings() -> PutBack:
    filters, show, text = warnings.filters[:], warnings.showwarning, warnings.formatwarning

    def put_back() -> None:
        warnings.filters[:] = [*library_state.added_filters, *filters]  # type: ignore[index]  # a list, in fact
        getattr(warnings, "_filters_mutated", lambda: None)()
        warnings.showwarning, warnings.formatwarning = show, text
        logging._warnings_showwarning = None  # type: ignore[attr-defined]  # noqa: SLF001  # of captureWarnings

    return put_back


def _logging() -> PutBack:
    manager = logging.root.manager
    modules = frozenset(sys.modules)
    kept = {logger: _state_of(logger) for logger in _loggers()}
    handlers = {h: (h.level, h.formatter, h.filters[:]) for logger in kept for h in logger.handlers}
    others = logging.getLoggerClass(), logging.getLogRecordFactory(), logging.raiseExceptions, manager.disable

    def put_back() -> None:
        for logger in _loggers():
            top = logger.name.partition(".")[0]
            if logger in kept:
                _restore(logger, kept[logger])
            elif top not in sys.modules or top in modules:  # a library that was imported since keeps its own
                _restore(logger, _LoggerState())
        for handler, (level, formatter, filters) in handlers.items():
            handler.level, handler.formatter, handler.filters[:] = level, formatter, filters
        logging.setLoggerClass(others[0])
        logging.setLogRecordFactory(others[1])
        logging.raiseExceptions = others[2]
        manager.disable = others[3]
        manager._clear_cache()  # type: ignore[attr-defined]  # noqa: SLF001  # of which loggers are enabled

    return put_back


def _loggers() -> list[logging.Logger]:
    found = list(logging.root.manager.loggerDict.values())
    return [logging.root, *(logger for logger in found if isinstance(logger, logging.Logger))]


class _LoggerState(NamedTuple):
    level: int = logging.NOTSET
    handlers: Sequence[logging.Handler] = ()
    filters: Sequence[Any] = ()
    propagate: bool = True
    disabled: bool = False


def _state_of(logger: logging.Logger) -> _LoggerState:
    return _LoggerState(
        logger.level, tuple(logger.handlers), tuple(logger.filters), logger.propagate, logger.disabled
    )


def _restore(logger: logging.Logger, state: _LoggerState) -> None:
    for handler in logger.handlers:
        if handler not in state.handlers:
            with suppress(Exception):
                handler.close()
    logger.handlers[:], logger.filters[:] = state.handlers, state.filters
    logger.level, logger.propagate, logger.disabled = state.level, state.propagate, state.disabled
