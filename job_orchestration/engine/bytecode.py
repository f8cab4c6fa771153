"""Bytecode of pinned code: kept apart, since many runs share a snapshot and nobody may write into it.

Only the snapshot's own modules are cached there. `sys.pycache_prefix` would move the cache of everything
that the tasks import, and each new workspace would compile the standard library and all of NumPy again.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from threading import RLock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import CodeType

_ONE_AT_A_TIME: Final = RLock()


def keep_apart(folder: str, cache: str) -> None:
    """Have the bytecode of a folder's modules kept in a cache, and that of all others where it always is.

    Programs that tasks start write none at all: they too would write it beside what they import.

    Args:
        folder: an absolute path.
        cache: a folder that need not be there.
    """

    class Loader(SourceFileLoader):
        def get_code(self, fullname: str) -> CodeType | None:
            with _ONE_AT_A_TIME:  # tasks may import in threads
                before = sys.pycache_prefix, sys.dont_write_bytecode
                sys.pycache_prefix, sys.dont_write_bytecode = cache, False
                try:
                    return super().get_code(fullname)
                finally:
                    sys.pycache_prefix, sys.dont_write_bytecode = before

    tops = tuple(f"{top.rstrip(os.sep)}{os.sep}" for top in (folder, os.path.realpath(folder)))

    def is_below(path: str) -> bool:
        return f"{os.path.abspath(path)}{os.sep}".startswith(tops)

    def finder(path: str) -> FileFinder:
        if not is_below(path) or not os.path.isdir(path):  # an archive is for the finder of archives
            raise ImportError(f"{path} is no folder below {folder}")
        return FileFinder(
            path,
            (ExtensionFileLoader, EXTENSION_SUFFIXES),
            (Loader, SOURCE_SUFFIXES),
            (SourcelessFileLoader, BYTECODE_SUFFIXES),
        )

    os.register_at_fork(
        before=_ONE_AT_A_TIME.acquire,  # or a child has another thread's lock and switches for ever
        after_in_child=_ONE_AT_A_TIME.release,
        after_in_parent=_ONE_AT_A_TIME.release,
    )
    sys.path_hooks.insert(0, finder)
    for path in filter(is_below, list(sys.path_importer_cache)):
        del sys.path_importer_cache[path]
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
