"""Choose the commit that is tested next on the way to the one that moved a metric. Pure.

The rule is that of ``git bisect``. One commit changed the metric of itself and of all its descendants. A
commit that is like the old end rules itself and its ancestors out; one that is like the new end rules out
all but itself and its ancestors. What remains are the suspects. Next comes the one that leaves the fewest of
them in the worse case: with ``w`` of ``n`` suspects among its ancestors (itself included) that is the largest
``min(w, n - w)``. A walk along first parents would not look into a merged branch.

Commits that cannot run come in ranges. So the choice keeps away from those that were skipped: the measure is
multiplied by the distance, in ``w``, to the nearest of them.

If neither end is an ancestor of the other, the commits that they have in common are tested first: these tell
on which of the two ways the metric moved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Criterion:
    """Tells which commits count as bad."""

    good: float
    """The metric of the good end."""
    bad: float
    """The metric of the bad end."""
    at: float | None = None
    """The limit between good and bad; `None`: half-way, unless `higher` is given."""
    higher: bool | None = None
    """If given: bad is whatever is higher (or else lower) than at the good end."""

    def is_bad(self, value: float) -> bool:
        """Return whether a commit with this metric counts as bad."""
        if self.higher is not None:
            return math.isnan(value) or (value > self.good if self.higher else value < self.good)
        if not math.isfinite(self.bad) or not math.isfinite(value):
            return self._is_like_bad(value)
        limit = self.limit
        if value == limit:
            return limit == self.bad
        return (value > limit) is (self.bad > self.good)

    def _is_like_bad(self, value: float) -> bool:
        if math.isfinite(self.bad):
            return math.isnan(value) or (value > self.limit) is (self.bad > self.good)
        return math.isnan(value) if math.isnan(self.bad) else value == self.bad

    @property
    def limit(self) -> float:
        """The value between good and bad."""
        return self.at if self.at is not None else self.good + (self.bad - self.good) / 2

    @property
    def fault(self) -> str | None:
        """Why no commit can be found by this criterion; `None` if one can."""
        if not math.isfinite(self.good):
            return f"the metric of the good run is {self.good}"
        if self.is_bad(self.good) or not self.is_bad(self.bad):
            return f"the metrics of both runs, {self.good:g} and {self.bad:g}, are on the same side"
        return None


@dataclass(frozen=True, slots=True)
class CommitGraph:
    """The commits on the ways between two ends."""

    parents: Mapping[str, Sequence[str]]
    """The parents of each commit that is an ancestor of one end and not of the other, each end counted among
    its own ancestors. A parent that is no key is an ancestor of both."""
    good: str
    bad: str
    bases: tuple[str, ...]
    """The best common ancestors of both ends; an end itself if it is an ancestor of the other."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is known, and what comes next."""

    suspects: tuple[str, ...]
    """The commits of which one moved the metric, in the order of the history."""
    test: str | None
    """The commit to test next; `None` if nothing more can be learned."""
    backwards: bool = False
    """Whether the older end is the bad one, so that the commit mended the metric."""

    @property
    def found(self) -> str | None:
        """The commit that moved the metric; `None` if several are left."""
        return self.suspects[0] if self.test is None and len(self.suspects) == 1 else None


def next_step(graph: CommitGraph, verdicts: Mapping[str, bool], skipped: Collection[str]) -> Step:
    """Return what is known and the commit to test next.

    Args:
        graph: the commits between the ends.
        verdicts: whether each tested commit is bad; the ends are known.
        skipped: commits that cannot be tested.
    """
    known = {**verdicts, graph.good: False, graph.bad: True}
    open_bases = [base for base in graph.bases if base not in known and base not in skipped]
    backwards = any(known.get(base) for base in graph.bases)
    new = graph.good if backwards else graph.bad
    suspects = _suspects(graph.parents, new, {c: bad is not backwards for c, bad in known.items()})
    if open_bases and not backwards:
        return Step(suspects, open_bases[0])
    weights = _weights(graph.parents, suspects)
    return Step(suspects, _best(weights, known, skipped), backwards)


def _suspects(parents: Mapping[str, Sequence[str]], new: str, moved: Mapping[str, bool]) -> tuple[str, ...]:
    """Return the commits that may have moved the metric, in the order of the history.

    Args:
        parents: the graph.
        new: the end that has moved.
        moved: whether each known commit has moved.
    """
    left = _ancestors(parents, [new])
    for commit, has_moved in moved.items():
        if has_moved and commit in left:
            left &= _ancestors(parents, [commit])
    left -= _ancestors(parents, [commit for commit, has_moved in moved.items() if not has_moved])
    return tuple(commit for commit in parents if commit in left)


def _ancestors(parents: Mapping[str, Sequence[str]], commits: Iterable[str]) -> set[str]:
    """Return commits and their ancestors, as far as they belong to the history."""
    found: set[str] = set()
    ahead = [commit for commit in commits if commit in parents]
    while ahead:
        commit = ahead.pop()
        if commit not in found:
            found.add(commit)
            ahead += [parent for parent in parents[commit] if parent in parents]
    return found


def _weights(parents: Mapping[str, Sequence[str]], suspects: Sequence[str]) -> dict[str, int]:
    """Return how many suspects are ancestors of each suspect, itself included: a bit for each of them."""
    bits = {commit: 1 << n for n, commit in enumerate(suspects)}
    masks: dict[str, int] = {}
    for top in suspects:
        ahead = [top]
        while ahead:
            commit = ahead[-1]
            inside = [parent for parent in parents[commit] if parent in bits]
            missing = [parent for parent in inside if parent not in masks]
            if missing:
                ahead += missing
                continue
            ahead.pop()
            mask = bits[commit]
            for parent in inside:
                mask |= masks[parent]
            masks[commit] = mask
    return {commit: masks[commit].bit_count() for commit in suspects}


def _best(weights: Mapping[str, int], known: Collection[str], skipped: Collection[str]) -> str | None:
    """Return the commit whose test leaves the fewest suspects in the worse case."""
    total = len(weights)
    passed_over = [weights[commit] for commit in weights if commit in skipped]

    def merit(commit: str) -> tuple[int, int]:
        halves = min(weights[commit], total - weights[commit])
        distance = min((abs(weights[commit] - other) for other in passed_over), default=1)
        return halves * distance, halves

    left = [c for c in weights if c not in known and c not in skipped and weights[c] < total]
    return max(left, key=merit, default=None)
