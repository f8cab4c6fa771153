"""What a run costs its worker, its host and its child, and what a fork costs by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.figures import Figure, Row, size
from benchmarks.figures.stage import eventually, stage
from benchmarks.peers.floors import IMPORTS

if TYPE_CHECKING:
    import psutil

STEPS = 3
PROFILE = "(a profile)"
FIRST = 20
"""Runs before the measuring begins: imports are paid, and the code is warm."""
FORKS, PAGES = 500, 1000
BARE_FORKS = """
import gc, json, mmap, os, resource, sys
{imports}
shared = mmap.mmap(-1, {pages} * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
if hasattr(mmap, "MADV_NOHUGEPAGE"):
    shared.madvise(mmap.MADV_NOHUGEPAGE)  # a heap of small objects has none either
shared.write(b"x" * len(shared))
gc.freeze()
def write(pages):
    for place in range(0, pages * mmap.PAGESIZE, mmap.PAGESIZE):
        shared[place] = 0
def fork(pages, of_parent):
    child = os.fork()
    if child == 0:
        write(pages)
        os._exit(0)
    os.waitpid(child, 0)
    write(of_parent)
def spent(who):
    usage = resource.getrusage(who)
    return [usage.ru_utime + usage.ru_stime, usage.ru_minflt]
whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
def cost(*pages):
    fork(*pages)
    before = [spent(who) for who in whose]
    for _ in range({forks}):
        fork(*pages)
    after = [spent(who) for who in whose]
    return [[(b - a) / {forks} for a, b in zip(*pair)] for pair in zip(before, after)]
print(json.dumps([cost(0, 0), cost({pages}, 0), cost(0, {pages})]))
"""
"""A program that prints what a fork costs: an idle one, one whose child writes, one whose parent writes."""


class Spent(NamedTuple):
    """What a process has taken."""

    user: float
    system: float
    faults: float
    """Pages that were made, or copied, when they were touched."""

    def less(self, other: Spent, runs: int) -> Spent:
        """What each of some runs has taken since."""
        return Spent(*((mine - theirs) / runs for mine, theirs in zip(self, other, strict=True)))


def _spent(pid: int, *, children: bool = False) -> Spent:
    """What a process, or the children that it has waited for, took; source: proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    faults, user, system = (8, 13, 14) if children else (7, 11, 12)
    tick = os.sysconf("SC_CLK_TCK")
    return Spent(int(fields[user]) / tick, int(fields[system]) / tick, int(fields[faults]))


def _spent_by_process(worker: psutil.Process) -> dict[str, Spent]:
    (fork_server,) = worker.children()
    return {
        "worker": _spent(worker.pid),
        "fork server": _spent(fork_server.pid),
        "child": _spent(fork_server.pid, children=True),
    }


def _row(whose: str, cpu: float, faults: float, more: str = "") -> Row:
    return Row(whose, f"{cpu * 1000:.2f} ms{more}, {faults:.0f} page faults", "", PROFILE)


def profile() -> list[Row]:
    """CPU and page faults of each process for a run of three tasks, by a warm worker, in memory."""
    runs = size("RUNS", 1000)
    with stage() as here:
        for number in range(FIRST):
            here.drop(f"a{number}", steps=STEPS)
        here.settled()
        here.run("ready")
        with here.started("work") as worker:
            eventually(lambda: here.count("Completed") == FIRST)
            before = _spent_by_process(worker)
            for number in range(runs):
                here.drop(f"b{number}", steps=STEPS)
            here.settled()
            here.run("ready")
            eventually(lambda: here.count("Completed") == FIRST + runs)
            after = _spent_by_process(worker)
    rows = []
    of_a_run = {whose: spent.less(before[whose], runs) for whose, spent in after.items()}
    for whose, (user, system, faults) in of_a_run.items():
        kinds = f" ({user * 1000:.2f} user, {system * 1000:.2f} system)"
        rows.append(_row(f"of a run of {STEPS} tasks: its {whose}", user + system, faults, kinds))
    script = BARE_FORKS.format(imports=IMPORTS, forks=FORKS, pages=PAGES)
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    empty, by_child, by_parent = json.loads(done.stdout)
    parts = {"an empty fork": empty[0][0] + empty[1][0]}
    for whose, which, wrote, role in (
        ("parent", 0, by_parent, "fork server"),
        ("child", 1, by_child, "child"),
    ):
        (cpu, faults), (more, many) = empty[which], wrote[which]
        rows.append(_row(f"of a fork that does nothing: its {whose}", cpu, faults))
        each = (more - cpu) / (many - faults)
        rows.append(
            Row(f"of a page written to after a fork, by its {whose}", f"{each * 1e6:.1f} µs", "", PROFILE)
        )
        pages = of_a_run[role].faults - faults
        parts[f"the {pages:.0f} pages more that its {role} writes to"] = pages * each
    whole = sum(user + system for user, system, _ in of_a_run.values())
    parts["everything else"] = whole - sum(parts.values())
    made_of = ", ".join(f"{cpu * 1000:.2f} ms {what}" for what, cpu in parts.items())
    rows.append(
        Row(f"of a run of {STEPS} tasks: all its processes", f"{whole * 1000:.2f} ms", made_of, PROFILE)
    )
    return rows


FIGURES: dict[str, Figure] = {"profile": profile}
