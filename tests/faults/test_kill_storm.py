"""Kills at random, and what must hold all the same."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults import storm as storms
from tests.faults.figures import figure
from tests.faults.storm import Storm, members
from tests.integration.harness import mutant

if TYPE_CHECKING:
    from pathlib import Path


def rage(storm: Storm, *, kills: int, limit: float, workers: int = 4, weather=storms.KILLS, between=0.05):
    """One storm; returns what did not hold."""
    storm.prepare()
    began = time.monotonic()
    try:
        storm.rage(workers=workers, blows=kills, limit=limit, weather=weather, between=between)
        violations = storm.violations()
    finally:
        for worker in storm.workers:
            worker.kill()
    what = f"{storm.runs} runs x 3 tasks of {storm.seconds:g} s, {workers} workers"
    figure("F1", f"{what}: kills", f"{sum(storm.kills.values())} {dict(storm.kills)}")
    figure("F1", f"{what}: findings", f"{len(violations)} in {time.monotonic() - began:.0f} s")
    assert sum(storm.kills.values()) >= kills
    assert kills < 100 or {"worker", "host", "child"} <= set(storm.kills)
    return violations


def test_nothing_is_lost_doubled_or_left_behind_by_a_dozen_kills(tmp_path: Path) -> None:
    assert rage(Storm(tmp_path, runs=20, seconds=0.1, seed=1), kills=12, limit=100) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_doubled_or_left_behind_by_a_hundred_kills(tmp_path: Path) -> None:
    assert rage(Storm(tmp_path, runs=200, seconds=0.25, seed=2), kills=100, limit=500) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_is_lost_doubled_or_left_behind_by_five_hundred_kills_of_quick_tasks(tmp_path: Path) -> None:
    storm = Storm(tmp_path, runs=1000, seconds=0.02, seed=3)
    assert rage(storm, kills=500, limit=800, workers=8, weather=storms.GROUPS, between=0.02) == []


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("seconds", [0.02, 0.25])
def test_nothing_is_lost_doubled_or_left_behind_by_ten_thousand_kills(tmp_path, seconds, part) -> None:
    """Eight storms of 1,250 kills, which are 10,000."""
    storm = Storm(tmp_path, runs=1000, seconds=seconds, seed=10 + part)
    assert rage(storm, kills=1250, limit=3 * 3600, workers=8, weather=storms.GROUPS, between=0.02) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_runs_that_continue_in_mended_code_lose_and_double_nothing_by_kills(tmp_path: Path) -> None:
    storm = Storm(tmp_path, runs=30, seconds=0.1, seed=4, values={"maxAttempts": 1})
    mended = storm.tasks
    end = 'note("end"'
    assert end in mended
    storm.tasks = mended.replace(end, f'assert self.config["id"] != "three"; {end}')
    storm.prepare()
    storm.start_worker()
    try:
        wait_for(lambda: storm.failed() == storm.runs, "not all runs failed", 120)
        (tmp_path / "repository" / "Tasks.py").write_text(mended)
        storm.commit("Tasks.py")
        struck = storm.mend(kills=8, limit=400)
        violations = storm.violations()
    finally:
        for worker in storm.workers:
            worker.kill()
    what = "30 runs that continue in mended code: retries killed / other kills / findings"
    figure("F1", what, f"{struck} / {storm.blows} / {len(violations)}")
    assert violations == []
    assert struck >= 2
    for lines in storm.evidence().journals.values():
        events = [event for found in lines.values() for event in found]
        commits = {e["task"]: e["commit"] for e in events if e["event"] == "task_finished"}
        assert commits["one"] == commits["two"] != commits["three"]


def sleeping_fork_server_outlives_its_worker(storm: Storm) -> bool:
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


@pytest.mark.slow
def test_a_run_is_not_taken_over_while_its_child_lives(tmp_path: Path) -> None:
    storm = Storm(tmp_path, runs=1, seconds=6)
    try:
        assert not sleeping_fork_server_outlives_its_worker(storm)
        wait_for(lambda: storm.completed() == 1, "the run did not go on after the host woke up")
    finally:
        storm.end()
    assert storm.violations() == []


@pytest.mark.slow
def test_the_same_fails_when_the_lock_is_not_sent_to_the_fork_server(tmp_path: Path) -> None:
    package = mutant(
        tmp_path,
        "worker/claimed_run.py",
        "(claim.descriptor, claim.journal.descriptor)",
        "(os.open(claim.path, os.O_RDWR), claim.journal.descriptor)",
    )
    storm = Storm(tmp_path, runs=1, seconds=6, package=package)
    try:
        assert sleeping_fork_server_outlives_its_worker(storm), "the mutant was not caught"
    finally:
        storm.end()
