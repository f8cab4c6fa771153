"""Expand sweeps: a config with a ``sweep`` block becomes a run for each combination of parameters.

A block may have three parts: ``grid`` makes every combination, ``zip`` goes through its lists side by side,
``random`` draws. The trials are the product of the parts, without those for which ``exclude`` is true.
All problems of a block are reported in one pass, each at its line. Pure.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from job_orchestration.config import expressions, parameter_keys
from job_orchestration.config.settings import RULES, shown
from job_orchestration.config.validation import KNOWN_KEYS, OLD_NAMES
from job_orchestration.config.yaml_reader import Node, plain
from job_orchestration.diagnostics.problems import Problem, Severity, quoted
from job_orchestration.diagnostics.suggestions import did_you_mean, nearest_names
from job_orchestration.search import parameter_space, trials
from job_orchestration.search.parameter_space import FormError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from job_orchestration.config.expressions import Filter
    from job_orchestration.search.parameter_space import Domain

MOST_TRIALS: Final = 100_000
PARTS: Final = ("grid", "zip", "random", "exclude", "search")
_OURS: Final = frozenset({"sweep", "tasks", "outputDir", "name"})
"""Keys that cannot be parameters."""

Parameters: TypeAlias = Mapping[str, Node]
"""The values of one trial by parameter, with their positions in the config."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A parsed block."""

    grid: Mapping[str, tuple[Node, ...]]
    zipped: Mapping[str, tuple[Node, ...]]
    drawn: Mapping[str, tuple[Node, Domain]]
    draws: int = 1
    seed: int = 0
    exclude: Filter | None = None

    def __len__(self) -> int:
        """Return the number of trials, before `exclude` removes some."""
        pairs = len(next(iter(self.zipped.values()), ((),)))
        return math.prod(map(len, self.grid.values())) * pairs * self.draws

    def combinations(self) -> Iterator[Parameters]:
        """Yield the trials in the order of the block; the first parameter changes most slowly."""
        for products in itertools.product(*self.grid.values()):
            for pair in zip(*self.zipped.values(), strict=True) if self.zipped else ((),):
                fixed = {
                    **dict(zip(self.grid, products, strict=True)),
                    **dict(zip(self.zipped, pair, strict=True)),
                }
                for number in range(self.draws):
                    found = {**fixed, **self._draw(number)}
                    if self.exclude is None or not self.exclude.matches(
                        {key: plain(node) for key, node in found.items()}
                    ):
                        yield found

    def _draw(self, number: int) -> Parameters:
        return {
            key: parameter_space.node_of(
                parameter_space.at(what, parameter_space.fraction_of(self.seed, key, number)), node
            )
            for key, (node, what) in self.drawn.items()
        }


def block_of(root: Node) -> Node | None:
    """Return the ``sweep`` of a config, if it has one."""
    entry = root.value.get("sweep") if isinstance(root.value, Mapping) else None
    return entry[1] if entry else None


def parse(root: Node, block: Node, file: str) -> tuple[Sweep | None, list[Problem]]:
    """Parse the ``sweep`` of a config.

    Args:
        root: the config's tree.
        block: its ``sweep``, as `block_of` found it.
        file: the file's name, for the problems.

    Returns:
        The sweep, or `None` if a problem is an error, and all its problems.
    """
    reader = Reader(root, block, file)
    sweep = reader.read()
    return (None if reader.has_errors else sweep), reader.problems


class Reader:
    """Reads the block of one config and collects its problems."""

    def __init__(self, root: Node, block: Node, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._root = root
        self._block = block
        self._ids = trials.ids_of(root)
        self._known: dict[str, str] = {}

    @property
    def has_errors(self) -> bool:
        """Whether any problem so far is more than a warning."""
        return any(problem.is_error for problem in self.problems)

    def note(self, node: Node, key: str, what: str, todo: str) -> None:
        """Add a problem at the position of a node."""
        self.problems.append(Problem(self.file, what, todo, key, node.line, node.column))

    def parts(self, node: Node, path: str, known: Iterable[str]) -> Mapping[str, tuple[Node, Node]]:
        """Return the entries of a mapping; an unknown key is a problem."""
        if not isinstance(node.value, Mapping):
            self.note(
                node, path, f"{shown(plain(node))} is not a mapping", f"Write its keys: {', '.join(known)}"
            )
            return {}
        known = tuple(known)
        for key, (at, _) in node.value.items():
            if key not in known:
                todo = _suggested(key, known) or f"Use {', '.join(known)}"
                self.note(at, f"{path}.{key}", f"{quoted(key)} is not a key of {path}", todo)
        return node.value

    def read(self) -> Sweep:
        """Return the whole block."""
        block = self._block
        parts = self.parts(block, "sweep", PARTS)
        if not parts.keys() & {"grid", "zip", "random"} and parts.keys() <= set(PARTS):
            self.note(block, "sweep", "it has no parameters", "Write grid, zip or random")
        grid = self._axes(parts.get("grid"), "sweep.grid")
        zipped = self._axes(parts.get("zip"), "sweep.zip")
        self._same_lengths(zipped)
        draws, seed, drawn = self._random(parts.get("random"))
        exclude = self._exclude(parts.get("exclude"), {*grid, *zipped, *drawn})
        sweep = Sweep(grid, zipped, drawn, draws, seed, exclude)
        if len(sweep) > MOST_TRIALS:
            what = f"it has {len(sweep)} trials, more than the limit of {MOST_TRIALS}"
            self.note(block, "sweep", what, "Use fewer values, or draw some at random")
        elif not self.has_errors and next(sweep.combinations(), None) is None:
            self.note(parts["exclude"][1], "sweep.exclude", "it excludes every trial", "Loosen it")
        return sweep

    def parameters(
        self, entry: tuple[Node, Node] | None, path: str, besides: Iterable[str] = ()
    ) -> Iterator[tuple[str, Node]]:
        """Return the parameters of a part whose keys are valid."""
        if entry is None:
            return
        node = entry[1]
        found = node.value if isinstance(node.value, Mapping) else {}
        wanted = [(key, pair) for key, pair in found.items() if key not in besides]
        if not wanted:
            self.note(node, path, "it has no parameters", "Write `key: [values]`")
        for key, (at, value) in wanted:
            if self._is_parameter(at, key, path):
                yield key, value

    def _is_parameter(self, at: Node, key: str, path: str) -> bool:
        where = f"{path}.{key}"
        owner, name = parameter_keys.split_key(key, self._ids)
        top = self._root.value
        if (owner is None and name in _OURS) or (owner is not None and name == "id"):
            self.note(at, where, f"{quoted(key)} cannot be a parameter", "Take it out of the sweep")
        elif owner is None and "." in key and isinstance(top, Mapping) and key not in top:
            task = key.partition(".")[0]
            todo = _suggested(task, self._ids) or f"The tasks are {', '.join(self._ids) or 'none'}"
            self.note(at, where, f"there is no task {quoted(task)}", todo)
        elif key in self._known:
            self.note(at, where, f"{quoted(key)} is in {self._known[key]} already", "Keep one of the two")
        elif owner is None and key not in RULES and trials.is_always_overlaid(self._root, key):
            what = f"every task has a {quoted(key)} of its own, so this would have no effect"
            self.note(at, where, what, f"Write {self._ids[0] if self._ids else 'taskId'}.{key}")
        else:
            self._known[key] = path
            if doubt := self._doubt(owner, name):
                self.problems.append(
                    Problem(self.file, *doubt, where, at.line, at.column, severity=Severity.WARNING)
                )
            return True
        return False

    def _doubt(self, owner: str | None, name: str) -> tuple[str, str] | None:
        """Say why a parameter may have no effect, and what to do; `None` if nothing speaks for that.

        A key that the config lacks is usually right: the tasks have a default for it.
        """
        if owner is None and name in KNOWN_KEYS:
            return None
        top, of_task = trials.keys_of(self._root)
        if owner is None and (own := [id_ for id_ in self._ids if name in of_task[id_]]):
            whose = f"{own[0]} has a {quoted(name)} of its own, which this does not change"
            return whose, f"Write {own[0]}.{name} if that is meant"
        here = top if owner is None else of_task[owner]
        if name in here or name in OLD_NAMES:
            return None
        prefix = "" if owner is None else f"{owner}."
        near = [f"{prefix}{key}" for key in _like(name, here)]
        if owner is None:
            near += [f"{id_}.{key}" for id_ in self._ids for key in _like(name, of_task[id_])]
        else:
            near += _like(name, top - here)
        if not near:
            return None
        return f"the config has no {quoted(prefix + name)}", did_you_mean([quoted(near[0])])

    def formed(
        self, node: Node, key: str, read: Callable[[Node], parameter_space.T]
    ) -> parameter_space.T | None:
        """Return the result of the reader of a form; `None` and a problem if the form is invalid."""
        try:
            return read(node)
        except FormError as error:
            self.note(error.node, key, error.what, error.todo)
            return None

    def _axes(self, entry: tuple[Node, Node] | None, path: str) -> dict[str, tuple[Node, ...]]:
        found: dict[str, tuple[Node, ...]] = {}
        for key, node in self.parameters(entry, path):
            nodes = self.formed(node, f"{path}.{key}", parameter_space.points)
            if nodes is not None:
                self._names(nodes, f"{path}.{key}")
                found[key] = nodes
        return found

    def _names(self, nodes: tuple[Node, ...], path: str) -> None:
        """Add a problem if two values make the same folder."""
        first: dict[str, Node] = {}
        for node in nodes:
            name = trials.text_of(plain(node))
            if name in first:
                here, there = (parameter_space.canonical(plain(n))[:60] for n in (node, first[name]))
                self.note(node, path, f"{here} makes the same folder as {there}", "Keep one of the two")
            first.setdefault(name, node)

    def _same_lengths(self, zipped: Mapping[str, tuple[Node, ...]]) -> None:
        if len({len(nodes) for nodes in zipped.values()}) > 1:
            lengths = ", ".join(f"{key} {len(nodes)}" for key, nodes in zipped.items())
            node = next(iter(zipped.values()))[0]
            self.note(node, "sweep.zip", f"its lists differ in length: {lengths}", "Make them equally long")

    def _random(self, entry: tuple[Node, Node] | None) -> tuple[int, int, dict[str, tuple[Node, Domain]]]:
        if entry is None:
            return 1, 0, {}
        drawn: dict[str, tuple[Node, Domain]] = {}
        for key, node in self.parameters(entry, "sweep.random", ("n", "seed")):
            what = self.formed(node, f"sweep.random.{key}", parameter_space.domain)
            if what is not None:
                drawn[key] = (node, what)
        parts = entry[1].value if isinstance(entry[1].value, Mapping) else {}
        draws = None
        if "n" in parts:
            draws = self.formed(parts["n"][1], "sweep.random.n", parameter_space.count_in)
        else:
            self.note(entry[1], "sweep.random", "the number of draws is missing", "Write n, as in n: 20")
        return draws or 1, self.seed_in(parts, "sweep.random"), drawn

    def seed_in(self, parts: Mapping[str, tuple[Node, Node]], path: str) -> int:
        """Return the ``seed`` among the entries of a part; 0 if there is none."""
        node = parts["seed"][1] if "seed" in parts else None
        seed = plain(node) if node else 0
        if isinstance(seed, int) and not isinstance(seed, bool):
            return seed
        assert node is not None
        self.note(node, f"{path}.seed", f"{shown(seed)} is not a whole number", "Write one")
        return 0

    def _exclude(self, entry: tuple[Node, Node] | None, known: set[str]) -> Filter | None:
        if entry is None:
            return None
        node = entry[1]
        if not isinstance(node.value, str):
            self.note(
                node, "sweep.exclude", f"{shown(plain(node))} is not a text", 'Write "a == 2 and b > 1"'
            )
            return None
        try:
            found = expressions.parse(node.value)
        except expressions.FilterError as error:
            self.note(node, "sweep.exclude", f"column {error.column}: {error.what}", error.todo)
            return None
        for name in sorted(found.names - known):
            todo = f"The parameters are {', '.join(sorted(known)) or 'none'}"
            self.note(node, "sweep.exclude", f"{quoted(name)} is not a parameter of this sweep", todo)
        return found


def _like(name: str, keys: Iterable[str]) -> list[str]:
    """Return the key that a name is a misspelling of; ``alpha1`` is none of ``alpha2``."""
    bare = name.rstrip("0123456789")
    others = [key for key in keys if key not in _OURS and key.rstrip("0123456789") != bare]
    return nearest_names(name, others)


def _suggested(name: str, known: Iterable[str]) -> str:
    near = nearest_names(name, known)
    return did_you_mean([quoted(near[0])]) if near else ""


def merged(found: Mapping[str, Iterable[Problem]]) -> list[Problem]:
    """Merge the problems of a sweep's trials: each once, with the trials that have it.

    Args:
        found: the problems of each trial, by its name.
    """
    where: dict[Problem, list[str]] = {}
    for name, problems in found.items():
        for problem in problems:
            where.setdefault(problem, []).append(name)
    made = []
    for p, names in where.items():
        others = len(names) - 1
        more = f" and {others} more trial{'s' if others > 1 else ''}" if others else ""
        of_all = len(names) == len(found) or p.key == "sweep"
        what = p.what if of_all else f"with {names[0]}{more}: {p.what}"
        made.append(Problem(p.file, what, p.todo, p.key, p.line, p.column, p.severity))
    return made
