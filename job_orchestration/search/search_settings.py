"""Parse the ``search`` of a sweep into a search, or into a list of its problems. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeGuard

from job_orchestration.config import parameter_keys
from job_orchestration.config.settings import shown
from job_orchestration.config.yaml_reader import Node, plain
from job_orchestration.search import parameter_space, sweep_expansion
from job_orchestration.search.parameter_space import Choice, Domain, Uniform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.diagnostics.problems import Problem
    from job_orchestration.runs.state import RunState


@dataclass(frozen=True, slots=True)
class Search:
    """A sweep whose trials are proposed one after another, based on earlier results."""

    method: str
    """``grid``, ``random``, ``tpe``, or the name of a plugin."""
    space: Mapping[str, Domain]
    metric: str
    """``taskId.key`` for a key of the task's return value, or ``taskId`` for the value itself."""
    n: int
    """Largest number of trials."""
    maximize: bool = True
    seed: int = 0
    parallel: int = 4
    """Number of trials that wait or run at a time."""
    prune: bool = False
    """Whether a trial ends early if its reported metric is worse than the median of the others."""

    @property
    def aim(self) -> tuple[str, bool]:
        """What the trials are measured by: the metric, and whether the largest is the best."""
        return self.metric, self.maximize


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The state of one trial of a search."""

    number: int
    run: str
    parameters: Mapping[str, Json]
    value: int | float | None = None
    """The metric; `None` until its task has finished, or if the task returned no number."""
    ended: bool = False
    complete: bool = False
    pruned: bool = False
    cancelled: bool = False
    steps: Mapping[int, float] = field(default_factory=dict)
    """The metrics that it reported, by step."""

    @property
    def end(self) -> str | None:
        """How it ended: ``completed``, ``failed``, ``cancelled`` or ``pruned``; `None` if it has not."""
        if not self.ended:
            return None
        if self.complete:
            return "completed"
        return "pruned" if self.pruned else "cancelled" if self.cancelled else "failed"


METHODS: Final = ("grid", "random", "tpe")
DIRECTIONS: Final = ("maximize", "minimize")
_PARTS: Final = ("method", "space", "metric", "direction", "n", "seed", "parallel", "prune")
_LARGEST: Final = 1.7e308
_WRITTEN_OUT: Final = 10**12
"""Larger numbers are not written out in messages."""
_PARALLEL: Final = {"tpe": 4}
_PARALLEL_BLIND: Final = 32
"""Default number of trials at a time: larger for methods that do not depend on results."""


def is_search(block: Node) -> bool:
    """Whether the ``sweep`` of a config is a search."""
    return isinstance(block.value, Mapping) and "search" in block.value


def method_of(block: Node) -> Json:
    """Return the ``method`` of a search as it is written; `None` if there is none."""
    assert isinstance(block.value, Mapping), "the sweep has a search"
    search = block.value["search"][1].value
    return plain(search["method"][1]) if isinstance(search, Mapping) and "method" in search else None


def parse(
    root: Node, block: Node, file: str, plugins: Sequence[str] = ()
) -> tuple[Search | None, list[Problem]]:
    """Understand the ``search`` in the ``sweep`` of a config: see `sweep_expansion.parse`.

    Args:
        root: the config.
        block: its ``sweep``.
        file: its name.
        plugins: methods of other packages.
    """
    reader = _SearchReader(root, block, file)
    search = reader.read_search((*METHODS, *plugins))
    return (None if reader.has_errors else search), reader.problems


class _SearchReader(sweep_expansion.Reader):
    """Reads the ``search`` of one config."""

    def read_search(self, methods: tuple[str, ...]) -> Search:
        assert isinstance(self._block.value, Mapping), "the sweep has a search"
        for key, (at, _) in self._block.value.items():
            if key != "search":
                self.note(at, f"sweep.{key}", f"{key} cannot be combined with a search", "Remove one of them")
        node = self._block.value["search"][1]
        parts = self.parts(node, "sweep.search", _PARTS)
        method = self._word(parts, "method", methods, "")
        direction = self._word(parts, "direction", DIRECTIONS, "maximize")
        self._word(parts, "prune", ("median",), "median")
        if "space" not in parts:
            self.note(node, "sweep.search", "it has no space", "Write space, with the parameters")
        space = self._space(parts.get("space"), method)
        n = self._count(parts, "n", 0)
        if method == "grid":
            whole = math.prod(len(w.values) for w in space.values() if isinstance(w, Choice))
            n = min(n or whole, whole)
            if n > sweep_expansion.MOST_TRIALS:
                what = f"its grid has {_few_digits(whole)} trials, more than {sweep_expansion.MOST_TRIALS}"
                self.note(node, "sweep.search", what, "Use fewer values, or write n")
        elif method and not n and "n" not in parts:
            self.note(node, "sweep.search", "the number of trials is missing", "Write n, as in n: 50")
        return Search(
            method,
            space,
            self._metric(parts, node),
            n,
            direction == "maximize",
            self.seed_in(parts, "sweep.search"),
            self._count(parts, "parallel", _PARALLEL.get(method, _PARALLEL_BLIND)),
            prune="prune" in parts,
        )

    def _word(
        self, parts: Mapping[str, tuple[Node, Node]], key: str, known: tuple[str, ...], without: str
    ) -> str:
        if key not in parts and without:
            return without
        node = parts[key][1] if key in parts else self._block
        if node.value in known and isinstance(node.value, str):
            return node.value
        what = f"{shown(plain(node))} is not a {key}" if key in parts else f"it has no {key}"
        self.note(node, f"sweep.search.{key}", what, f"Write {', '.join(known)}")
        return without

    def _count(self, parts: Mapping[str, tuple[Node, Node]], key: str, without: int) -> int:
        if key not in parts:
            return without
        return self.formed(parts[key][1], f"sweep.search.{key}", parameter_space.count_in) or without

    def _metric(self, parts: Mapping[str, tuple[Node, Node]], node: Node) -> str:
        node = parts["metric"][1] if "metric" in parts else node
        metric = node.value if "metric" in parts else None
        if isinstance(metric, str):
            owner, _ = parameter_keys.split_key(metric, self._ids)
            if owner or metric in self._ids:
                return metric
        example = f"{self._ids[-1]}.accuracy" if self._ids else "train.accuracy"
        what = "it has no metric" if metric is None else f"{shown(plain(node))} names no task"
        self.note(node, "sweep.search.metric", what, f"Write metric: {example}, a key of the task's result")
        return ""

    def _space(self, entry: tuple[Node, Node] | None, method: str) -> dict[str, Domain]:
        found: dict[str, Domain] = {}
        for key, node in self.parameters(entry, "sweep.search.space"):
            where = f"sweep.search.space.{key}"
            what = self.formed(node, where, parameter_space.domain)
            if what is None:
                continue
            if method == "grid" and not isinstance(what, Choice):
                self.note(
                    node, where, "a grid needs single values", "Write {linear: [0, 1], n: 5}, or a list"
                )
            else:
                found[key] = what
        return found


def _few_digits(number: int) -> str:
    return str(number) if number < _WRITTEN_OUT else "far too many"


# -- stored forms --------------------------------------------------------------------------------------------


def as_json(space: Mapping[str, Domain]) -> dict[str, Json]:
    """Return a space in the forms of a config, which `space_of` reads."""
    return {key: _form_of(what) for key, what in space.items()}


def _form_of(what: Domain) -> Json:
    if isinstance(what, Choice):
        return {"choice": list(what.values)}
    if isinstance(what, Uniform):
        return {"loguniform" if what.log else "uniform": [what.low, what.high]}
    return {"int": [what.low, what.high]}


def space_of(written: Mapping[str, Json]) -> dict[str, Domain]:
    """Return the space that `as_json` wrote."""
    nowhere = Node(0, 0, None)
    return {
        key: parameter_space.domain(parameter_space.node_of(form, nowhere)) for key, form in written.items()
    }


def value_of(state: RunState, metric: str) -> int | float | None:
    """Return the value of a metric; `None` if its task has not finished, or returned no such number.

    NaN and infinities are no values, and neither are whole numbers that no float can hold.
    """
    found = _result_of(state, metric)
    return found if _is_number(found) and abs(found) <= _LARGEST else None


def found_by(state: RunState, metric: str) -> bool:
    """Return whether a run returned a number by the name of a metric, finite or not."""
    return _is_number(_result_of(state, metric))


def _result_of(state: RunState, metric: str) -> Json:
    results = {task.id: task.result for task in state.tasks if task.result is not None}
    if metric in results:
        return results[metric]
    owner, path = parameter_keys.split_key(metric, results)
    found: Json = results.get(owner) if owner else None
    if isinstance(found, dict) and path in found:
        return found[path]
    for step in path.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _is_number(value: Json) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
