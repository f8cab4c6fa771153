"""What a task and a run cost, from what was measured side by side."""

from __future__ import annotations

from benchmarks.figures import Figure, Row, bound_row, ratio_row
from benchmarks.kept import Kept
from benchmarks.peers import everybody
from benchmarks.shape import STEPS
from benchmarks.side_by_side import calls_of_ours, calls_per_task

OURS, FIRST = "job_orchestration", "first release (0.0.7)"
BARE, JOURNAL, FORK = "bare loop", "loop + journal", "loop + journal + fork"
SYNCS = ("fsync", "fdatasync", "sync_file_range", "msync", "syncfs", "sync")
OF_A_RUN = "what it is made of is shown above: a process for each run, the memory that it shares, and Python"
AS_ABOVE = {
    "task": "it does less (see the side-by-side table); ours is as shown above, and `ready`",
    "run": "it does less (see the side-by-side table); ours is as shown above, and `ready`",
    "no": "it has no process for a run and syncs nothing; ours is as shown above, and `ready`",
}
OF_STARTS = "nearly all of ours is the start of `ready`, of a worker and of their hosts"
SYNCED = 4
"""Syncs of an experiment of three steps in the loop with a journal."""


def per_task(
    kept: Kept, peer: str, where: str, size: int, base: int | None = None, phase: str | None = None
) -> float | None:
    """CPU milliseconds a task over the bare loop.

    Args:
        kept: what was measured.
        peer: of whom.
        where: in which place.
        size: how many experiments.
        base: a smaller size whose cost is taken off, so that what is paid once (imports) is left out.
        phase: one phase alone.
    """
    found = []
    for name, part in ((peer, phase), (BARE, None)):
        cost = kept.median(name, "cpu", where, size, phase=part)
        less = kept.median(name, "cpu", where, base, phase=part) if base else 0.0
        if cost is None or less is None:
            return None
        found.append((cost - less) / ((size - (base or 0)) * STEPS) * 1000)
    return found[0] - found[1]


def of_a_task() -> list[Row]:
    """CPU a task, against the floor, the first release and everybody who gives a run a process."""
    kept = Kept("peers")
    rows = []
    warm = per_task(kept, OURS, "tmpfs", 1000, 10, "work")
    floor = per_task(kept, FORK, "tmpfs", 1000, 10)
    if warm is not None and floor is not None:
        what = "CPU a task over the bare loop, warm worker, N = 1,000, tmpfs"
        rows.append(ratio_row(what, warm, floor, "ms", 1.5, FORK, OF_A_RUN))
    limits = {FIRST: 1 / 3}
    limits |= {
        p.name: 1 / 5 for p in everybody().values() if p.process != "no" and not p.ours and not p.floor
    }
    for name, most in limits.items():
        for size in (1000, 100, 10):  # the largest that they do in the time that there is
            whole, theirs = (per_task(kept, whose, "tmpfs", size) for whose in (OURS, name))
            if whole is not None and theirs is not None:
                what = f"the same with `ready` and every start, N = {size:,}"
                why = OF_STARTS if size == 10 else AS_ABOVE[everybody()[name].process]
                rows.append(ratio_row(what, whole, theirs, "ms", most, name, why))
                break
    return rows


def of_calls() -> list[Row]:
    """System calls and fsyncs."""
    kept = Kept("calls")
    rows = []
    syncs = calls_of_ours(kept, OURS, SYNCS)
    if syncs is not None:
        rows += [
            bound_row(
                "fsyncs a task (one small file outside the store)", syncs[0], 1, "", "the checkpoint itself"
            ),
            bound_row("fsyncs a run besides, ready included", syncs[1], 5, "", _first(kept, SYNCS)),
        ]
    calls = calls_per_task(kept, OURS)
    if calls is not None:
        rows.append(
            bound_row(
                "system calls a task, its share of the run and of ready included",
                calls,
                60,
                "",
                _first(kept),
                "shown above by process; more than half of them are stat, open and close",
            )
        )
    alone = calls_of_ours(kept, OURS)
    if alone is not None:
        rows.append(
            Row(
                "system calls a task / a run besides",
                f"{alone[0]:.0f} / {alone[1]:.0f}",
                "",
                "as few as can be",
            )
        )
    return rows


def _first(kept: Kept, names: tuple[str, ...] = ()) -> str:
    theirs = calls_per_task(kept, FIRST, names)
    return "" if theirs is None else f"{theirs:.0f} ({FIRST}, a task)"


def on_the_disk() -> list[Row]:
    """Everything, wall time, against a loop that makes each step durable."""
    kept = Kept("peers")
    rows = []
    for size in (1000, 100):
        floor = kept.median(JOURNAL, "wall", "disk", size)
        for name, most in ((OURS, 2.0), (FIRST, None)):
            total = kept.median(name, "wall", "disk", size)
            if total is None or floor is None:
                continue
            what = f"total on the disk, N = {size:,}" + ("" if most else f": {name}")
            row = ratio_row(what, total, floor, "s", most or 1e9, JOURNAL, _of_the_disk(kept, size, floor))
            rows.append(row if most else Row(what, row.ours, row.yardstick, "(to compare)", row.ratio))
    return rows


def _of_the_disk(kept: Kept, size: int, floor: float) -> str:
    """How much of it is the disk."""
    bare, forking = (kept.median(name, "wall", "disk", size) for name in (BARE, FORK))
    cpu = kept.median(OURS, "cpu", "disk", size)
    if bare is None or forking is None or cpu is None:
        return ""
    sync = (floor - bare) / (size * SYNCED)
    return (
        f"{cpu:.1f} s of ours are CPU, as shown above; a sync of this disk takes but {sync * 1000:.2f} ms,"
        f" and a process for each run alone makes the loop {forking / floor:.1f} times as long"
    )


def growth() -> list[Row]:
    """A task's cost among 10,000 experiments against its cost among 100."""
    kept = Kept("peers")
    few, many = (per_task(kept, OURS, "tmpfs", size, 10) for size in (100, 10_000))
    if few is None or many is None:
        return []
    return [ratio_row("CPU a task at N = 10,000", many, few, "ms", 1.15, "at N = 100")]


FIGURES: dict[str, Figure] = {}
LOOKED_UP = (of_a_task, of_calls, on_the_disk, growth)
"""Not measured by themselves: `side_by_side` has done that."""
