"""Kills at random, and what must hold all the same."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

import job_orchestration
from tests.faults.storm import Storm, members

PACKAGE = Path(job_orchestration.__file__).parent


def rage(storm: Storm, kills: int, limit: float) -> list[str]:
    storm.prepare()
    storm.rage(workers=4, kills=kills, limit=limit)
    findings = storm.findings()
    print(f"{storm.runs} runs x 3 tasks, kills: {dict(storm.kills)}, findings: {findings[:5]}")
    return findings


@pytest.mark.timeout(600)
def test_nothing_is_lost_doubled_or_left_behind_by_a_hundred_kills(tmp_path: Path) -> None:
    storm = Storm(tmp_path, runs=200, seconds=0.25, seed=2)
    assert rage(storm, kills=100, limit=500) == []
    assert sum(storm.kills.values()) >= 100
    assert {"worker", "host", "child"} <= set(storm.kills)


@pytest.mark.soak
@pytest.mark.timeout(6000)
def test_nothing_is_lost_doubled_or_left_behind_by_a_thousand_kills(tmp_path: Path) -> None:
    storm = Storm(tmp_path, runs=2000, seconds=0.25, seed=3)
    assert rage(storm, kills=1000, limit=5000) == []
    assert sum(storm.kills.values()) >= 1000


def mutated(folder: Path, file: str, old: str, new: str) -> Path:
    """A copy of the package with one line of it broken."""
    copy = folder / "mutant"
    shutil.copytree(PACKAGE, copy / "job_orchestration", ignore=shutil.ignore_patterns("__pycache__"))
    path = copy / "job_orchestration" / file
    text = path.read_text()
    assert text.count(old) == 1, "the line to be broken has changed"
    path.write_text(text.replace(old, new))
    return copy


def sleeping_host_outlives_its_worker(storm: Storm) -> bool:
    """Kill a worker while its host sleeps: whether a second one starts the run before the child is gone."""
    storm.prepare()
    storm.start_worker()
    wait_for(storm.events.read_bytes, "no task began")
    first = members(storm.workers[0].pid)
    os.kill(first["host"][0], signal.SIGSTOP)
    storm.workers[0].kill()
    storm.workers[0].wait()
    storm.start_worker()
    try:
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            pids = {line.split()[4] for line in storm.events.read_text().splitlines()}
            if len(pids) > 1:
                return True
            time.sleep(0.02)
        return False
    finally:
        os.kill(first["host"][0], signal.SIGCONT)


def wait_for(condition, why: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, why
        time.sleep(0.02)


def test_a_run_is_not_taken_over_while_its_child_lives(tmp_path: Path) -> None:
    storm = Storm(tmp_path, runs=1, seconds=6)
    try:
        assert not sleeping_host_outlives_its_worker(storm)
        wait_for(lambda: storm.completed() == 1, "the run did not go on after the host woke up")
    finally:
        storm.end()
    assert storm.findings() == []


def test_the_same_fails_when_the_lock_is_not_sent_to_the_host(tmp_path: Path) -> None:
    mutant = mutated(
        tmp_path,
        "engine/worker.py",
        "(claim.descriptor, claim.journal.descriptor)",
        "(os.open(claim.path, os.O_RDWR), claim.journal.descriptor)",
    )
    storm = Storm(tmp_path, runs=1, seconds=6, package=mutant)
    try:
        assert sleeping_host_outlives_its_worker(storm), "the mutant was not caught"
    finally:
        storm.end()
