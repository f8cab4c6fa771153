"""Load once what many runs read: `preload` of a task's class, called before the process of a run is forked.

A class offers it as a classmethod that gets the keys of the config that it names in `preload_keys`, and no
others: so what it returns can depend on nothing else. The fork server keeps the value, and each run that has
the same values in these keys finds it as `self.context.preloaded`, in memory that all of them share until one
writes to it. A value that is the path of a file or a folder stands for its content: if its size or time
changes, it is loaded anew.

A process that was not forked, such as that of a run with ``isolation: spawn``, calls `preload` itself.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.code import task_importer
from job_orchestration.runs import kept_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from job_orchestration.code.task_importer import CodePlan

_ENTRIES: Final = 10_000
"""Entries of a folder whose sizes and times are compared."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a task of a run wants to be loaded."""

    task: str
    method: str
    kind: type[Any]
    values: Mapping[str, Any]
    """The keys of the config that decide it."""
    key: str
    """Equal if and only if the same is wanted."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of one call of `preload`."""

    task: str
    seconds: float
    megabytes: float
    """By how much the process has grown, in 10⁶ bytes."""


class PreloadError(Exception):
    """A `preload` raised an exception, which is the cause of this one."""

    def __init__(self, task: str) -> None:
        super().__init__(task)
        self.task = task


_held: Final[dict[type[Any], tuple[str, Any]]] = {}
"""What this process has loaded: class to the key and the value."""


def is_offered(plan: CodePlan) -> bool:
    """Return whether a class in the imported modules of a plan has a `preload`."""
    modules = [*plan.modules, *(["Tasks"] if plan.snapshot is not None and "Tasks" in sys.modules else [])]
    return any(offers(kind) for name in modules for kind in _classes_in(vars(sys.modules[name]), 2))


def _classes_in(names: Mapping[str, Any], depth: int) -> Iterator[type[Any]]:
    for found in list(names.values()):
        if isinstance(found, type):
            yield found
            if depth > 1 and found.__module__ in sys.modules:
                yield from _classes_in(vars(found), depth - 1)


def offers(kind: type[Any]) -> bool:
    """Return whether a class has a `preload`. A method of that name that needs an instance is its own."""
    if getattr(kind, "preload", None) is None:
        return False
    return isinstance(inspect.getattr_static(kind, "preload"), classmethod | staticmethod)


def keys_of(kind: type[Any]) -> tuple[str, ...]:
    """Return the keys of the config that decide what a class loads."""
    names = getattr(kind, "preload_keys", ())
    return (names,) if isinstance(names, str) else tuple(names)


def wanted(task: str, method: str, values: Mapping[str, Any]) -> Wanted | None:
    """Return what a task wants to be loaded; `None` if that is nothing.

    Args:
        task: its id.
        method: what names its class, which has been imported.
        values: its config.

    Raises:
        LookupError: there is no such class.
    """
    return _wanted(task, method, task_importer.resolve(method), values)


def _wanted(task: str, method: str, kind: type[Any], values: Mapping[str, Any]) -> Wanted | None:
    if not offers(kind):
        return None
    own = {name: values[name] for name in keys_of(kind) if name in values}
    stamps = {name: _stamp(value) for name, value in own.items() if isinstance(value, str)}
    return Wanted(task, method, kind, own, json.dumps([own, stamps], sort_keys=True, default=repr))


def _stamp(path: str) -> list[Any] | None:
    """Return what changes with the content of a file or folder; `None` if there is none of that name."""
    with suppress(OSError, ValueError):
        found = os.stat(path)
        stamps: list[Any] = [found.st_ino, found.st_size, found.st_mtime_ns]
        with suppress(NotADirectoryError), os.scandir(path) as entries:
            for number, entry in enumerate(entries):
                if number < _ENTRIES:
                    inside = entry.stat()
                    stamps.append([entry.name, inside.st_size, inside.st_mtime_ns])
        return [*stamps[:3], *sorted(stamps[3:])]
    return None


def is_occupied(all_wanted: Iterable[Wanted]) -> bool:
    """Return whether this process holds something else of one of the classes."""
    return any(w.key != _held.get(w.kind, (w.key,))[0] for w in all_wanted)


def is_held(want: Wanted) -> bool:
    """Return whether this process holds what is wanted."""
    return _held.get(want.kind, ("",))[0] == want.key


def load(want: Wanted) -> Loaded | None:
    """Load what is wanted, unless it is there; `None` if it is.

    Raises:
        PreloadError: `preload` has raised an exception.
    """
    if want.kind in _held:
        return None
    before, began = _resident(), time.monotonic()
    try:
        value = want.kind.preload(kept_values.copy_of(dict(want.values)))
    except BaseException as error:
        _explain(error, want)
        raise PreloadError(want.task) from error
    _held[want.kind] = want.key, value
    grown = max(_resident() - before, 0) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return Loaded(want.task, round(time.monotonic() - began, 6), round(grown, 1))


def value_of(task: str, kind: type[Any], values: Mapping[str, Any]) -> tuple[Any, Loaded | None]:
    """Return what a class has loaded for a config; load it here if the process was not forked with it.

    Raises:
        BaseException: whatever `preload` raises.
    """
    want = _wanted(task, kind.__name__, kind, values)
    if want is None:
        return None, None
    if is_occupied([want]):
        del _held[kind]
    try:
        loaded = load(want)
    except PreloadError as error:
        raise (error.__cause__ or error) from None
    return _held[kind][1], loaded


def _explain(error: BaseException, want: Wanted) -> None:
    if isinstance(error, KeyError) and error.args and error.args[0] not in want.values:
        names = ", ".join(keys_of(want.kind)) or "none"
        error.add_note(
            f"preload gets only the keys that {want.kind.__name__}.preload_keys names ({names}), "
            f"as far as the config has them"
        )


def _resident() -> int:
    """Return the pages of this process that are in memory; 0 if the system does not tell."""
    with suppress(OSError, ValueError, IndexError), open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1])
    return 0
