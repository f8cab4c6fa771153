"""One member is killed, of a kind that was chosen: the others know what to do, and the journal knows why."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.figures import figure
from tests.faults.storm import Storm, members

KINDS = ("worker", "host", "child", "grandchild")
TICK = 0.02
"""Seconds between two looks. Time is counted in these: while the machine stands still, so does everybody."""
GONE_WITHIN = round(2 / TICK)
"""Looks within which the kin of a victim must be gone."""


class Blow(NamedTuple):
    """One kill and those who must not outlive it."""

    worker: int
    kind: str
    kin: list[tuple[int, int]]
    looks: int = 0


def birth(pid: int) -> int | None:
    """When a living process began; with its number that is who it is. `None` for the dead."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    return None


class Duel(Storm):
    """A storm that strikes one family at a time, and looks whether those who must go with the victim do."""

    def __init__(self, folder: Path, *, each: int, runs: int, seed: int) -> None:
        super().__init__(folder, runs=runs, seconds=0.3, orphans=1, seed=seed)
        self.each = each
        self.open: list[Blow] = []
        self.outlived: list[str] = []
        self.slowest: Counter[str] = Counter()

    def fight(self, *, workers: int, limit: float) -> None:
        """Kill so many of each kind, and have all runs done."""
        for _ in range(workers):
            self.start_worker()
        deadline = time.monotonic() + limit
        while (done := self.completed()) < self.runs:
            assert time.monotonic() < deadline, f"not done in time: {done} of {self.runs} runs"
            time.sleep(TICK)
            self.look()
            if self.blows < 4 * self.each and self.blows <= 4.4 * self.each * done / self.runs + workers:
                self.strike_one()
            self.replace()
        while self.open:
            time.sleep(TICK)
            self.look()
        self.end()

    def strike_one(self) -> None:
        """Kill one member of a family that was not struck lately, of the kind that was killed least."""
        (kind, _) = min(((k, self.kills[k]) for k in KINDS), key=lambda found: found[1])
        struck = {blow.worker for blow in self.open}
        families = [members(w.pid) for w in self.workers if w.pid not in struck]
        families = [family for family in families if family["child"] and family[kind]]
        if not families:
            return
        family = self.random.choice(families)
        victim = self.random.choice(family[kind])
        below = [pid for k in KINDS[KINDS.index(kind) + 1 :] for pid in family[k]]
        kin = [(pid, born) for pid in below if (born := birth(pid)) is not None]
        self.kill(kind, victim)
        if kind == "child":
            self.struck_children.append(victim)
        self.open.append(Blow(family["worker"][0], kind, kin))

    def look(self) -> None:
        """See who of the kin is still there."""
        still = []
        for blow in self.open:
            left = [pid for pid, born in blow.kin if birth(pid) == born]
            if not left:
                self.slowest[blow.kind] = max(self.slowest[blow.kind], blow.looks)
            elif blow.looks >= GONE_WITHIN:
                self.outlived += [f"{pid} outlived the {blow.kind} by 2 s" for pid in left]
            else:
                still.append(blow._replace(looks=blow.looks + 1))
        self.open = still

    def wrong_outcomes(self) -> list[str]:
        """A killed child is a failed try, and says why; a killed host or worker is none."""
        evidence = self.evidence()
        found = []
        total = 0
        for run, lines in evidence.journals.items():
            executions = evidence.executions(run)
            for number, events in lines.items():
                failed = [e for e in events if e["event"] == "task_failed"]
                total += len(failed)
                found += [f"{run}: {e}" for e in failed if not is_kill(e)]
                mine = [e for e in executions if e.attempt == number and e.pid in self.struck_children]
                untold = Counter(e.task for e in mine if not e.ended) - Counter(e["task"] for e in failed)
                found += [f"{run}: attempt {number} does not tell that {task} was killed" for task in untold]
        if total > self.kills["child"]:
            found.append(f"{total} failed tries by {self.kills['child']} killed children")
        return found


def is_kill(event: dict) -> bool:
    """Whether a `task_failed` tells of a child that was killed from outside."""
    return event["outcome"] == "crash" and event["error"].startswith("SIGKILL")


def fight(folder: Path, *, each: int, runs: int, seed: int, limit: float) -> None:
    duel = Duel(folder, each=each, runs=runs, seed=seed)
    duel.prepare()
    began = time.monotonic()
    try:
        duel.fight(workers=6, limit=limit)
        violations = duel.violations()
    finally:
        for worker in duel.workers:
            worker.kill()
    wrong = duel.wrong_outcomes()
    figure("F3", "kills", dict(duel.kills))
    figure("F3", "findings", f"{len(violations)} in {time.monotonic() - began:.0f} s")
    figure("F3", "wrong outcomes in the journal", len(wrong))
    figure("F3", "processes left 2 s later", len(duel.outlived))
    slowest = {kind: f"{looks * TICK:.2f} s" for kind, looks in duel.slowest.items()}
    figure("F3", "slowest to be gone, by whose death it was", slowest)
    assert violations == []
    assert duel.outlived == []
    assert wrong == []
    assert all(duel.kills[kind] >= each for kind in KINDS)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_kind_of_member_is_killed_fifty_times_and_the_others_do_what_is_right(tmp_path: Path) -> None:
    fight(tmp_path, each=50, runs=100, seed=6, limit=500)


@pytest.mark.soak
@pytest.mark.timeout(2 * 3600)
def test_each_kind_of_member_is_killed_five_hundred_times(tmp_path: Path) -> None:
    fight(tmp_path, each=500, runs=1000, seed=7, limit=7000)
