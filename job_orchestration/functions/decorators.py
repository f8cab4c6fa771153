"""Decorators for functions that are called once for each element of a list of arguments.

::

    @as_json
    @attempt
    @expand_args
    def do_work(genes, cutoff=0.5): ...

A decorated function keeps its name, docstring and signature. The marks that `expand_args` and `as_json` leave
on it say how a mapped task calls it and reads what it returns.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from job_orchestration.code.function_tasks import ERROR, is_error
from job_orchestration.config import json_floats
from job_orchestration.runs import kept_values

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

__all__ = ["as_json", "attempt", "expand_args", "is_error", "json_text"]


def expand_args(function: F) -> F:
    """Have a function called with a list of arguments, a dict of keyword arguments, or both.

    ``f([1, 2], {"c": 3})`` calls ``f(1, 2, c=3)``, and ``f({"c": 3})`` calls ``f(c=3)``. A value that is
    neither is the only argument.
    """

    @functools.wraps(function)
    def expanded(args: object = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        own = dict(kwargs or {})
        if isinstance(args, Mapping):
            return function(**{**args, **own})
        if isinstance(args, Iterable) and not isinstance(args, str | bytes):
            return function(*args, **own)
        return function(args, **own)

    expanded.expands_args = True  # type: ignore[attr-defined]  # a mark for its callers
    return expanded  # type: ignore[return-value]  # called otherwise, by intention


def attempt(function: F) -> F:
    """Have a function return an exception instead of raising it.

    It returns a dict then: ``ERROR`` (the message, or the name of an exception without one), ``TYPE``,
    ``TRACEBACK``, and the ``ARGS`` and ``KWARGS`` of the call. `KeyboardInterrupt` and `SystemExit` pass.
    """

    @functools.wraps(function)
    def attempted(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # that is what it is for
            return {
                ERROR: str(error) or type(error).__name__,
                "TYPE": type(error).__name__,
                "TRACEBACK": traceback.format_exc(),
                "ARGS": list(args),
                "KWARGS": kwargs,
            }

    return attempted  # type: ignore[return-value]  # of the same signature


def as_json(function: F) -> F:
    """Have a function return its result as JSON; a text stays as it is, and None becomes ``{}``.

    With ``return_as_dict=True`` it returns the result itself. Arrays, dates, paths and the like become the
    JSON that a result of a task becomes.
    """

    @functools.wraps(function)
    def converted(*args: Any, return_as_dict: bool = False, **kwargs: Any) -> Any:
        value = function(*args, **kwargs)
        if return_as_dict:
            return value
        return value if isinstance(value, str) else json_text(value)

    converted.returns_json = True  # type: ignore[attr-defined]  # a mark for the readers of its result
    return converted  # type: ignore[return-value]  # of the same signature


def json_text(value: object) -> str:
    """Return a result as JSON."""
    if value is None:
        return "{}"
    kept, _ = kept_values.kept(value, limit=None)
    return json_floats.text_of(kept, ensure_ascii=False)
