"""Running a peer once: what each of its phases costs, and whether the work was really done."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import environments
from benchmarks.places import TOP, space
from benchmarks.shape import Job, Peer, Phase, emptied, trouble

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

METER = Path(__file__).with_name("meter.py")


@dataclass(frozen=True)
class Cost:
    """What some commands and all their descendants cost."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds of processors, user and system."""
    rss: float
    """MiB of the largest process."""
    code: int = 0
    ended: str = "itself"
    """``itself``, ``done`` or ``limit``."""


@dataclass(frozen=True)
class Measured:
    """One run of one peer."""

    peer: str
    where: str
    experiments: int
    workers: int
    steps: int
    round: int
    phases: Mapping[str, Cost]
    trouble: str = ""
    """Why it does not count; empty when it does."""
    calls: Mapping[str, int] = field(default_factory=dict)
    """How often each system call was made, when they were counted."""

    @property
    def key(self) -> tuple[str, str, int, int, int, int]:
        """What was measured."""
        return (self.peer, self.where, self.experiments, self.workers, self.steps, self.round)

    def total(self, what: str) -> float:
        """The sum over the phases of ``wall`` or ``cpu``; of ``rss`` the most."""
        values: list[float] = [getattr(cost, what) for cost in self.phases.values()]
        return max(values) if what == "rss" else sum(values)

    def as_json(self) -> dict[str, object]:
        """The line that is kept of it."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: dict[str, object]) -> Measured:
        """The same from the line."""
        phases = kept.pop("phases")
        assert isinstance(phases, dict)
        return cls(phases={name: Cost(**cost) for name, cost in phases.items()}, **kept)  # type: ignore[arg-type]


def environment_for(
    programs: Path, more: Mapping[str, str] | None = None, *, ours: bool = False
) -> dict[str, str]:
    """What measured commands find in their environment: little, and nothing of the tester's own settings."""
    path = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    base = {"PATH": path, "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8", "NO_COLOR": "1"}
    return {**base, **({"PYTHONPATH": str(TOP)} if ours else {}), **(more or {})}


def cost_of(
    commands: Sequence[Sequence[str]],
    folder: Path,
    environment: Mapping[str, str],
    *,
    limit: float = 600,
    typed: str = "",
    until: Mapping[str, object] | None = None,
) -> Cost:
    """Run commands side by side, and measure them."""
    plan = {
        "commands": [list(words) for words in commands],
        "cwd": str(folder),
        "env": dict(environment),
        "limit": limit,
        "output": str(folder / "printed"),
        "input": typed,
        "until": until,
    }
    file = folder / "plan.json"
    file.write_text(json.dumps(plan))
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(METER), str(file)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=limit + 60,
    )
    return Cost(**json.loads(done.stdout))


def measure(
    peer: Peer,
    where: str,
    experiments: int,
    workers: int,
    number: int,
    *,
    limit: float,
    steps: int = 3,
    count_calls: bool = False,
) -> Measured:
    """Run a peer once, from an empty folder to all outputs.

    Raises:
        NotInstalledError: when it cannot be had here.
    """
    programs = environments.programs_of(peer)
    with space(where) as parent:
        job = Job(emptied(parent / "j"), programs, experiments, workers, steps)
        costs: dict[str, Cost] = {}
        calls: Counter[str] = Counter()
        wrong = ""
        for phase in peer.phases(job):
            commands = phase.commands
            counted = [str(parent / f"calls{n}") for n in range(len(commands))]
            if count_calls:
                commands = [traced(words, file) for words, file in zip(commands, counted, strict=True)]
            cost = cost_of(
                commands,
                job.folder,
                environment_for(programs, phase.environment, ours=peer.ours),
                limit=limit,
                typed=phase.typed,
                until=_until(peer, job, phase),
            )
            costs[phase.name] = cost
            if count_calls:
                calls.update(sum((calls_in(Path(file)) for file in counted), Counter()))
            if cost.ended == "limit":
                wrong = f"cut off after {limit:g} s"
                break
        wrong = wrong or trouble(job, peer.out)
        if wrong:
            wrong += said(job.folder / "printed", costs)
    return Measured(peer.name, where, experiments, workers, steps, number, costs, wrong, dict(calls))


def _until(peer: Peer, job: Job, phase: Phase) -> dict[str, object] | None:
    if not phase.stays:
        return None
    folder = job.folder / peer.out
    last = folder / job.names[-1] / f"{job.steps}.txt"
    return {"folder": str(folder), "files": job.experiments * job.steps, "last": str(last)}


def said(printed: Path, costs: Mapping[str, Cost]) -> str:
    """What went wrong in the words of a peer that failed."""
    if not any(cost.code for cost in costs.values()) or not printed.exists():
        return ""
    lines = [line for line in printed.read_text(errors="replace").splitlines() if line.strip()]
    return f" ({lines[-1].strip()[:200]})" if lines else ""


# -- system calls -----------------------------------------------------------------------------------------


def can_count_calls() -> bool:
    """Whether there is a tracer."""
    return shutil.which("strace") is not None


def traced(words: Sequence[str], file: str) -> list[str]:
    """A command with all its descendants under a tracer that counts."""
    return ["strace", "-f", "-qq", "-c", "-o", file, *words]


def calls_in(file: Path) -> Counter[str]:
    """The counts that the tracer wrote."""
    found: Counter[str] = Counter()
    if not file.exists():
        return found
    for line in file.read_text().splitlines():
        match = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?([a-z]\w+)$", line)
        if match and match[2] != "total":
            found[match[2]] += int(match[1])
    return found
