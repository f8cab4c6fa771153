"""`--workers auto`: how many workers, and that they are started."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from job_orchestration.processes import machine_limits
from job_orchestration.queue import resource_pool
from job_orchestration.queue.worker_count import count_for
from tests.conftest import LIMIT

GB = 10**9


@pytest.mark.parametrize(
    ("cpus", "memory", "waiting", "number"),
    [
        (8, 64 * GB, [], 8),
        (8, None, [{}, {}, {}], 8),
        (8, 64 * GB, [{"cpus": 2}, {"cpus": 2}, {"cpus": 8}], 4),
        (8, 64 * GB, [{"cpus": 16}], 1),
        (8, 64 * GB, [{"memory": 20 * GB}, {"memory": 20 * GB}], 3),
        (8, 64 * GB, [{"memory": 200 * GB}], 1),
        (8, 64 * GB, [{}, {}, {"memory": 60 * GB}], 8),
        (1, 1 * GB, [{"gpus": 1}], 1),
    ],
)
def test_there_is_a_worker_for_each_cpu_or_for_each_run_that_fits(cpus, memory, waiting, number):
    assert count_for(cpus, memory, waiting).number == number


def test_the_control_groups_of_a_process_and_those_above_limit_it(tmp_path, monkeypatch):
    group = tmp_path / "cgroup" / "jobs" / "mine"
    group.mkdir(parents=True)
    (tmp_path / "own").write_text("1:name=old:/\n0::/jobs/mine\n")
    (group / "cpu.max").write_text("max 100000\n")
    (group.parent / "cpu.max").write_text("150000 100000\n")
    (group / "memory.max").write_text("max\n")
    (group.parent / "memory.max").write_text("1000000\n")
    monkeypatch.setattr(machine_limits, "_CONTROL_GROUPS", str(tmp_path / "cgroup"))
    monkeypatch.setattr(machine_limits, "_OWN_GROUP", str(tmp_path / "own"))
    assert machine_limits.usable_cpus() == 1
    assert machine_limits.usable_memory() == 1_000_000
    assert resource_pool.capacity({}) == {"cpus": 1, "memory": 1_000_000}
    assert resource_pool.capacity({"cpus": 64})["cpus"] == 64, "what is given is believed"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_as_many_workers_are_started_as_the_affinity_allows(workspace, environment):
    cpus = sorted(os.sched_getaffinity(0))[:2]
    done = subprocess.run(
        [sys.executable, "-m", "job_orchestration", "work", "--workers", "auto", "--until-idle"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )
    assert done.returncode == 0, done.stderr
    found = re.match(r"(\d+) workers?: (\d+) CPUs? may be used\.", done.stdout)
    assert found, done.stdout
    assert int(found[1]) == int(found[2]) <= len(cpus)
