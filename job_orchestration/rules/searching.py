"""Searches: the ``search`` of a sweep, understood, or everything that is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from job_orchestration.model.sweep import Choice, Search, Uniform
from job_orchestration.rules import domains, sweeping, trials
from job_orchestration.rules.reading import Node, plain
from job_orchestration.rules.settings import shown

if TYPE_CHECKING:
    from job_orchestration.model.problem import Problem
    from job_orchestration.model.run import RunState
    from job_orchestration.model.sweep import Domain
    from job_orchestration.model.task import Json

METHODS: Final = ("grid", "random", "tpe")
DIRECTIONS: Final = ("maximize", "minimize")
_PARTS: Final = ("method", "space", "metric", "direction", "n", "seed", "parallel", "prune")
_PARALLEL: Final = {"tpe": 4}
_PARALLEL_BLIND: Final = 32
"""Where a proposal does not depend on the results, there is no reason to wait for them."""


def has_search(root: Node) -> bool:
    """Whether the sweep of a config is a search."""
    block = sweeping.block_of(root)
    return block is not None and isinstance(block.value, Mapping) and "search" in block.value


def parse(root: Node, file: str) -> tuple[Search | None, list[Problem]]:
    """Understand the ``search`` in the ``sweep`` of a config; the arguments are those of `sweeping.parse`."""
    reader = _SearchReader(root, file)
    search = reader.read_search()
    return (None if reader.problems else search), reader.problems


class _SearchReader(sweeping.Reader):
    """Reads the block of one config."""

    def read_search(self) -> Search:
        block = sweeping.block_of(self._root)
        assert block is not None
        assert isinstance(block.value, Mapping), "the sweep has a search"
        for key, (at, _) in block.value.items():
            if key != "search":
                self.note(at, f"sweep.{key}", "a search stands alone", f"Take {key} or the search out")
        node = block.value["search"][1]
        parts = self.parts(node, "sweep.search", _PARTS)
        method = self._word(parts, "method", METHODS, "")
        direction = self._word(parts, "direction", DIRECTIONS, "maximize")
        self._word(parts, "prune", ("median",), "median")
        if "space" not in parts:
            self.note(node, "sweep.search", "it does not say what to try", "Write space, with the parameters")
        space = self._space(parts.get("space"), method)
        n = self._count(parts, "n", 0)
        if method == "grid":
            whole = math.prod(len(w.values) for w in space.values() if isinstance(w, Choice))
            n = min(n or whole, whole)
        elif not n and "n" not in parts:
            self.note(node, "sweep.search", "it does not say how many trials", "Write n, as in n: 50")
        seed = plain(parts["seed"][1]) if "seed" in parts else 0
        if not isinstance(seed, int) or isinstance(seed, bool):
            self.note(
                parts["seed"][1], "sweep.search.seed", f"{shown(seed)} is not a whole number", "Write one"
            )
            seed = 0
        return Search(
            method,
            space,
            self._metric(parts, node),
            n,
            direction == "maximize",
            seed,
            self._count(parts, "parallel", _PARALLEL.get(method, _PARALLEL_BLIND)),
            prune="prune" in parts,
        )

    def _word(
        self, parts: Mapping[str, tuple[Node, Node]], key: str, known: tuple[str, ...], without: str
    ) -> str:
        if key not in parts and without:
            return without
        node = parts[key][1] if key in parts else sweeping.block_of(self._root)
        assert node is not None
        if node.value in known and isinstance(node.value, str):
            return node.value
        what = f"{shown(plain(node))} is none" if key in parts else f"it has no {key}"
        self.note(node, f"sweep.search.{key}", what, f"Write {', '.join(known)}")
        return known[0]

    def _count(self, parts: Mapping[str, tuple[Node, Node]], key: str, without: int) -> int:
        if key not in parts:
            return without
        return self.formed(parts[key][1], f"sweep.search.{key}", domains.count_in) or without

    def _metric(self, parts: Mapping[str, tuple[Node, Node]], node: Node) -> str:
        node = parts["metric"][1] if "metric" in parts else node
        metric = node.value if "metric" in parts else None
        if isinstance(metric, str) and (metric in self._ids or trials.split_key(metric, self._ids)[0]):
            return metric
        example = f"{self._ids[-1]}.accuracy" if self._ids else "train.accuracy"
        what = "it does not say what to look at" if metric is None else f"{shown(plain(node))} names no task"
        self.note(
            node, "sweep.search.metric", what, f"Write metric: {example}, a key of what the task returns"
        )
        return ""

    def _space(self, entry: tuple[Node, Node] | None, method: str) -> dict[str, Domain]:
        found: dict[str, Domain] = {}
        for key, node in self.parameters(entry, "sweep.search.space"):
            where = f"sweep.search.space.{key}"
            what = self.formed(node, where, domains.domain)
            if what is None:
                continue
            if method == "grid" and not isinstance(what, Choice):
                self.note(
                    node, where, "a grid needs single values", "Write {linear: [0, 1], n: 5}, or a list"
                )
            else:
                found[key] = what
        return found


# -- what is written down of a search -----------------------------------------------------------------------


def as_json(space: Mapping[str, Domain]) -> dict[str, Json]:
    """A space in the forms of a config, which `space_of` reads."""
    return {key: _form_of(what) for key, what in space.items()}


def _form_of(what: Domain) -> Json:
    if isinstance(what, Choice):
        return {"choice": list(what.values)}
    if isinstance(what, Uniform):
        return {"loguniform" if what.log else "uniform": [what.low, what.high]}
    return {"int": [what.low, what.high]}


def space_of(written: Mapping[str, Json]) -> dict[str, Domain]:
    """A space that `as_json` wrote."""
    nowhere = Node(0, 0, None)
    return {key: domains.domain(domains.node_of(form, nowhere)) for key, form in written.items()}


def value_of(state: RunState, metric: str) -> int | float | None:
    """The number that a metric means, when its task has finished and returned one."""
    results = {task.id: task.result for task in state.tasks if task.result is not None}
    if metric in results:
        return _number(results[metric])
    owner, path = trials.split_key(metric, results)
    found: Json = results.get(owner) if owner else None
    if isinstance(found, dict) and path in found:
        return _number(found[path])
    for step in path.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return _number(found)


def _number(value: Json) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value
