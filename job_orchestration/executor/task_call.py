"""Call a task's `run`, and understand how it ended as a shell or an event loop would."""

from __future__ import annotations

import inspect
from collections.abc import Coroutine
from types import AsyncGeneratorType, FunctionType, GeneratorType, NoneType
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.diagnostics.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Callable

YIELDS: Final = (
    "run() is a generator, so nothing in it was executed. Return one value instead of `yield`, "
    "or iterate inside of run()"
)


_PLAIN: Final = frozenset({NoneType, bool, int, float, str, list, tuple, dict})
"""Types of which no value is a coroutine or a generator: asking an abstract class costs a fork 17 pages."""


def yields(kind: type[Any]) -> bool:
    """Whether the `run` of a class is a generator, of either sort."""
    function = kind.run
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def fault_of(kind: type[Any]) -> str | None:
    """Return why a class cannot be run as a task, with what to do; `None` if nothing speaks against it."""
    if yields(kind):
        return YIELDS
    if missing := sorted(getattr(kind, "__abstractmethods__", ())):
        return f"the class {kind.__name__} has no method {missing[0]}. Write `def {missing[0]}(self):`"
    function = inspect.getattr_static(kind, "run", None)
    if isinstance(function, FunctionType):
        try:
            inspect.signature(function, follow_wrapped=False).bind(None)
        except TypeError:
            return "run() needs arguments, and gets none but self. Read parameters from self.config"
        except ValueError:  # a function without a signature
            return None
    return None


def result_of(run: Callable[[], Any]) -> Any:
    """Call a function and return its result; of a coroutine what it comes to.

    Raises:
        PermanentError: it returned a generator.
        BaseException: whatever it raises.
    """
    value = run()
    if type(value) in _PLAIN:
        return value
    if isinstance(value, GeneratorType | AsyncGeneratorType):
        raise PermanentError(YIELDS)
    return awaited(value) if isinstance(value, Coroutine) else value


def awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine."""
    import asyncio

    async def wait() -> Any:
        return await coroutine

    return asyncio.run(wait())


def is_failure(exit_: SystemExit) -> bool:
    """Whether a shell would see a program that ends by this exception as failed."""
    if exit_.code is None:
        return False
    return not isinstance(exit_.code, int) or exit_.code & 0xFF != 0
