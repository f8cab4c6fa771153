"""Observe what the code of tasks reads beside its imports: files, names in folders, modules it looks for.

Only interpreters of runs with ``reuse: true`` are observed, by an audit hook, which cannot be removed again.
It sees what Python opens itself. Programs that a task starts, and libraries that open files in C, read
unseen; so it is noted when a program is started.
"""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from job_orchestration.code import provenance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

Stamp: TypeAlias = "tuple[int, int, int]"
"""The size of a file in bytes, and when its content and its inode were last changed, in nanoseconds."""
MOST: Final = 50_000
"""Files that are noted; of more it cannot be said what they were."""

_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_GENEPLEXUS: Final = os.path.join(_PACKAGE, "geneplexus") + os.sep
"""Tasks like those of anybody."""
_LIBRARY: Final = ("<frozen ", os.path.dirname(os.__file__) + os.sep)
_PACKAGES: Final = tuple(
    f"{os.path.dirname(os.__file__)}{os.sep}{name}-packages" for name in ("site", "dist")
)
_IMPORTING: Final = "<frozen importlib"
_MODULES: Final = (".py", ".pyc", ".so", ".pyd")
_PROGRAMS: Final = (
    *("subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"),
    "pty.spawn",
)


@dataclass(slots=True)
class Observed:
    """What was seen so far in this process and those that it was forked from. Paths are absolute."""

    top: str = ""
    """The folder in which the tasks are imported, as far up as it shows the commit."""
    staging: str = os.devnull
    """The folder below which the task's own store lies; what happens there is not noted."""
    opened: dict[str, Stamp | None] = field(default_factory=dict)
    """Files opened to be read, with their stamps at that time; `None` if there was none."""
    listed: dict[str, None] = field(default_factory=dict)
    """Folders whose names were read."""
    written: dict[str, None] = field(default_factory=dict)
    """Files opened to be written."""
    modules: dict[str, None] = field(default_factory=dict)
    """Modules that were looked for and were not imported before."""
    has_programs: bool = False
    """Whether another process was started, which may read anything."""
    has_doubts: bool = False
    """Whether something was seen that could not be understood."""


seen: Observed | None = None
"""`None` in an interpreter that is not observed."""
_is_paused = False


def start(top: str) -> None:
    """Observe this interpreter and its forks from now on.

    Args:
        top: the folder in which the tasks are imported, as far up as it shows the commit.
    """
    global seen  # noqa: PLW0603  # a hook is for the whole interpreter
    if seen is None:
        seen = Observed(top)
        sys.addaudithook(_hook)


def imports_are_done() -> None:
    """Note what is asked for each run, and forget the modules that the imports looked for."""
    assert seen is not None, "it was started"
    with paused():
        provenance.environment()  # takes a while, and is inherited by forks
    seen.modules.clear()


class paused:  # noqa: N801  # a context, used like a function
    """Observe nothing of what is done inside: it is not the task's."""

    def __enter__(self) -> None:
        global _is_paused  # noqa: PLW0603  # as above
        _is_paused = True

    def __exit__(self, *_: object) -> None:
        global _is_paused  # noqa: PLW0603  # as above
        _is_paused = False


def stamp_of(path: str) -> Stamp | None:
    """Return the stamp of a file, after links; `None` if there is no plain file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return _stamp(status) if stat.S_ISREG(status.st_mode) else None


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def loaded_files() -> Iterator[str]:
    """Yield the files of the modules of this interpreter, without those of this package."""
    for module in list(sys.modules.values()):
        try:  # without running code of the module, such as that of a lazy import
            path = object.__getattribute__(module, "__dict__").get("__file__")
        except AttributeError:
            continue
        if isinstance(path, str) and not path.startswith(_PACKAGE):
            yield path


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    note = _NOTES.get(event)
    if note is None or seen is None or _is_paused:
        return
    try:
        note(seen, arguments)
    except Exception:  # noqa: BLE001  # an error here would be one of the task
        seen.has_doubts = True


def _caller() -> tuple[str, bool]:
    """Return the file of the code that opens or lists something, and whether this package asked for that.

    The frame above hook and note is that of the code; of the standard library (a walk through folders, say)
    the nearest one outside is looked at, too.
    """
    frame: FrameType | None = sys._getframe(3)  # noqa: SLF001  # there is no other way
    assert frame is not None, "something raised the event"
    first = name = frame.f_code.co_filename
    while name.startswith(_LIBRARY) and not name.startswith(_PACKAGES) and frame.f_back is not None:
        frame = frame.f_back
        name = frame.f_code.co_filename
    return first, name.startswith(_PACKAGE) and not name.startswith(_GENEPLEXUS)


def _path_of(value: object) -> str | None:
    """Return the absolute path that a call got; `None` for a descriptor."""
    if isinstance(value, int):
        return None
    path = os.fsdecode(os.fspath(value))  # type: ignore[call-overload]  # the call has accepted it
    return os.path.normpath(path if os.path.isabs(path) else os.path.join(os.getcwd(), path))


def _open(found: Observed, arguments: tuple[Any, ...]) -> None:
    value, mode, flags = arguments
    path = _path_of(value)
    caller, is_ours = _caller()
    if path is None or is_ours or path.startswith(found.staging):
        return
    if len(found.opened) + len(found.written) >= MOST:
        found.has_doubts = True
        return
    if caller.startswith(_IMPORTING) and path.endswith(_MODULES):
        return  # `imported_files` knows them
    if (mode is not None and not mode.startswith("r")) or flags & (os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
        found.written[path] = None
        return
    if flags & os.O_RDWR or (mode is not None and "+" in mode):
        found.written[path] = None
    if path in found.opened or path in found.written:
        return
    try:
        status = os.stat(path)
    except OSError:
        found.opened[path] = None
        return
    if stat.S_ISREG(status.st_mode):
        found.opened[path] = _stamp(status)


def _list(found: Observed, arguments: tuple[Any, ...]) -> None:
    caller, is_ours = _caller()
    if is_ours or caller.startswith(_IMPORTING):
        return
    path = _path_of("." if arguments[0] is None else arguments[0])
    if path is not None:
        found.listed[path] = None


def _import(found: Observed, arguments: tuple[Any, ...]) -> None:
    found.modules[arguments[0]] = None


def _program(found: Observed, _: tuple[Any, ...]) -> None:
    if not _caller()[1]:
        found.has_programs = True


_NOTES: Final[dict[str, Callable[[Observed, tuple[Any, ...]], None]]] = {
    "open": _open,
    "os.listdir": _list,
    "os.scandir": _list,
    "import": _import,
    **dict.fromkeys(_PROGRAMS, _program),
}
