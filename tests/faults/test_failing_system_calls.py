"""F5: the same at the level of system calls, where nothing that the product believes of itself can mislead.

`strace` kills a process at one of its calls, or has that call fail. One clean go tells which calls concern
the workspace; each of those is a point. Calls are counted in each process on its own, so a point may hit
several of a family: the worker, its host and a child.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import psutil
import pytest

from tests.faults import promises, scenarios
from tests.faults.command_processes import Stage
from tests.faults.figures import figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

CALLS = ("rename", "fsync", "fdatasync", "mkdir", "flock", "write", "unlink", "openat", "linkat")
BYTECODE = "/Misc/bytecode/"
"""What hosts import, which is opened by the hundred and may be missing at any time."""
KILL = "signal=KILL"
FAULTS = (KILL, "error=ENOSPC", "error=EIO")
LIMIT = 30.0
"""Seconds after which a traced command counts as hung; it takes about two."""
ENOUGH = 3
"""Times that one fault is met: each new child meets it again, and a worker goes on trying for as long."""
SHORT = 35.0
"""Seconds that the short form goes on taking samples."""

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed (apt-get install strace)"
)


class Point(NamedTuple):
    """One fault."""

    command: str
    call: str
    number: int
    """Which call of this name, in each process."""
    fault: str


def to_work(stage: Stage) -> None:
    """One run of two tasks waits."""
    scenarios.made_once(stage, f"maxAttempts: 100\n{scenarios.RUN}", ("ready",))


COMMANDS: dict[str, tuple[Callable[[Stage], None], tuple[str, ...]]] = {
    "work": (to_work, scenarios.WORK),
    "ready": (scenarios.dropped, ("ready",)),
}


def traced(stage: Stage, words: tuple[str, ...], *options: str) -> None:
    """Run a command under strace, until it has ended or met its fault often enough.

    What it started has ended too then: strace waits for all, and what still runs is killed as a whole.
    """
    command = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", str(stage.folder / "trace"), *options]
    with (stage.folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [*command, sys.executable, "-m", "job_orchestration", *words],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd=stage.folder,
            start_new_session=True,
            env=stage.environment(faulty=False),
        )
    deadline = time.monotonic() + LIMIT
    try:
        while process.poll() is None and faults_in(stage) < ENOUGH:
            assert time.monotonic() < deadline, f"{words} hung for {LIMIT:g} s"
            time.sleep(0.02)
    finally:
        while process.poll() is None:  # strace last: without it they would run on
            for pid in family(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)


def family(pid: int) -> list[int]:
    """The descendants of a process."""
    with suppress(psutil.NoSuchProcess):
        return [p.pid for p in psutil.Process(pid).children(recursive=True)]
    return []


def faults_in(stage: Stage) -> int:
    """How many calls have met the fault so far."""
    with suppress(FileNotFoundError):
        trace = (stage.folder / "trace").read_bytes()
        return trace.count(b"(INJECTED)") + trace.count(b"+++ killed by SIGKILL")
    return 0


def points(stage: Stage, command: str) -> list[Point]:
    """Every fault at every call of a command that concerns the workspace."""
    prepare, words = COMMANDS[command]
    prepare(stage)
    traced(stage, words, "-y", "-e", f"trace={','.join(CALLS)}")
    counts: Counter[tuple[str, str]] = Counter()
    found: dict[tuple[str, int], None] = {}
    for line in (stage.folder / "trace").read_text(errors="replace").splitlines():
        begun = re.match(r"(\d+) +(\w+)\(", line)
        if begun is None or begun[2] not in CALLS:
            continue
        counts[begun[1], begun[2]] += 1
        if str(stage.workspace) in line and BYTECODE not in line:
            found[begun[2], counts[begun[1], begun[2]]] = None
    return [Point(command, call, number, fault) for call, number in found for fault in FAULTS]


def played(stage: Stage, point: Point) -> list[str]:
    """Have one point meet its fault, and recover; returns what is wrong then."""
    prepare, words = COMMANDS[point.command]
    prepare(stage)
    inject = f"inject={point.call}:{point.fault}:when={point.number}"
    try:
        traced(stage, words, "-e", f"trace={point.call}", "-e", inject)
        acknowledged = {
            ("a", task): result
            for task, result in promises.finished(stage.workspace / "Output" / "a").items()
        }
        scenarios.go_on(stage)
    except AssertionError as error:
        return [f"{point}: {error}"]
    found = promises.violations(stage.workspace, {"a": "Completed"}, acknowledged)
    return [f"{point}: {what}" for what in found]


def violations(stage: Stage, chosen: Iterable[Point]) -> list[str]:
    """Play points, and tell the figures."""
    wrong: list[str] = []
    number = 0
    started = time.monotonic()
    for point in chosen:
        number += 1
        wrong += played(stage, point)
    figure("F5", "system calls failed / findings", f"{number} / {len(wrong)}")
    print(*wrong, f"({time.monotonic() - started:.0f} s)", sep="\n")
    return wrong


def sample(every: list[Point], seconds: float) -> Iterator[Point]:
    """Points at random until the time is over, each call and each fault as often as every other."""
    chance = random.Random(5)
    deadline = time.monotonic() + seconds
    by_kind: dict[tuple[str, str, str], list[Point]] = {}
    for point in every:
        by_kind.setdefault((point.call, point.fault, point.command), []).append(point)
    while True:
        for kind in chance.sample(sorted(by_kind), len(by_kind)):
            if time.monotonic() > deadline:
                return
            yield chance.choice(by_kind[kind])


@pytest.mark.slow
@needs_strace
def test_no_system_call_that_dies_or_fails_loses_or_doubles_anything(folder: Path) -> None:
    stage = Stage(folder)
    every = [point for command in COMMANDS for point in points(stage, command)]
    assert {point.call for point in every} >= {"rename", "fsync", "fdatasync", "flock", "write", "linkat"}
    assert violations(stage, sample(every, SHORT)) == []


@pytest.mark.soak
@pytest.mark.timeout(7200)
@needs_strace
@pytest.mark.parametrize("command", COMMANDS)
def test_every_system_call_that_dies_or_fails(command: str, folder: Path) -> None:
    stage = Stage(folder)
    every = points(stage, command)
    figure("F5", f"{command}: points", len(every))
    assert violations(stage, every) == []
