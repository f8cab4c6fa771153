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
FIRST = 20
"""Runs before the measuring begins: imports are paid, and the code is warm."""
EMPTY_FORKS = """
import gc, json, os, resource, sys
{imports}
gc.freeze()
def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
for _ in range(20):
    fork()
def spent(who):
    usage = resource.getrusage(who)
    return [usage.ru_utime + usage.ru_stime, usage.ru_minflt]
whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
before = [spent(who) for who in whose]
for _ in range({forks}):
    fork()
after = [spent(who) for who in whose]
print(json.dumps([[b - a for a, b in zip(*pair)] for pair in zip(before, after)]))
"""


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


def _shares(worker: psutil.Process) -> dict[str, Spent]:
    (host,) = worker.children()
    return {
        "worker": _spent(worker.pid),
        "host": _spent(host.pid),
        "child": _spent(host.pid, children=True),
    }


def _row(whose: str, cpu: float, faults: float, more: str = "") -> Row:
    return Row(whose, f"{cpu * 1000:.2f} ms{more}, {faults:.0f} page faults", "", "(a profile)")


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
            before = _shares(worker)
            for number in range(runs):
                here.drop(f"b{number}", steps=STEPS)
            here.settled()
            here.run("ready")
            eventually(lambda: here.count("Completed") == FIRST + runs)
            after = _shares(worker)
    rows = []
    for whose, spent in after.items():
        user, system, faults = spent.less(before[whose], runs)
        kinds = f" ({user * 1000:.2f} user, {system * 1000:.2f} system)"
        rows.append(_row(f"of a run of {STEPS} tasks: its {whose}", user + system, faults, kinds))
    forks = 500
    script = EMPTY_FORKS.format(imports=IMPORTS, forks=forks)
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    parent, child = json.loads(done.stdout)
    for whose, (cpu, faults) in (("parent", parent), ("child", child)):
        rows.append(_row(f"of a fork that does nothing: its {whose}", cpu / forks, faults / forks))
    return rows


FIGURES: dict[str, Figure] = {"profile": profile}
