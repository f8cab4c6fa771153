"""Find where code makes random numbers that no seed decides, a usual reason of other results. Pure.

Before each task the generators behind ``random.random()`` and ``np.random.rand()``, and those that modules
made when they were imported, are seeded from the run's seed. A generator that a function makes for itself is
not, so only calls in functions are looked for. The source is parsed and never executed.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNSEEDED_IF_EMPTY: Final = frozenset(
    {
        *("random.Random", "random.seed", "numpy.random.seed", "numpy.random.default_rng"),
        *("numpy.random.RandomState", "numpy.random.SeedSequence", "numpy.random.PCG64"),
        *("numpy.random.PCG64DXSM", "numpy.random.MT19937", "numpy.random.Philox", "numpy.random.SFC64"),
    }
)
"""Functions that take numbers of the system if they get no seed, or `None`."""
_ALWAYS_UNSEEDED: Final = (
    "random.SystemRandom",
    "secrets.",
    "os.urandom",
    "uuid.uuid1",
    "uuid.uuid4",
    "torch.seed",
)
_SEEDS: Final = frozenset({"seed", "entropy", "x", "a"})
"""Names of the parameter."""


@dataclass(frozen=True, slots=True)
class UnseededCall:
    """A call that makes random numbers which no seed decides."""

    path: str
    """The file, relative to the top of the repository."""
    line: int
    call: str
    """Its source, such as ``np.random.default_rng()``."""

    def as_json(self) -> dict[str, Any]:
        """Return it as ``verify --json`` has it."""
        return asdict(self)


def find(path: str, source: bytes) -> list[UnseededCall]:
    """Return the calls in the functions of a file, by line; none if it cannot be parsed.

    Args:
        path: where it lies, for the result.
        source: its content.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes in somebody's texts
            return _in_functions(path, ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _in_functions(path: str, tree: ast.Module) -> list[UnseededCall]:
    names = dict(_imported(tree))
    found = {
        (node.lineno, node.col_offset): UnseededCall(path, node.lineno, ast.unparse(node))
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and _is_unseeded(node, names)
    }
    return [found[place] for place in sorted(found)]


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each name that an import binds, wherever it stands, with what it means."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (
                    alias.asname or alias.name.partition(".")[0],
                    (alias.name if alias.asname else alias.name.partition(".")[0]),
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _is_unseeded(call: ast.Call, names: dict[str, str]) -> bool:
    name = _meaning(call.func, names)
    if name is None:
        return False
    if name.startswith(_ALWAYS_UNSEEDED):
        return True
    seeds = [*call.args[:1], *(k.value for k in call.keywords if k.arg is None or k.arg in _SEEDS)]
    return name in _UNSEEDED_IF_EMPTY and all(isinstance(s, ast.Constant) and s.value is None for s in seeds)


def _meaning(node: ast.expr, names: dict[str, str]) -> str | None:
    """Return the full name of a function, such as ``numpy.random.default_rng``; `None` if unknown."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in names:
        return None
    return ".".join((names[node.id], *reversed(parts)))
