"""Write what open files still hold, and call the finalizers of objects, as the interpreter does at its end.

The interpreter itself would visit every object of every library, which copies all memory that a fork shares
with the fork server: a tenth of a second. Here only objects that were made since the fork are looked at;
`gc.freeze` sets those of the imports apart. Files of the imports are written but not closed, because other
forks share them, and objects of the user's own classes have their `__del__` called.

A child without any open file pays for one listing of its few own objects. The fork server learns their types,
because a look that changes nothing in shared memory copies nothing.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import site
import stat
import sys
import threading
import types
import weakref
from contextlib import suppress
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PACKAGE: Final = __name__.partition(".")[0]
_LOST: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
"""Errors by which a file lacks what a task wrote; others are those of a file that is closed already, say."""
_IOBASE: Final = io.FileIO.__mro__[-2]
"""The class of all files in C; an `isinstance` of `io.IOBase` would ask the object itself."""
_STANDARD: Final = 2
"""The last descriptor of the standard streams."""
_BUFFERED: Final = (io.BufferedWriter, io.BufferedRandom)


class _Role(IntEnum):
    """What the end of the interpreter means to an object of some type."""

    NONE = 0
    """Nothing, and it can hold nothing that it means something to."""
    HOLDER = 1
    """Nothing, but a library may free something with it."""
    GENERATOR = 2
    FINALIZER = 3
    """It has a `__del__`."""
    FILE = 4


_roles: Final[dict[type, _Role]] = {types.GeneratorType: _Role.GENERATOR}
_FREES_NOTHING: Final = frozenset(
    {"builtins", "_thread", "weakref", "collections", "functools", "_contextvars", _PACKAGE}
)
"""Modules whose own types free nothing but memory."""
_files_of_imports: Final[list[weakref.ref[Any]]] = []
_objects_of_imports: Final[list[weakref.ref[Any]]] = []
_globals: Final[list[dict[str, Any]]] = []
"""The namespaces of the user's own modules."""


def note_imports() -> list[Any]:
    """Note the files and objects that the imports made, and write what those files hold.

    Returns:
        The temporary files among them, which are deleted when they are finalized.
    """
    own = _own_modules()
    _globals.extend(vars(module) for module in own.values())
    temporary = getattr(sys.modules.get("tempfile"), "_TemporaryFileCloser", None)
    found = []
    for thing in _with_role(gc.get_objects()):
        kind = type(thing)
        if _roles[kind] is _Role.FILE and kind is not io.FileIO:
            with suppress(Exception):
                if thing.writable() and thing.fileno() > _STANDARD:
                    _flush(thing)
                    _files_of_imports.append(weakref.ref(thing))
        elif kind is temporary:
            found.append(thing)
        elif _roles[kind] is _Role.FINALIZER and kind.__module__ in own:
            with suppress(TypeError):  # it has no place for a reference
                _objects_of_imports.append(weakref.ref(thing))
    return found


def _own_modules() -> dict[str, types.ModuleType]:
    """The modules that are neither of Python, nor installed, nor ours."""
    foreign = [os.path.dirname(os.__file__), *site.getsitepackages(), site.getusersitepackages()]
    tops = tuple(f"{folder}{os.sep}" for folder in foreign)
    return {
        name: module
        for name, module in list(sys.modules.items())
        if isinstance(path := getattr(module, "__file__", None), str)
        and not path.startswith(tops)
        and name.partition(".")[0] != _PACKAGE
    }


def know_types(more: Iterable[type] = ()) -> None:
    """Learn the types of the objects that are there, and more types, so that forks need not."""
    for kind in {*map(type, gc.get_objects()), *more}:
        _role(kind)


def count() -> int | None:
    """How many descriptors this process has open; `None` if files may need to be written in any case."""
    if _files_of_imports:
        return None
    try:
        return os.stat("/proc/self/fd").st_size or None  # 0 before Linux 6.2
    except OSError:
        return None


def is_open(descriptor: int) -> bool:
    """Whether a descriptor of this process is open."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def write(store: str) -> None:
    """Write what regular files still hold, and close what is packed in the folder of a store.

    A packed file (gzip, zip) is complete only when it is closed; outside the store that may wait.

    Raises:
        OSError: if the disk is full or broken.
    """
    for thing in _in_order(_with_role(gc.get_objects())):
        kind = type(thing)
        try:
            if (kind is io.TextIOWrapper and type(thing.buffer) in _BUFFERED) or kind in _BUFFERED:
                if not thing.closed and stat.S_ISREG(os.fstat(thing.fileno()).st_mode):
                    thing.flush()
            elif _roles[kind] >= _Role.FINALIZER and hasattr(kind, "close") and _lies_in(thing, store):
                thing.close()
        except OSError as error:
            if error.errno in _LOST:
                raise
        except Exception:  # noqa: BLE001, S110  # closed, detached, or with code of its own that fails
            pass
    for file in filter(None, (reference() for reference in _files_of_imports)):
        _flush(file)


def _is_standard(file: Any) -> bool:
    return file is sys.stdout or file is sys.stderr


def _lies_in(thing: Any, folder: str) -> bool:
    """Whether an object writes into a file below a folder."""
    file = thing if hasattr(thing, "fileno") else getattr(thing, "fp", None)
    if file is None or file.fileno() <= _STANDARD or not os.path.isdir(folder):
        return False
    real = os.path.realpath(f"/proc/self/fd/{file.fileno()}")
    return real.startswith(os.path.realpath(folder) + os.sep)


def finalize() -> bool:
    """Free what the globals of the user's modules hold, then finalize what is left and close all files.

    Returns:
        Whether there was anything to finalize.
    """
    if holds_nothing():
        return False
    objects = gc.get_objects()
    threading.excepthook = lambda _: None  # threads that still run find their globals gone
    made = set(map(id, objects))
    objects.clear()
    _drop_globals(made)
    _guarded(gc.collect)
    left = _in_order(_with_role(gc.get_objects()))
    kept = [*left]  # none is freed below, or its finalizer would be called again
    for thing in left:
        match _roles[type(thing)]:
            case _Role.GENERATOR:
                _guarded(thing.close)
            case _Role.FINALIZER:
                _guarded(type(thing).__del__, thing)
            case _Role.FILE if not _is_standard(thing):
                _guarded(thing.close)
    for reference in _objects_of_imports:
        if (thing := reference()) is not None:
            kept.append(thing)
            _guarded(type(thing).__del__, thing)
    for reference in _files_of_imports:
        if (thing := reference()) is not None:
            _flush(thing)
    return True


def holds_nothing() -> bool:
    """Return whether this process has nothing to finalize."""
    return not (_objects_of_imports or _files_of_imports or _has_role(set(map(type, gc.get_objects()))))


def _has_role(kinds: set[type]) -> bool:
    """Whether the end of the interpreter means something to an object of these types, or of what it holds."""
    roles = set(map(_roles.get, kinds))
    return any(map(_role, kinds)) if None in roles else any(roles)


def _drop_globals(made: set[int]) -> None:
    """Set those globals of the user's modules to `None` that hold an object of this process."""
    for names in _globals:
        for name in [
            name
            for name, value in names.items()
            if id(value) in made and not isinstance(value, type | types.FunctionType | types.ModuleType)
        ]:
            with suppress(Exception):
                names[name] = None


def _guarded(function: Callable[..., object], *arguments: object) -> None:
    try:
        function(*arguments)
    except BaseException as error:  # noqa: BLE001  # no finalizer may keep the others from being called
        with suppress(BaseException):
            sys.stderr.write(f"Exception ignored at the end: {type(error).__name__}: {error}\n")


def _flush(file: Any) -> None:
    with suppress(Exception):
        if not file.closed:
            file.flush()


def _with_role(objects: Iterable[Any]) -> list[Any]:
    """The objects to which the end of the interpreter means something."""
    objects = list(objects)
    kinds = {kind for kind in set(map(type, objects)) if _role(kind) > _Role.HOLDER}
    return [thing for thing in objects if type(thing) in kinds] if kinds else []


def _in_order(things: list[Any]) -> list[Any]:
    """Sort objects so that one that writes into another comes first."""
    kinds: dict[type, int] = {io.TextIOWrapper: 3, io.BufferedWriter: 5, io.BufferedRandom: 5, io.FileIO: 6}
    return sorted(
        things, key=lambda thing: kinds.get(type(thing), 4 if _roles[type(thing)] is _Role.FILE else 0)
    )


def _role(kind: type) -> _Role:
    role = _roles.get(kind)
    if role is None:
        role = _roles[kind] = _find_role(kind)
    return role


def _find_role(kind: type) -> _Role:
    bases = type.mro(kind) if type(kind) is type else kind.__mro__
    if _IOBASE in bases:
        return _Role.FILE
    finalizer = next((vars(base)["__del__"] for base in bases if "__del__" in vars(base)), None)
    if isinstance(finalizer, types.FunctionType):
        return _Role.FINALIZER
    module = kind.__module__
    frees_nothing = isinstance(module, str) and module.partition(".")[0] in _FREES_NOTHING
    return _Role.NONE if frees_nothing else _Role.HOLDER
