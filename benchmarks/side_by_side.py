"""The peers side by side: every size, in rounds, each round in another order."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from benchmarks import peers
from benchmarks.environments import NotInstalledError
from benchmarks.kept import Kept
from benchmarks.measuring import Measured, can_count_calls, measure
from benchmarks.shape import STEPS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.shape import Peer

LIMIT = float(os.environ.get("LIMIT") or 200)
"""Seconds for one peer at one size."""
PLAN = (
    # where, experiments, workers, rounds
    ("tmpfs", 10, 1, 3),
    ("tmpfs", 100, 1, 3),
    ("tmpfs", 100, 2, 3),
    ("disk", 100, 1, 3),
    ("tmpfs", 1000, 1, 3),
    ("disk", 1000, 1, 3),
    ("tmpfs", 1000, 2, 1),
    ("tmpfs", 10_000, 1, 1),
)
FEW, MORE = 10, 30
"""The sizes between which system calls are counted."""


def wanted(name: str, default: tuple[object, ...]) -> set[str]:
    """What an environment variable asks for: some of the values, or all."""
    return set(os.environ.get(name, "").split(",")) - {""} or {str(one) for one in default}


def chosen() -> list[Peer]:
    """The peers that were asked for: ``ONLY=doit,jug``; the floors and ourselves are always among them."""
    only = wanted("ONLY", tuple(peers.everybody()))
    return [p for p in peers.everybody().values() if p.name in only or p.ours or p.floor]


def blocks() -> Iterator[tuple[str, int, int, int]]:
    """What of the plan was asked for: ``SIZES=10,100 WHERE=tmpfs WORKERS=1 ROUNDS=5``."""
    sizes, places = wanted("SIZES", (10, 100, 1000, 10_000)), wanted("WHERE", ("tmpfs", "disk"))
    workers = wanted("WORKERS", (1, 2))
    for where, experiments, count, rounds in PLAN:
        if str(experiments) in sizes and where in places and str(count) in workers:
            yield where, experiments, count, int(os.environ.get("ROUNDS") or rounds)


def too_slow(kept: Kept, peer: Peer, where: str, experiments: int, workers: int) -> str:
    """Why a size is not tried, by what the next smaller one took; empty when it is."""
    if experiments > peer.most:
        return f"not tried above {peer.most} experiments"
    smaller = experiments // 10
    done = kept.of(peer.name, where, smaller, workers) or kept.of(peer.name, "tmpfs", smaller, 1)
    if not done:
        return ""
    took = min(one.total("wall") for one in done)
    cut = any(one.trouble.startswith("cut off") for one in done)
    return f"{smaller} experiments took {took:.0f} s" if cut or took * 10 > 1.5 * LIMIT else ""


def run(*, again: bool = False) -> None:
    """Measure what has not been measured yet, or, again, what was asked for."""
    kept = Kept("peers")
    for where, experiments, workers, rounds in blocks():
        for number in range(rounds):
            order = chosen()
            random.Random(f"{where} {experiments} {workers} {number}").shuffle(order)
            for peer in order:
                if again or not kept.has((peer.name, where, experiments, workers, STEPS, number)):
                    _once(kept, peer, where, experiments, workers, number)


def _once(kept: Kept, peer: Peer, where: str, experiments: int, workers: int, number: int) -> None:
    what = f"{where}, {experiments} x 3, {workers} worker{'s' if workers > 1 else ''}: {peer.name}"
    if slow := too_slow(kept, peer, where, experiments, workers):
        print(f"-- {what}: skipped, {slow}", flush=True)
        return
    try:
        one = measure(peer, where, experiments, workers, number, limit=LIMIT)
    except NotInstalledError as error:
        print(f"-- {what}: not installed ({error})", flush=True)
        return
    kept.add(one)
    print(f"-- {what}: {figures(one)}", flush=True)


def figures(one: Measured) -> str:
    """A measurement in a line."""
    bad = f"  DOES NOT COUNT: {one.trouble}" if one.trouble else ""
    return f"{one.total('cpu'):.3f} s CPU, {one.total('wall'):.3f} s, {one.total('rss'):.0f} MiB{bad}"


# -- system calls -----------------------------------------------------------------------------------------


def count_calls(*, again: bool = False) -> None:
    """Count the system calls of every peer, at two sizes; ours also with six steps a run."""
    if not can_count_calls():
        print("-- no strace here: system calls are not counted")
        return
    kept = Kept("calls")
    for peer in chosen():
        for experiments in (FEW, MORE):
            for steps in (STEPS, 2 * STEPS) if peer.ours else (STEPS,):
                done = kept.has((peer.name, "tmpfs", experiments, 1, steps, 0))
                if experiments <= peer.most and (again or not done):
                    _count(kept, peer, experiments, steps)


def _count(kept: Kept, peer: Peer, experiments: int, steps: int) -> None:
    try:
        one = measure(peer, "tmpfs", experiments, 1, 0, limit=LIMIT, steps=steps, count_calls=True)
    except NotInstalledError:
        return
    kept.add(one)
    print(
        f"-- {peer.name}, {experiments} x {steps}: {sum(one.calls.values())} system calls {one.trouble}",
        flush=True,
    )


def calls_per_task(kept: Kept, peer: str, names: tuple[str, ...] = ()) -> float | None:
    """System calls a task, of all names or of some: what 20 more experiments of three steps cost, by 60."""
    few, more = kept.of(peer, "tmpfs", FEW), kept.of(peer, "tmpfs", MORE)
    if not few or not more or few[0].trouble or more[0].trouble:
        return None
    return (_sum(more[0], names) - _sum(few[0], names)) / ((MORE - FEW) * 3)


def _sum(one: Measured, names: tuple[str, ...]) -> int:
    return sum(count for name, count in one.calls.items() if not names or name in names)


def calls_of_ours(kept: Kept, peer: str, names: tuple[str, ...] = ()) -> tuple[float, float] | None:
    """Calls a task, and calls a run besides its tasks: from runs of three and of six steps."""
    found = {}
    for steps in (3, 6):
        few, more = (kept.of(peer, "tmpfs", n, 1, steps) for n in (FEW, MORE))
        if not few or not more or few[0].trouble or more[0].trouble:
            return None
        found[steps] = (_sum(more[0], names) - _sum(few[0], names)) / (MORE - FEW)
    per_task = (found[6] - found[3]) / 3
    return per_task, found[3] - 3 * per_task
