"""Keep the edges of a network as arrays in the workspace's cache, so that its text is parsed once.

An entry holds, for both columns, the distinct nodes and for each row the place of its node, and the weights.
Only whole numbers as nodes and numbers as weights are kept, as GenePlexus's data have them: what comes from
an entry is equal to what was parsed in every type and digit.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from job_orchestration.geneplexus import data
from job_orchestration.workspace import data_cache, layout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

VERSION: Final = 1
_NODES, _CODES, _WEIGHTS = np.dtype("<i8"), np.dtype("<i4"), np.dtype("<f8")

Array = np.ndarray[Any, Any]
Columns = tuple[tuple[tuple[Array, Array], tuple[Array, Array]], Array | None]
"""Of both columns the nodes and the codes; and the weights, if there are any."""


def kept(stamp: data.Stamp, columns: Sequence[str], parse: Callable[[], Columns]) -> Columns:
    """Return the edges of a file from the cache; parse it, and keep them, if they are not there.

    Args:
        stamp: of the file.
        columns: the names of its columns.
        parse: gives the edges.
    """
    folder = _folder()
    if folder is None:
        return parse()
    parsed: list[Columns] = []

    def make() -> data_cache.Made:
        parsed.append(parse())
        return {}, _parts(parsed[0], stamp)

    entry = None
    with suppress(_CannotBeKeptError, OSError):
        name = data_cache.name_of(f"edges-{len(columns)}", VERSION, data.sha256(stamp))
        entry = data_cache.found_or_made(folder, name, make)
    if entry is not None:
        return _columns(entry)
    return parsed[0] if parsed else parse()


class _CannotBeKeptError(Exception):
    """The edges are of other types, or the file has changed while it was read."""


def _folder() -> str | None:
    """Return the cache of the workspace that this process works for; `None` if there is none."""
    root = os.environ.get(layout.VARIABLE)
    if not root:
        return None
    try:
        return layout.locate(root).cache
    except Exception:  # noqa: BLE001  # a cache is never missed
        return None


def _parts(edges: Columns, stamp: data.Stamp) -> list[memoryview]:
    (first, second), weights = edges
    arrays = [(first[0], _NODES), (first[1], _CODES), (second[0], _NODES), (second[1], _CODES)]
    arrays += [] if weights is None else [(weights, _WEIGHTS)]
    if (
        any(getattr(array, "dtype", None) != kind for array, kind in arrays)
        or data.stamp(Path(stamp[0])) != stamp
    ):
        raise _CannotBeKeptError
    return [memoryview(np.ascontiguousarray(array)).cast("B") for array, _ in arrays]


def _columns(entry: data_cache.Entry) -> Columns:
    kinds = (_NODES, _CODES, _NODES, _CODES, _WEIGHTS)
    arrays = [np.frombuffer(part, kind) for part, kind in zip(entry.parts, kinds, strict=False)]
    weights = arrays[4] if len(arrays) > len(kinds) - 1 else None
    return ((arrays[0], arrays[1]), (arrays[2], arrays[3])), weights
