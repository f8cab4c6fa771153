"""The choice of commits: it finds the right one, in any history, with as few tests as halving allows."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from job_orchestration.comparison import bisection
from job_orchestration.comparison.bisection import CommitGraph, Criterion


def ancestors(parents: dict[str, tuple[str, ...]], commit: str) -> set[str]:
    """A commit and all its ancestors, by the definition: until nothing is added."""
    found: set[str] = {commit}
    while more := {parent for c in found for parent in parents[c]} - found:
        found |= more
    return found


@st.composite
def graphs(draw: st.DrawFn, most: int = 10) -> dict[str, tuple[str, ...]]:
    """A history with branches, merges of up to three parents, and perhaps several roots; newest first."""
    parents = {}
    for n, mask in enumerate(draw(st.lists(st.integers(0, 2**most), min_size=2, max_size=most))):
        chosen = [p for p in range(n) if mask >> p & 1]
        parents[f"c{n}"] = tuple(f"c{p}" for p in chosen[-3:])
    return dict(reversed(parents.items()))


def graph_of(parents: dict[str, tuple[str, ...]], good: str, bad: str) -> CommitGraph:
    """What git says of two ends: the commits that only one of them has, and the best they have in common."""
    ours, theirs = ancestors(parents, good), ancestors(parents, bad)
    both = ours & theirs
    bases = [c for c in parents if c in both and not any(c in ancestors(parents, o) for o in both - {c})]
    between = {c: parents[c] for c in parents if c in ours ^ theirs}
    return CommitGraph(between, good, bad, tuple(bases))


def searched(graph: CommitGraph, is_bad, skipped=()):
    """Every commit that was tested, and the last step."""
    tested: dict[str, bool] = {}
    gone: set[str] = set()
    tries = []
    while (step := bisection.next_step(graph, tested, gone)).test is not None:
        commit = step.test
        assert commit not in {*tested, *gone, graph.good, graph.bad}, "never a commit twice"
        tries.append(commit)
        if commit in skipped:
            gone.add(commit)
        else:
            tested[commit] = is_bad(commit)
    return tries, step


@settings(max_examples=150)
@given(graphs(), st.data())
def test_the_commit_that_moved_the_metric_is_found_in_any_history(parents, data):
    culprit = data.draw(st.sampled_from(sorted(parents)))
    moved = {c for c in parents if culprit in ancestors(parents, c)}
    assume(len(moved) < len(parents))
    one = data.draw(st.sampled_from(sorted(moved)))
    other = data.draw(st.sampled_from(sorted(set(parents) - moved)))
    one_is_bad = data.draw(st.booleans())
    good, bad = (other, one) if one_is_bad else (one, other)
    graph = graph_of(parents, good, bad)
    assume(graph.bases)
    tries, step = searched(graph, lambda c: (c in moved) is one_is_bad)
    assert step.found == culprit
    assert step.backwards is not one_is_bad
    assert len(tries) <= len(ancestors(parents, one)) - 1 + len(graph.bases)


@settings(max_examples=50)
@given(st.integers(1, 200), st.data())
def test_a_line_of_commits_needs_no_more_tests_than_halving(size, data):
    parents = {f"c{n}": (f"c{n - 1}",) if n else () for n in range(size + 1)}
    culprit = data.draw(st.integers(1, size))
    graph = graph_of_line(parents, size)
    tries, step = searched(graph, lambda c: int(c[1:]) >= culprit)
    assert step.found == f"c{culprit}"
    assert len(tries) <= math.ceil(math.log2(size))


def graph_of_line(parents: dict[str, tuple[str, ...]], size: int) -> CommitGraph:
    return CommitGraph({c: p for c, p in parents.items() if c != "c0"}, "c0", f"c{size}", ("c0",))


@settings(max_examples=100)
@given(graphs(), st.data())
def test_each_choice_is_the_best_that_there_is(parents, data):
    bad = data.draw(st.sampled_from(sorted(parents)))
    good = data.draw(st.sampled_from(sorted(ancestors(parents, bad))))
    assume(good != bad)
    graph = graph_of(parents, good, bad)
    step = bisection.next_step(graph, {}, set())
    suspects = ancestors(parents, bad) - ancestors(parents, good)
    assert set(step.suspects) == suspects

    def worse_case(commit: str) -> int:
        below = len(ancestors(parents, commit) & suspects)
        return max(below, len(suspects) - below)

    others = suspects - {bad}
    assert (step.test is None) is not others
    if others:
        assert step.test in others
        assert worse_case(step.test) == min(map(worse_case, others))


@settings(max_examples=100)
@given(graphs(), st.data())
def test_with_commits_that_cannot_run_the_right_one_stays_among_the_suspects(parents, data):
    bad = data.draw(st.sampled_from(sorted(parents)))
    good = data.draw(st.sampled_from(sorted(ancestors(parents, bad))))
    assume(good != bad)
    suspects = ancestors(parents, bad) - ancestors(parents, good)
    culprit = data.draw(st.sampled_from(sorted(suspects)))
    skipped = data.draw(st.sets(st.sampled_from(sorted(suspects))))
    _, step = searched(
        graph_of(parents, good, bad), lambda c: culprit in ancestors(parents, c), skipped - {bad}
    )
    assert culprit in step.suspects
    unknown = [c for c in step.suspects if c not in skipped]
    assert len(unknown) <= 1, "what could be tested was"


def test_the_choice_keeps_away_from_a_range_that_cannot_run():
    parents = {f"c{n}": (f"c{n - 1}",) if n else () for n in range(65)}
    broken = {f"c{n}" for n in range(26, 42)}
    tries, step = searched(graph_of_line(parents, 64), lambda c: int(c[1:]) >= 50, broken)
    assert step.found == "c50"
    assert len(set(tries) & broken) <= 3


def test_twenty_thousand_commits_with_merges_are_a_matter_of_a_second():
    parents = {"c0": ()}
    for n in range(1, 20_000):
        parents[f"c{n}"] = (f"c{n - 1}", f"c{max(0, n - 7)}") if n % 5 == 0 else (f"c{n - 1}",)
    step = bisection.next_step(graph_of_line(parents, 19_999), {}, set())
    assert step.test == "c9999"


@pytest.mark.parametrize(
    ("criterion", "good", "bad"),
    [
        (Criterion(0.4, 0.7), [0.3, 0.4, 0.54], [0.56, 0.7, 9.0, math.nan]),
        (Criterion(0.7, 0.4), [0.7, 0.56, 9.0], [0.54, 0.4, -1.0, math.nan]),
        (Criterion(0.4, 0.7, at=0.69), [0.4, 0.68], [0.7]),
        (Criterion(0.4, 0.7, at=0.7), [0.4, 0.69], [0.7]),
        (Criterion(0.4, 0.7, at=0.4), [0.4], [0.41]),
        (Criterion(0.4, 0.7, higher=True), [0.4, 0.39], [0.4000001, math.nan]),
        (Criterion(0.7, 0.4, higher=False), [0.7, 0.71], [0.699]),
        (Criterion(0.4, math.nan), [0.4, 1e300], [math.nan]),
        (Criterion(0.4, math.inf), [0.4, 1e300], [math.inf]),
    ],
)
def test_a_value_is_on_the_side_of_one_of_the_ends(criterion, good, bad):
    assert criterion.fault is None
    assert [v for v in [*good, *bad] if criterion.is_bad(v)] == bad or math.isnan(bad[-1])
    assert not any(map(criterion.is_bad, good))
    assert all(map(criterion.is_bad, bad))


@pytest.mark.parametrize(
    "criterion",
    [
        Criterion(0.4, 0.4),
        Criterion(0.4, 0.7, at=0.8),
        Criterion(0.4, 0.7, higher=False),
        Criterion(math.nan, 0.7),
    ],
)
def test_two_ends_on_one_side_are_a_fault(criterion):
    assert criterion.fault is not None
