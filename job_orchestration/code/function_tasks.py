"""A plain function as a task: ``method: package.module:function``, with ``args`` and ``kwargs`` in its entry.

In a mapped task each element is the arguments of one call: a list its positional arguments, a mapping its
keyword arguments, anything else the only argument; they follow those of the entry. A function decorated
with `expand_args` gets the element as it is.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

from job_orchestration.config import elements, json_floats

if TYPE_CHECKING:
    from collections.abc import Callable

ERROR: Final = "ERROR"
"""The key, and the beginning of a text, by which a returned value says that it is an error."""


class ReturnedError(Exception):  # its name is shown, and says what happened
    """A function has returned an error instead of raising it."""


def is_error(value: object) -> bool:
    """Return whether a returned value says that it is an error.

    That is a text that begins with ``ERROR``, or a dict with a key ``ERROR`` that is not false: true, or a
    message, also an empty one.
    """
    if isinstance(value, str):
        return value.startswith(ERROR)
    return isinstance(value, Mapping) and value.get(ERROR) not in (None, False)


def arguments_of(function: Callable[..., Any], config: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments with which a function is called for a config."""
    args, kwargs = list(config.get("args") or ()), dict(config.get("kwargs") or {})
    if elements.INDEX not in config:
        return args, kwargs
    element = config[elements.ELEMENT]
    if getattr(function, "expands_args", False):
        return [*args, element], kwargs
    if isinstance(element, Mapping):
        return args, {**kwargs, **element}
    return [*args, *element] if isinstance(element, list) else [*args, element], kwargs


class FunctionTask:
    """A task that calls a function; `class_of` derives one for each function."""

    function: ClassVar[Callable[..., Any]]
    is_function: ClassVar[bool] = True

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    def validate(self) -> list[str]:
        """Return why the function cannot be called like this."""
        function = type(self).function
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            return ["method: the function is a generator, so calling it does nothing. Return one value"]
        for key, kind, what in (("args", list, "a list"), ("kwargs", Mapping, "a mapping")):
            if not isinstance(self.config.get(key) or kind_of_nothing(kind), kind):
                return [f"{key}: these are the arguments of the function, and have to be {what}"]
        args, kwargs = arguments_of(function, self.config)
        try:
            signature = inspect.signature(
                function, follow_wrapped=not getattr(function, "expands_args", False)
            )
        except (TypeError, ValueError):  # a function of C has none
            return []
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            return [f"{type(self).__name__}{signature} cannot be called with these arguments: {error}"]
        return []

    def run(self) -> Any:
        """Call the function. A job that it returns, or each job of a list, is run here.

        Raises:
            ReturnedError: it has returned an error.
            BaseException: whatever it raises.
        """
        function = type(self).function
        value = result_of_call(function, *arguments_of(function, self.config))
        jobs = value if isinstance(value, list) else [value]
        if jobs and all(getattr(job, "is_job", False) for job in jobs):
            found = [job.run_here() for job in jobs]
            if not any(one.results for one in found) and (errors := [e for one in found for e in one.errors]):
                raise ReturnedError(str(errors[0][ERROR]))
            kept = [{"results": one.results, "errors": one.errors} for one in found]
            return kept if isinstance(value, list) else kept[0]
        if is_error(value):
            raise ReturnedError(value if isinstance(value, str) else str(value[ERROR]))
        return value


def result_of_call(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call a function; if `as_json` has made JSON of its result, return what that says."""
    value = function(*args, **kwargs)
    if getattr(function, "returns_json", False) and isinstance(value, str):
        with suppress(json.JSONDecodeError):
            return json_floats.value_of(value)
    return value


def kind_of_nothing(kind: type[Any]) -> Any:
    """Return an empty value of a kind of arguments."""
    return [] if kind is list else {}


@functools.cache
def class_of(function: Callable[..., Any], name: str) -> type[FunctionTask]:
    """Return the task of a function."""
    return type(name, (FunctionTask,), {"function": staticmethod(function), "__doc__": function.__doc__})
