"""Put back what a task set in well-known libraries for its whole process.

A library is looked at when the fork server has imported the tasks, or as soon as a task imports it. What
a library does not expect never fails a task: then it stays as it is.
"""

from __future__ import annotations

import copy
import os
import sys
import warnings
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from job_orchestration.executor.import_hooks import OnImport

if TYPE_CHECKING:
    from collections.abc import Callable

    Read: TypeAlias = Callable[[], object]
    """Returns a copy of a library's state."""
    PutBack: TypeAlias = Callable[[], object]

added_filters: Final[list[Any]] = []
"""Filters of `warnings` that libraries added when a task imported them, which happens once in a process."""
added_environment: Final[dict[bytes, bytes]] = {}
"""Variables that they set then."""


class _Library(NamedTuple):
    """A library that was imported."""

    read: Read
    kept: object
    """What `read` returned then."""
    put_back: PutBack

    def is_unchanged(self) -> bool:
        """Whether the library's state is what it was."""
        try:
            return bool(self.read() == self.kept)
        except Exception:  # noqa: BLE001  # of the library
            return False


_libraries: Final[dict[str, _Library]] = {}


def note() -> None:
    """Look at the libraries that were imported, and at the others when they are."""
    names = (*_LIBRARIES, _START_METHOD_OF)
    for name in names:
        if name in sys.modules:
            _note(name, sys.modules[name])
    later = {name: partial(_execute_and_note, name) for name in names if name not in sys.modules}
    sys.meta_path.insert(0, OnImport(later))


def put_back() -> None:
    """Put all of them back as they were."""
    for library in list(_libraries.values()):
        if not library.is_unchanged():
            with warnings.catch_warnings(), suppress(Exception):
                warnings.simplefilter("ignore")
                library.put_back()
    context = getattr(sys.modules.get(_START_METHOD_OF), "_default_context", None)
    if context is not None and context._actual_context is not _start_method:  # noqa: SLF001
        context._actual_context = _start_method  # noqa: SLF001  # a method can be set once only


def _execute_and_note(name: str, module: Any, execute: Callable[[], object]) -> None:
    filters, environment = warnings.filters[:], dict(os.environb)
    execute()
    added_filters[:0] = [f for f in warnings.filters if f not in filters and f not in added_filters]
    added_environment.update({n: v for n, v in os.environb.items() if environment.get(n) != v})
    _note(name, module)


def _note(name: str, module: Any) -> None:
    global _start_method  # noqa: PLW0603  # it has no name of its own before it is chosen
    if name == _START_METHOD_OF:
        _start_method = module._default_context._actual_context  # noqa: SLF001
        return
    with suppress(Exception):
        read, put_back = _LIBRARIES[name](module)
        _libraries[name] = _Library(read, read(), put_back)


_START_METHOD_OF: Final = "multiprocessing.context"
_start_method: Any = None
"""The context of `multiprocessing` that the imports chose."""


def _matplotlib(matplotlib: Any) -> tuple[Read, PutBack]:
    kept = _copies(matplotlib.rcParams)
    pyplot = sys.modules.get("matplotlib.pyplot")
    figures = set(pyplot.get_fignums()) if pyplot is not None else set()
    backend = getattr(pyplot, "_backend_mod", None)

    def read() -> object:
        pyplot: Any = sys.modules.get("matplotlib.pyplot")
        shown = (set(), None) if pyplot is None else (set(pyplot.get_fignums()), pyplot._backend_mod)  # noqa: SLF001
        return _copies(matplotlib.rcParams), *shown

    def put_back() -> None:
        pyplot: Any = sys.modules.get("matplotlib.pyplot")
        for number in pyplot.get_fignums() if pyplot is not None else ():
            if number not in figures:
                pyplot.close(number)
        dict.update(matplotlib.rcParams, _copies(kept))  # without the checks, which warn of old names
        if pyplot is not None and pyplot._backend_mod is not backend:  # noqa: SLF001
            pyplot._backend_mod = None  # noqa: SLF001  # it is chosen anew when it is needed

    return read, put_back


def _copies(values: dict[str, Any]) -> dict[str, Any]:
    """Copy a mapping, with the lists and mappings in it."""
    return {
        k: _copies(v) if type(v) is dict else v.copy() if isinstance(v, list) else v
        for k, v in dict.items(values)
    }


def _numpy(numpy: Any) -> tuple[Read, PutBack]:
    errors, call, options = numpy.geterr(), numpy.geterrcall(), numpy.get_printoptions()

    def put_back() -> None:
        numpy.seterr(**errors)
        numpy.seterrcall(call)
        numpy.set_printoptions(**options)

    return lambda: (numpy.geterr(), numpy.geterrcall(), numpy.get_printoptions()), put_back


def _pandas(pandas: Any) -> tuple[Read, PutBack]:
    config = sys.modules["pandas._config.config"]
    kept = copy.deepcopy(config._global_config)  # noqa: SLF001

    def put_back() -> None:
        _set_options(pandas, kept, config._global_config)  # noqa: SLF001

    return lambda: _copies(config._global_config), put_back  # noqa: SLF001


def _set_options(pandas: Any, kept: dict[str, Any], now: dict[str, Any], above: str = "") -> None:
    for name, value in kept.items():
        if isinstance(value, dict) and isinstance(now.get(name), dict):
            _set_options(pandas, value, now[name], f"{above}{name}.")
        elif now.get(name) != value:
            pandas.set_option(f"{above}{name}", value)


def _sklearn(sklearn: Any) -> tuple[Read, PutBack]:
    return sklearn.get_config, partial(sklearn.set_config, **sklearn.get_config())


def _torch(torch: Any) -> tuple[Read, PutBack]:
    def read() -> tuple[Any, ...]:
        return (
            *(torch.get_default_dtype(), torch.is_grad_enabled(), _device(torch)),
            *(torch.get_float32_matmul_precision(), torch.get_deterministic_debug_mode()),
            (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        )

    dtype, grad, device, precise, deterministic, cudnn = read()

    def put_back() -> None:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if _device(torch) != device:
            torch.set_default_device(device)
        torch.set_float32_matmul_precision(precise)
        torch.set_deterministic_debug_mode(deterministic)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn

    return read, put_back


def _device(torch: Any) -> Any:
    """The default device that was set; `None` if none was."""
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)  # noqa: SLF001
    return getattr(context, "device", None)


def _socket(socket: Any) -> tuple[Read, PutBack]:
    return socket.getdefaulttimeout, partial(socket.setdefaulttimeout, socket.getdefaulttimeout())


def _asyncio(asyncio: Any) -> tuple[Read, PutBack]:
    """The event loop policy with its loop: after `asyncio.run` a later `get_event_loop` would find none."""
    events = asyncio.events

    def read() -> tuple[Any, Any, Any]:
        policy = events._event_loop_policy  # noqa: SLF001  # to ask for it would make one
        local = getattr(policy, "_local", None)
        return policy, getattr(local, "_loop", None), getattr(local, "_set_called", None)

    policy, loop, was_set = read()

    def put_back() -> None:
        events._event_loop_policy = policy  # noqa: SLF001
        if policy is not None:
            policy._local._loop, policy._local._set_called = loop, was_set  # noqa: SLF001

    return read, put_back


def _csv(csv: Any) -> tuple[Read, PutBack]:
    def read() -> tuple[Any, ...]:
        return csv.field_size_limit(), {name: csv.get_dialect(name) for name in csv.list_dialects()}

    limit, dialects = read()

    def put_back() -> None:
        csv.field_size_limit(limit)
        for name in csv.list_dialects():
            csv.unregister_dialect(name)
        for name, dialect in dialects.items():
            csv.register_dialect(name, dialect)

    return read, put_back


def _attribute(name: str, module: Any) -> tuple[Read, PutBack]:
    return partial(getattr, module, name), partial(setattr, module, name, getattr(module, name))


_LIBRARIES: Final[dict[str, Callable[[Any], tuple[Read, PutBack]]]] = {
    "matplotlib": _matplotlib,
    "numpy": _numpy,
    "pandas": _pandas,
    "sklearn": _sklearn,
    "torch": _torch,
    "asyncio": _asyncio,
    "csv": _csv,
    "ssl": partial(_attribute, "_create_default_https_context"),
    "tempfile": partial(_attribute, "tempdir"),
    "urllib.request": partial(_attribute, "_opener"),
    "socket": _socket,
}
