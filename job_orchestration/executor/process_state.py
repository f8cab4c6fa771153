"""Have each task of a run begin alike, whether it follows another task or a kill.

What a task sets for its whole process (the working directory, the environment, signals, logging, …) is put
back before the next task of the run begins: after a kill that task would not find it either. Modules and
their globals stay, because they cannot be put back.

Nearly all of the state is noted once, in the fork server, and inherited by its forks. What differs between
the runs of a fork server is noted for each of them (`RunState`).

Most tasks change nothing, and in a fork each object that is touched copies a page of memory. So the whole
state is read and compared at once, by functions of C that are made in the fork server; only if it differs
is it put back, part by part.
"""

from __future__ import annotations

import _locale
import _signal  # type: ignore[import-not-found]  # no stubs know it
import _tracemalloc
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
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TextIO, TypeAlias

from job_orchestration.executor import library_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    PutBack: TypeAlias = Callable[[], object]
    Read: TypeAlias = Callable[[], object]
    Part: TypeAlias = tuple[list[Read], PutBack]
    """What reads some of the state, and what puts it back."""

_reads: Final[list[Read]] = []
"""What reads the whole state. Some of them set what they return, where there is no other way to read it."""
_kept: Final[list[object]] = []
"""What they returned after the imports."""
_put_back: Final[list[PutBack]] = []
_environment: Final[dict[bytes, bytes]] = {}
"""The environment after the imports."""
_ABSENT: Final = object()

_HOOKS: Final = (
    *("stdin", "stdout", "stderr", "excepthook", "unraisablehook", "displayhook", "dont_write_bytecode"),
    *("pycache_prefix", "tracebacklimit"),
)
"""Attributes of `sys`."""
_STDERR: Final = 2
_STREAMS: Final = ("stdin", "stdout", "stderr")
_OWN_LIMITS: Final = frozenset({resource.RLIMIT_DATA})
"""Limits that the fork server sets from outside."""


def note_imports() -> None:
    """Note the state that the imports left, in an interpreter that runs tasks or is forked to do so."""
    _environment.clear()
    _environment.update(os.environb.items())
    parts = [part() for part in (_streams, _interpreter, _builtins, _signals, _warnings, _logging)]
    parts += [part() for part in (_lists, _locale_and_umask, _limits_and_processors)]
    _put_back[:] = [put_back for _, put_back in parts]
    _reads[:] = [read for reads, _ in parts for read in reads]
    _kept[:] = [_copied(read()) for read in _reads]
    library_state.note()


def _copied(value: object) -> object:
    """Copy the lists in a value, so that it stays as it is."""
    if isinstance(value, tuple):
        return tuple(map(_copied, value))
    return value.copy() if isinstance(value, list) else value


def _attributes(module: object, *names: str) -> list[Read]:
    return [partial(vars(module).get, name, _ABSENT) for name in names]


class RunState:
    """The state of a run's process before its first task.

    Args:
        variables: the names of the environment variables that are the run's own.
        folder: where its tasks stand.
        stand: changes into that folder, and makes it again if a task has removed it.
    """

    def __init__(self, variables: Iterable[bytes], folder: str, stand: Callable[[], None]) -> None:
        self._folder = folder
        self._stand = stand
        now = os.environ._data  # type: ignore[attr-defined]  # noqa: SLF001  # not decoded
        self._own_variables = {name: now[name] for name in variables if name in now}
        try:
            output, errors = os.fstat(1), os.fstat(_STDERR)
            self._pipe = output.st_ino if os.path.samestat(output, errors) else 0
        except OSError:
            self._pipe = 0

    def put_back(self) -> None:
        """Put back everything that a task set for its process."""
        if not self._is_unchanged():
            for part in (self._put_descriptors_back, self._put_environment_back, *_put_back, self._stand):
                with suppress(Exception):  # of the code of others, such as a stream or a handler of logging
                    part()
        library_state.put_back()

    def _is_unchanged(self) -> bool:
        try:
            return (
                os.environ._data == self._environment()  # type: ignore[attr-defined]  # noqa: SLF001
                and list(map(operator.call, _reads)) == _kept
                and os.getcwd() == self._folder
                and (not self._pipe or os.fstat(1).st_ino == os.fstat(_STDERR).st_ino == self._pipe)
            )
        except Exception:  # noqa: BLE001  # of the code of others, such as a comparison
            return False

    def _put_descriptors_back(self) -> None:
        """Open again what a task closed or replaced: output and errors of a child are one pipe."""
        now = [_inode_of(descriptor) for descriptor in range(_STDERR + 1)]
        if not now[0]:
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)  # the lowest that is free
        if self._pipe and now[1:].count(self._pipe) == 1:
            os.dup2(*((_STDERR, 1) if now[1] != self._pipe else (1, _STDERR)))

    def _environment(self) -> dict[bytes, bytes]:
        return {**_environment, **self._own_variables, **library_state.added_environment}

    def _put_environment_back(self) -> None:
        kept = self._environment()
        zone = os.environ.get("TZ")
        for name in os.environb.keys() - kept.keys():
            del os.environb[name]
        os.environb.update({name: value for name, value in kept.items() if os.environb.get(name) != value})
        if os.environ.get("TZ") != zone:
            time.tzset()


def _inode_of(descriptor: int) -> int:
    """Return the inode of an open file; 0 if there is none."""
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return 0


def _limits_and_processors() -> Part:
    names = (name for name in vars(resource) if name.startswith("RLIMIT_"))
    limits = {n: resource.getrlimit(n)[0] for n in {getattr(resource, name) for name in names} - _OWN_LIMITS}
    reads: list[Read] = [partial(resource.getrlimit, number) for number in limits]
    processors = None
    if hasattr(os, "sched_getaffinity"):
        processors = os.sched_getaffinity(0)
        reads.append(partial(os.sched_getaffinity, 0))

    def put_back() -> None:
        for number, soft in limits.items():
            now = resource.getrlimit(number)
            if now[0] != soft:
                with suppress(ValueError, OSError):  # a task may have lowered the hard limit for good
                    resource.setrlimit(number, (soft, now[1]))
        if processors is not None and os.sched_getaffinity(0) != processors:
            os.sched_setaffinity(0, processors)

    return reads, put_back


def _streams() -> Part:
    kept = {name: getattr(sys, name) for name in _HOOKS if hasattr(sys, name)}
    closed: list[Read] = [partial(getattr, kept[name], "closed") for name in _STREAMS if kept[name]]

    def put_back() -> None:
        for name in _HOOKS:
            if name in kept:
                setattr(sys, name, kept[name])
            elif hasattr(sys, name):
                delattr(sys, name)
        for number, name in enumerate(_STREAMS):
            if kept[name] and kept[name].closed:
                kept[name] = _stream(number)
                setattr(sys, name, kept[name])

    return [*_attributes(sys, *_HOOKS), *closed], put_back


def _stream(number: int) -> TextIO:
    if number == 0:
        return open(0, closefd=False)
    return open(number, "w", 1, "utf-8", "backslashreplace", closefd=False)


def _lists() -> Part:
    kept = [(found, found.copy()) for found in (sys.path, sys.argv)]

    def put_back() -> None:
        for found, content in kept:
            found[:] = content
        sys.path, sys.argv = kept[0][0], kept[1][0]

    return _attributes(sys, "path", "argv"), put_back


def _interpreter() -> Part:
    recursion, interval = sys.getrecursionlimit(), sys.getswitchinterval()
    trace, profile, thread_hook = sys.gettrace(), sys.getprofile(), threading.excepthook
    collects, thresholds = gc.isenabled(), gc.get_threshold()
    stack, origins = threading.stack_size(), sys.get_coroutine_origin_tracking_depth()
    digits, traces_memory = sys.get_int_max_str_digits(), _tracemalloc.is_tracing()

    def put_back() -> None:
        sys.setrecursionlimit(recursion)
        sys.setswitchinterval(interval)
        sys.settrace(trace)
        sys.setprofile(profile)
        threading.excepthook = thread_hook
        (gc.enable if collects else gc.disable)()
        gc.set_threshold(*thresholds)
        threading.stack_size(stack)
        sys.set_coroutine_origin_tracking_depth(origins)
        sys.set_int_max_str_digits(digits)
        if _tracemalloc.is_tracing() and not traces_memory:
            _tracemalloc.stop()

    reads: list[Read] = [sys.getrecursionlimit, sys.getswitchinterval, sys.gettrace, sys.getprofile]
    reads += [gc.isenabled, gc.get_threshold, threading.stack_size]
    reads += [sys.get_coroutine_origin_tracking_depth, sys.get_int_max_str_digits, _tracemalloc.is_tracing]
    return [*reads, *_attributes(threading, "excepthook")], put_back


def _builtins() -> Part:
    kept = vars(builtins).copy()

    def put_back() -> None:
        now = vars(builtins)
        for name in now.keys() - kept.keys():
            del now[name]
        now.update({name: value for name, value in kept.items() if now.get(name) is not value})

    return [partial(list, vars(builtins).values())], put_back  # to read the names would copy their memory


def _signals() -> Part:
    # `signal` would make an enum of every number and handler
    handlers = {int(number): _signal.getsignal(number) for number in signal.valid_signals()}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    timers = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)

    def put_back() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for timer in timers:
            signal.setitimer(timer, 0)
        faulthandler.unregister(signal.SIGUSR1)  # or it would not see that `signal` took its place
        for number, handler in handlers.items():
            if handler is not None and _signal.getsignal(number) != handler:
                _signal.signal(number, handler)
        for read in set_when_read:
            read()

    set_when_read: list[Read] = [
        partial(_signal.set_wakeup_fd, -1),
        faulthandler.cancel_dump_traceback_later,
        partial(faulthandler.enable, _STDERR),
        partial(faulthandler.register, int(signal.SIGUSR1), _STDERR, True, False),
    ]
    return [
        *(partial(_signal.getsignal, number) for number in handlers),
        partial(_signal.pthread_sigmask, signal.SIG_BLOCK, ()),
        *(partial(_signal.getitimer, int(timer)) for timer in timers),
        *set_when_read,
    ], put_back


def _locale_and_umask() -> Part:
    kept = _locale.setlocale(_locale.LC_ALL)
    umask = os.umask(0)
    os.umask(umask)

    def put_back() -> None:
        os.umask(umask)
        if _locale.setlocale(_locale.LC_ALL) != kept:
            _locale.setlocale(_locale.LC_ALL, kept)

    return [partial(_locale.setlocale, _locale.LC_ALL), partial(os.umask, umask)], put_back


def _warnings() -> Part:
    filters, show, text = warnings.filters[:], warnings.showwarning, warnings.formatwarning
    captured = logging._warnings_showwarning  # type: ignore[attr-defined]  # noqa: SLF001  # by captureWarnings

    def put_back() -> None:
        warnings.filters[:] = [*library_state.added_filters, *filters]  # type: ignore[index]  # a list, in fact
        getattr(warnings, "_filters_mutated", lambda: None)()
        warnings.showwarning, warnings.formatwarning = show, text
        logging._warnings_showwarning = captured  # type: ignore[attr-defined]  # noqa: SLF001

    reads = _attributes(warnings, "filters", "showwarning", "formatwarning")
    return [*reads, *_attributes(logging, "_warnings_showwarning")], put_back


def _logging() -> Part:
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

    of_logger = operator.attrgetter(*_LoggerState._fields)
    of_handler = operator.attrgetter("level", "formatter", "filters")
    return [
        partial(len, manager.loggerDict),
        *(partial(of_logger, logger) for logger in kept),
        *(partial(of_handler, handler) for handler in handlers),
        *_attributes(logging, "_loggerClass", "_logRecordFactory", "raiseExceptions"),
        partial(getattr, manager, "_disable"),
    ], put_back


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
