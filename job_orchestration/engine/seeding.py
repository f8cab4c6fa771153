"""One seed a run: random numbers that a rerun repeats, and that forks of one host do not share.

`random` is seeded when a task begins, and so is each library that is loaded by then. A library that the
task itself imports is seeded at the end of its import, by a finder that lets the others find it and adds
one step to its loading.
"""

from __future__ import annotations

import random
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_SEEDERS: Final[dict[str, Callable[[Any, int], object]]] = {
    "numpy": lambda numpy, seed: numpy.random.seed(seed % 2**32),
    "torch": lambda torch, seed: torch.manual_seed(seed),
}


def seed_all(seed: int) -> None:
    """Start the random numbers of Python and of each library that is loaded, or will be."""
    random.seed(seed)
    later = []
    for name, start in _SEEDERS.items():
        module = sys.modules.get(name)
        if module is None:
            later.append(name)
        else:
            start(module, seed)
    sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, _OnImport)]
    if later:
        sys.meta_path.insert(0, _OnImport(seed, frozenset(later)))


class _OnImport:
    """A finder that seeds a library when it has been imported."""

    def __init__(self, seed: int, names: frozenset[str]) -> None:
        self._seed = seed
        self._names = set(names)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002  # the import system's signature
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Find what the finders after this one find, and seed it when it has been executed."""
        if fullname not in self._names:
            return None
        self._names.discard(fullname)  # so that the search below does not come back here
        spec = find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        execute, start, seed = spec.loader.exec_module, _SEEDERS[fullname], self._seed

        def execute_and_seed(module: ModuleType) -> None:
            execute(module)
            start(module, seed)

        spec.loader.exec_module = execute_and_seed  # type: ignore[method-assign]  # of this one loader
        return spec
