"""Do something before and after a module is executed for the first time."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    Execute = Callable[[], object]


class OnImport:
    """A finder for `sys.meta_path` that has a function execute a module.

    Attributes:
        functions: name of the module, to the function, which gets the module and what executes it. It is
            removed when it is called.
    """

    def __init__(self, functions: Mapping[str, Callable[[ModuleType, Execute], object]]) -> None:
        self.functions = dict(functions)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002  # the import system's signature
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Find what the finders after this one find, to be executed by the function."""
        function = self.functions.pop(fullname, None)  # so that the search below does not come back here
        if function is None:
            return None
        spec = find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module
        spec.loader.exec_module = lambda module: function(module, lambda: execute(module))  # type: ignore[assignment, method-assign]
        return spec
