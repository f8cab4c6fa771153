"""Members that are stopped and go on: what stands still for a while is neither dead nor to blame."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.faults import storm as storms
from tests.faults.figures import figure
from tests.faults.storm import Storm, members
from tests.integration.harness import eventually

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = {"timeout": 300, "stallTimeout": 8}
"""Longer than any stop lasts, so no run can exceed it."""

IMPORTS = "The process that imports the tasks was ended by SIGKILL"
"""What is said of a host that was killed before it could be used: its imports may have been to blame."""


def rage(storm: Storm, *, stops: int, limit: float) -> None:
    storm.prepare()
    began = time.monotonic()
    try:
        storm.rage(workers=6, blows=round(stops * 1.6), limit=limit, weather=storms.STOPS)
        violations = storm.violations()
    finally:
        for worker in storm.workers:
            worker.kill()
    blamed = Counter(
        event["outcome"]
        for lines in storm.evidence().journals.values()
        for found in lines.values()
        for event in found
        if event["event"] == "task_failed" and IMPORTS not in event["error"]
    )
    figure("F2", "stops", storm.stops)
    figure("F2", "kills among them", dict(storm.kills))
    figure("F2", "findings", f"{len(violations)} in {time.monotonic() - began:.0f} s")
    figure("F2", "wrong hangs and timeouts", blamed["hang"] + blamed["timeout"])
    assert violations == []
    assert storm.stops >= stops
    assert blamed.total() <= storm.kills["child"], blamed
    assert not blamed.keys() & {"hang", "timeout", "error", "lost"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_doubled_or_blamed_by_a_hundred_stops(tmp_path: Path) -> None:
    rage(Storm(tmp_path, runs=60, seconds=0.1, values=LIMITS, seed=4), stops=100, limit=500)


@pytest.mark.soak
@pytest.mark.timeout(2 * 3600)
def test_nothing_is_lost_doubled_or_blamed_by_a_thousand_stops(tmp_path: Path) -> None:
    rage(Storm(tmp_path, runs=600, seconds=0.25, values=LIMITS, seed=5), stops=1000, limit=7000)


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_whole_family_that_stood_still_for_longer_than_the_stall_timeout_did_not_hang(
    tmp_path: Path,
) -> None:
    storm = Storm(tmp_path, runs=1, seconds=2, values={"stallTimeout": 1.5, "maxAttempts": 1})
    storm.prepare()
    storm.start_worker()
    try:
        eventually(storm.events.read_bytes, "a task")
        family = [pid for found in members(storm.workers[0].pid).values() for pid in found]
        assert len(family) >= 3
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in family:
                os.kill(pid, number)
            time.sleep(4 if number == signal.SIGSTOP else 0)
        eventually(storm.completed, "the run goes on")
    finally:
        storm.end()
    assert storm.violations() == []
