"""Thread pools of numerical libraries: one thread during the imports, as many as a script has in the child.

OpenBLAS starts its threads when NumPy is imported, and a fork has only the thread that forked. So the fork
server imports with one OpenBLAS thread, and each child then sets every pool to the size that the library
would have chosen in an interpreter of its own: the one in the environment, or else all CPUs that the process
may use. A run that requests ``resources: {cpus: N}`` gets pools of N threads.

The sizes are set through threadpoolctl. The environment variables are those that OpenBLAS, MKL, BLIS and
OpenMP document.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_AT_IMPORT: Final = "OPENBLAS_NUM_THREADS"
"""The one pool whose threads start at import; the others start with the first parallel work."""
COMMON: Final = "OMP_NUM_THREADS"
"""The variable that the others fall back on; `resize` sets it."""
_VARIABLES: Final = {
    "openblas": ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", COMMON),
    "mkl": ("MKL_NUM_THREADS", COMMON),
    "blis": ("BLIS_NUM_THREADS", COMMON),
    "openmp": (COMMON,),
}
"""The variables that a library reads for its number of threads, the first one first."""
_LIBRARIES: Final = ("blas", "mkl_rt", "blis", "libgomp", "libomp", "libiomp")

_pools: list[Any] = []
"""Controllers of the loaded libraries; every fork inherits them."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Import numerical libraries without threads, and find their pools.

    The variable is set for C code alone: Python code that reads or sets ``os.environ`` is not affected.
    """
    os.putenv(_AT_IMPORT, "1")
    try:
        yield
    finally:
        value = os.environ.get(_AT_IMPORT)
        if value is None:
            os.unsetenv(_AT_IMPORT)
        else:
            os.putenv(_AT_IMPORT, value)
    find()


def find() -> None:
    """Find the pools of the loaded libraries, if there are any."""
    if _are_loaded():
        from threadpoolctl import ThreadpoolController

        _pools[:] = ThreadpoolController().lib_controllers


def _are_loaded() -> bool:
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            paths = {line.rpartition("/")[2] for line in maps if "/" in line}
    except OSError:  # not Linux: let threadpoolctl look
        return True
    return any(name in path for path in paths for name in _LIBRARIES)


def resize(cpus: int | None) -> None:
    """Give every pool of a child its size.

    Args:
        cpus: the CPUs allocated to the run. It also becomes ``OMP_NUM_THREADS`` for libraries that are
            imported later and for programs that the task starts, unless the variable is set.
    """
    if cpus is not None:
        os.environ.setdefault(COMMON, str(cpus))
    for pool in _pools:
        wanted = _wanted(pool.internal_api)
        if pool.num_threads != wanted:
            pool.set_num_threads(wanted)


def _wanted(library: str) -> int:
    for name in _VARIABLES.get(library, (COMMON,)):
        value = os.environ.get(name, "").partition(",")[0].strip()
        if value.isdecimal() and int(value) > 0:
            return int(value)
    return usable_cpus()


def usable_cpus() -> int:
    """Number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
