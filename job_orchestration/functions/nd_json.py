"""Read and write NDJSON: files with one JSON value a line.

NaN and infinities are ``{"$float": "nan"}`` and so on in the file, as in the files of the workspace.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from job_orchestration.config import json_floats
from job_orchestration.runs import kept_values
from job_orchestration.workspace import durable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["apply", "line_of", "read", "values_in", "write"]


def line_of(value: object) -> str:
    """Return a value as one line, without its end."""
    kept, _ = kept_values.kept(value, limit=None)
    return json_floats.text_of(kept, ensure_ascii=False)


def values_in(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Yield the values of a file, line by line; blank lines count for nothing.

    Raises:
        ValueError: a line is not JSON; the message says which.
        OSError: the file cannot be read.
    """
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield json_floats.value_of(line)
                except json.JSONDecodeError as error:
                    raise ValueError(f"{os.fspath(path)}, line {number}: {error}") from None


def read(path: str | os.PathLike[str]) -> list[Any]:
    """Return the values of a file, in order; the errors are those of `values_in`."""
    return list(values_in(path))


def write(
    values: object,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = True,
    func: Callable[[Any], Any] | None = None,
) -> int:
    """Write values into a file, one a line, and return their number.

    Args:
        values: a list or another iterable of values; a dict, a text or a number is one value.
        path: the file. Its folder is made if there is none.
        overwrite: whether the file is replaced, in one step, or appended to.
        func: called with each value; what it returns is written.

    Raises:
        OSError: the file cannot be written.
    """
    is_many = isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping)
    found: Any = values if is_many else [values]
    lines = [line_of(func(value) if func else value) for value in found]
    data = "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
    name = os.path.abspath(os.fspath(path))
    os.makedirs(os.path.dirname(name), exist_ok=True)
    (durable.replace if overwrite else durable.append_view)(name, data)
    return len(lines)


def apply(
    path: str | os.PathLike[str],
    func: Callable[[Any], Any],
    postprocess: Callable[[list[Any]], Any] | None = None,
) -> Any:
    """Return what a function makes of each value of a file, as a list.

    Args:
        path: the file.
        func: called with each value.
        postprocess: called with the list; what it returns is returned instead.
    """
    found = [func(value) for value in values_in(path)]
    return postprocess(found) if postprocess else found
