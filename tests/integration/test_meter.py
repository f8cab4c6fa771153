"""The meter of the benchmarks: what outlives its parent is paid for too, and nothing outlives the meter."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.measuring import cost_of
from tests.integration.harness import is_gone

SPIN = "import time\nwhile time.process_time() < 0.3: pass"
BUSY = f"{sys.executable} -I -S -c '{SPIN}'"


@pytest.fixture
def measured(tmp_path):
    def run(script: str, **options):
        return cost_of([["sh", "-c", script]], tmp_path, dict(os.environ), **options)

    return run


def test_what_a_command_leaves_behind_in_a_session_of_its_own_is_paid_for(measured, tmp_path):
    Path(tmp_path, "daemon.sh").write_text(f"{BUSY}\ntouch ended\n")
    found = measured("(setsid sh daemon.sh &); until test -e ended; do sleep 0.05; done")
    assert found.ended == "itself"
    assert found.cpu >= 0.3


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(measured, tmp_path):
    found = measured("setsid sleep 60 & echo $! > pid; sleep 60", limit=0.5)
    assert found.ended == "limit"
    assert found.wall < 30
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_a_command_that_stays_is_ended_when_all_files_are_there(measured, tmp_path):
    until = {"folder": str(tmp_path / "out"), "files": 2, "last": str(tmp_path / "out" / "a" / "2")}
    found = measured("mkdir -p out/a; touch out/a/1 out/a/2; sleep 60", until=until, limit=30)
    assert found.ended == "done"


def test_the_steps_of_an_experiment_count_only_when_they_ran_in_their_order(tmp_path):
    from benchmarks.shape import LINE, Job, trouble

    job = Job(tmp_path, Path(), experiments=1, workers=1, steps=2)
    assert trouble(job, "out") == "2 of 2 steps did not run"
    folder = tmp_path / "out" / "e000000"
    folder.mkdir(parents=True)
    for number, moment in ((1, 2_000), (2, 1_000)):
        (folder / f"{number}.txt").write_text(LINE)
        os.utime(folder / f"{number}.txt", (moment, moment))
    assert "before the step that it needs" in trouble(job, "out")
    os.utime(folder / "2.txt", (time.time(), time.time()))
    assert not trouble(job, "out")
