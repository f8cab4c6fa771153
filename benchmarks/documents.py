"""Print the tables, and put them between the marks of docs/performance.md and of the README."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

from benchmarks.environments import fault_of
from benchmarks.figures import Row, figures, kept
from benchmarks.figures.cost import BARE, FIRST, JOURNAL, LOOKED_UP, OURS, SYNCS, per_task
from benchmarks.kept import Kept, today
from benchmarks.peers import everybody
from benchmarks.places import DISK, TOP
from benchmarks.shape import STEPS, Peer
from benchmarks.side_by_side import calls_per_task
from job_orchestration.workspace import lock_probe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PERFORMANCE = TOP / "docs" / "performance.md"
README = TOP / "README.md"
BEGIN, END = "<!-- measured -->", "<!-- end of measured -->"
SIZES = (10, 100, 1000, 10_000)


def write() -> str:
    """Put what is known into the documents; returns it as it is printed."""
    parts = (machine(), _figures(), _peers(), _growth(), _disk(), _two_workers(), _missing())
    text = "\n\n".join(parts)
    _put(PERFORMANCE, text)
    short = _short()
    if short:
        _put(README, short)
    return text


def _put(path: os.PathLike[str], text: str) -> None:
    with open(path, encoding="utf-8") as file:
        before = file.read()
    if BEGIN not in before:
        return
    head, _, rest = before.partition(BEGIN)
    tail = rest.partition(END)[2]
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{head}{BEGIN}\n{text.strip()}\n{END}{tail}")


def machine() -> str:
    """The machine, without its name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = ".".join(platform.release().split("-")[0].split(".")[:2])
    cores = f"{os.cpu_count()} cores ({platform.machine()})"
    system = f"{platform.system()} {kernel}, Python {platform.python_version()}"
    kind, _ = lock_probe.mounted(
        lock_probe.mounts(), lock_probe.device_of(str(DISK if DISK.is_dir() else TOP))
    )
    return f"{today()}: {cores}, {memory:.0f} GiB, {system}. The disk is {kind or 'of a kind not known'}."


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def rows_of_figures() -> list[Row]:
    """Every row that is known."""
    rows = [row for look_up in LOOKED_UP for row in look_up()]
    for name in figures():
        rows += kept(name) or [Row(f"`{name}`", "not measured yet", "", "")]
    return rows


def _figures() -> str:
    lines = [
        (r.what, r.ours, r.yardstick, "" if r.ratio is None else f"{r.ratio:.2f}", r.wanted, _said(r))
        for r in rows_of_figures()
    ]
    head = ("what", "ours", "yardstick", "ratio", "wanted", "")
    return f"### The figures\n\n{table(head, lines)}"


def _said(row: Row) -> str:
    if row.reached is None:
        return ""
    return "reached" if row.reached else ": ".join(filter(None, ("**not reached**", row.why)))


def _value(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _peers() -> str:
    side, calls = Kept("peers"), Kept("calls")
    lines = []
    for peer in everybody().values():
        at = next((n for n in (1000, 100, 10) if side.median(peer.name, "cpu", "tmpfs", n) is not None), 10)
        cost = per_task(side, peer.name, "tmpfs", at)
        if cost is None:
            continue
        wall = side.median(peer.name, "wall", "tmpfs", at)
        less = side.median(BARE, "wall", "tmpfs", at) or 0.0
        lines.append((cost, _peer_line(peer, at, side, calls, cost, None if wall is None else wall - less)))
    ours = ("", "N", "CPU ms a task", "wall ms a task", "x first release", "largest process, MiB")
    head = (*ours, "system calls a task", "fsyncs a task", "a process for", "durable", "what it does not do")
    ordered = [line for _, line in sorted(lines, key=lambda pair: pair[0])]
    said = f"{STEPS} steps each, one worker, in memory; over the bare loop, starts and submitting included."
    return f"### Side by side\n\n{said}\n\n{table(head, ordered)}"


def _peer_line(
    peer: Peer, at: int, side: Kept, calls: Kept, cost: float, wall: float | None
) -> tuple[str, ...]:
    first = per_task(side, FIRST, "tmpfs", at)
    name = f"**{peer.name}**" if peer.ours and not peer.floor else peer.name
    return (
        name,
        f"{at:,}",
        f"{cost:.3f}",
        "" if wall is None else f"{wall / (at * STEPS) * 1000:.3f}",
        "" if not first else f"{cost / first:.2f}",
        _value(side.median(peer.name, "rss", "tmpfs", at), ".0f"),
        _value(calls_per_task(calls, peer.name), ".0f"),
        _value(calls_per_task(calls, peer.name, SYNCS), ".1f"),
        {"no": "none", "run": "each run", "task": "each task"}[peer.process],
        "yes" if peer.durable else "no",
        peer.lacks or "nothing of this",
    )


def _growth() -> str:
    side = Kept("peers")
    lines = []
    for name in everybody():
        costs = [per_task(side, name, "tmpfs", n) for n in SIZES]
        if any(cost is not None for cost in costs):
            lines.append((name, *(_value(cost, ".3f") for cost in costs)))
    head = ("CPU ms a task over the bare loop", *(f"N = {n:,}" for n in SIZES))
    return f"### Growth\n\n{table(head, lines)}"


def _disk() -> str:
    side = Kept("peers")
    lines = []
    for name in everybody():
        totals = [side.median(name, "wall", "disk", n) for n in (100, 1000)]
        floors = [side.median(JOURNAL, "wall", "disk", n) for n in (100, 1000)]
        if any(total is not None for total in totals):
            ratios = [None if not t or not f else t / f for t, f in zip(totals, floors, strict=True)]
            pairs = zip(totals, ratios, strict=True)
            lines.append((name, *(_value(v, ".2f") for pair in pairs for v in pair)))
    head = ("on the disk, one worker", "N = 100, s", "x loop + journal", "N = 1,000, s", "x loop + journal")
    return f"### On the disk\n\n{table(head, lines)}"


def _two_workers() -> str:
    side = Kept("peers")
    lines = []
    for name in everybody():
        found = []
        for n in (100, 1000):
            one, two = (side.median(name, "wall", "tmpfs", n, workers) for workers in (1, 2))
            found.append("" if not one or not two else f"{one / two:.2f}")
        if any(found):
            lines.append((name, *found))
    return "### Two workers\n\n" + table(("times as quick as one worker", "N = 100", "N = 1,000"), lines)


def _missing() -> str:
    lines = []
    for peer in everybody().values():
        if fault := fault_of(peer):
            lines.append(f"- not installed: {peer.name}")
            print(f"{peer.name}: {fault}")
    for one in Kept("peers"):
        if one.trouble and one.round == 0:
            what = f"{one.peer}, {one.where}, N = {one.experiments:,}, {one.workers} worker(s)"
            lines.append(f"- does not count: {what}: {one.trouble.split(' (')[0]}")
    return "### What is missing\n\n" + ("\n".join(lines) or "Nothing.")


def _short() -> str:
    """The few figures that a reader of the README wants; empty before they are known."""
    side = Kept("peers")
    lines = []
    for peer in everybody().values():
        cost = per_task(side, peer.name, "tmpfs", 1000)
        if cost is not None and peer.name not in {BARE, "loop + replaced file", "huey, fsync"}:
            name = f"**{peer.name}**" if peer.name == OURS else peer.name
            process = {"no": "no", "run": "each run", "task": "each task"}[peer.process]
            lines.append((cost, (name, f"{cost:.2f} ms", process, "yes" if peer.durable else "no")))
    if not any(OURS in line[0] for _, line in lines):
        return ""
    head = ("", "CPU a task", "own process", "survives a power cut")
    return table(head, [line for _, line in sorted(lines)])
