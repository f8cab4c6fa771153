"""The files of the snapshot that this process has imported.

A fork shares its memory with the fork server until it touches it, so a child does not look at the modules
that were imported before the fork: the fork server has listed their files already. `sys.modules` keeps its
order, so only the modules behind the last known one are new.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_tops: tuple[str, ...] = ()
"""The snapshot's folder, by all its names, with a slash at the end; empty without a snapshot."""
_listed: frozenset[str] = frozenset()
_pending: tuple[str, ...] = ()
"""The files that were listed before the first call of `new_ones`."""
_first: frozenset[str] = frozenset()
"""The files that were listed by `start`."""
_last = ""
"""The name of the last module that was looked at."""


def start(snapshot: str | None) -> None:
    """List what has been imported so far from a snapshot."""
    global _tops, _listed, _pending, _last, _first  # noqa: PLW0603  # one interpreter imports one snapshot
    found = dict.fromkeys((snapshot, os.path.realpath(snapshot))) if snapshot else ()
    _tops = tuple(f"{top.rstrip(os.sep)}{os.sep}" for top in found)
    _listed, _pending, _last = frozenset(), (), ""
    _pending = new_ones()
    _first = _listed


def first_ones() -> tuple[str, ...]:
    """Return the files that the first imports of this process took from its snapshot, sorted."""
    return tuple(sorted(_first))


def known_ones() -> tuple[str, ...]:
    """Return the files that `new_ones` has returned or will return first, sorted."""
    return tuple(sorted(_listed))


def new_ones() -> tuple[str, ...]:
    """Return the files that were imported since the last call, relative to the snapshot and sorted."""
    global _listed, _pending, _last  # noqa: PLW0603  # as above
    if not _tops:
        return ()
    earlier, _pending = _pending, ()
    names = _names_behind(_last)
    if not names:
        return earlier
    _last = names[0]
    found = sorted(set(_files(names)) - _listed)
    _listed |= frozenset(found)
    return (*earlier, *found)


def _names_behind(last: str) -> list[str]:
    """Return the names of the modules behind one, the newest first; of all if it is gone."""
    names: list[str] = []
    try:
        for name in reversed(sys.modules):
            if name == last:
                break
            names.append(name)
    except RuntimeError:  # a thread of the task is importing
        return list(sys.modules)[::-1]
    return names


def _files(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        try:  # without running code of the module, such as that of a lazy import
            path = object.__getattribute__(sys.modules[name], "__dict__").get("__file__")
        except (KeyError, AttributeError):
            continue
        for top in _tops if isinstance(path, str) else ():
            if path.startswith(top):
                yield path[len(top) :]
