"""How many system calls a run costs: counts are the same on every machine, times are not.

Two batches are worked off, a small one and a larger one, under a tracer; what the larger one costs more is
what its runs cost. Bounds are what today's code does: to come below one is good, and then it is lowered.
What this process itself does to the disk is also counted by `workspace.durable`, which needs no tracer.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from job_orchestration.runs import claims, token
from job_orchestration.workspace import durable
from tests.integration.harness import LIMIT, PACKAGE, Sandbox

if TYPE_CHECKING:
    from pathlib import Path

FEW, MORE = 2, 6
"""Runs in the two batches."""
SHORT, LONG = 2, 4
"""Tasks in the runs of either kind."""
TASKS = """
    import os

    from job_orchestration import TaskBase


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            with open(os.path.join(self.config["outputDir"], self.config["id"]), "w") as file:
                file.write("done")


    class One(Base):
        pass


    class Two(Base):
        pass


    class Three(Base):
        pass


    class Four(Base):
        pass
"""
METHODS = ("One", "Two", "Three", "Four")
WARM, MANY = 4, 20
"""Runs after which a fork server is warm, and those whose pages are counted."""
PAGES = 1100
"""Pages that a run makes or copies in its worker, fork server and child."""
KINDS = {
    "sync": ("fsync", "fdatasync"),
    "move": ("rename", "renameat", "renameat2", "link", "linkat"),
    "process": ("fork", "vfork", "clone", "clone3"),
    "program": ("execve",),
    "look": ("getdents64",),
}
"""What is counted, and the system calls that it is made of."""
LINE = re.compile(r"\d+ +(?:\[[^]]*\] )?(\w+)\((.*)")
HEARTBEATS, RUNNING, QUEUE = "Misc/workers", "/Running>", "/ConfigsToRun>"
"""Beats are written, and Running is looked through, every so often, however many runs there are."""
traced = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


READY = """
import sys
from job_orchestration.submission.checker import Checker
from job_orchestration.submission.pipeline import ready_drops
from job_orchestration.workspace import layout
workspace = layout.prepare(sys.argv[-1])
check = Checker(workspace)
assert not ready_drops(workspace, check, lambda *_: True).refused
check.close()
"""
"""`ready` without its waiting for the drops to be at rest."""


def calls_of(sandbox: Sandbox, *words: str) -> Counter[str]:
    """How often a command of ours and all its descendants did each thing that is counted."""
    log = sandbox.folder / "calls"
    names = ",".join(f"?{name}" for names in KINDS.values() for name in names)
    tracer = ["strace", "-f", "-y", "-qq", "--seccomp-bpf", "-e", f"trace={names}", "-e", "signal=none"]
    done = subprocess.run(
        [*tracer, "-o", log, sys.executable, *words, sandbox.root],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        cwd=sandbox.folder,
        timeout=LIMIT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kinds = {name: kind for kind, names in KINDS.items() for name in names}
    found: Counter[str] = Counter()
    waited = 0
    for match in filter(None, map(LINE.match, log.read_text().splitlines())):
        name, rest = match.groups()
        looks = name in KINDS["look"]
        if name not in kinds or "CLONE_THREAD" in rest or HEARTBEATS in rest or (looks and RUNNING in rest):
            continue
        if looks and QUEUE in rest:
            waited += 1
            continue
        found[kinds[name]] += 1
        if kinds[name] == "move":  # what comes after the last one is the waiting for more
            found["queue"] += waited
            waited = 0
    return found


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """What `ready` and a worker did, by how many runs of how many tasks there were; the snapshot was warm."""
    sandbox = Sandbox(tmp_path_factory.mktemp("counts"), TASKS)
    sandbox.queue("first", "One")
    sandbox.work()
    found = {}
    for runs, tasks in ((FEW, SHORT), (MORE, SHORT), (MORE, LONG)):
        for number in range(runs):
            sandbox.drop(f"r{runs}{tasks}{number}", *METHODS[:tasks])
        ready = calls_of(sandbox, "-c", READY)
        work = calls_of(sandbox, "-m", "job_orchestration", "work", "--until-idle", "--workspace")
        assert not sandbox.names("ConfigsToRun")
        found[runs, tasks] = {"ready": ready, "work": work}
    yield found
    sandbox.close()


def a_run(counted, kind: str) -> float:
    """How much of something one more run costs, besides its tasks."""
    few, more = (counted[runs, SHORT]["work"][kind] for runs in (FEW, MORE))
    whole = (more - few) / (MORE - FEW)
    return whole - SHORT * a_task(counted, kind)


def a_task(counted, kind: str) -> float:
    """How much of something one more task costs."""
    short, long = (counted[MORE, tasks]["work"][kind] for tasks in (SHORT, LONG))
    return (long - short) / (MORE * (LONG - SHORT))


def a_config(counted, kind: str) -> float:
    """How much of something one more config costs."""
    few, more = (counted[runs, SHORT]["ready"][kind] for runs in (FEW, MORE))
    return (more - few) / (MORE - FEW)


# -- a worker ---------------------------------------------------------------------------------------------


@traced
def test_a_task_is_made_durable_by_one_sync_and_by_nothing_else(counted):
    kinds = ("sync", "move", "process", "program", "look")
    assert {kind: a_task(counted, kind) for kind in kinds} == {**dict.fromkeys(kinds, 0), "sync": 1}


@traced
def test_a_run_is_made_durable_by_few_syncs_and_moves(counted):
    assert a_run(counted, "sync") <= 5
    assert a_run(counted, "move") <= 3


@traced
def test_a_run_gets_one_process_and_no_program(counted):
    assert a_run(counted, "process") == 1
    assert a_run(counted, "program") == 0, "no git, no Python of its own"


@traced
def test_a_run_is_no_reason_to_list_the_queue(counted):
    assert a_run(counted, "queue") <= 1, "a listing is two calls"
    assert a_run(counted, "look") <= 8, "the folders of its own"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """How many pages of memory the processes of one more run make or copy."""
    sandbox = Sandbox(tmp_path_factory.mktemp("pages"), TASKS)
    found = {}
    for runs in (WARM, WARM + MANY):
        for number in range(runs):
            sandbox.drop(f"p{runs}.{number}", *METHODS[:SHORT])
        sandbox.ready()
        worker = sandbox.start("--until-idle")
        _, status, usage = os.wait4(worker.pid, 0)
        worker.returncode = os.waitstatus_to_exitcode(status)
        assert worker.returncode == 0, sandbox.ended(worker)
        found[runs] = usage.ru_minflt
    yield (found[WARM + MANY] - found[WARM]) / MANY
    sandbox.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="another Python has its objects elsewhere")
def test_a_run_copies_few_pages_of_memory(pages):
    assert pages <= PAGES, "what a child does before, between and after its tasks touches shared memory"


# -- ready ------------------------------------------------------------------------------------------------


@traced
def test_many_configs_of_one_commit_are_pinned_once(counted):
    assert a_config(counted, "program") == 0, "no git for each"
    assert a_config(counted, "look") <= 4, "a small folder may take its listing in one call or two"


@traced
def test_a_config_is_queued_by_a_known_number_of_syncs_and_moves(counted):
    assert a_config(counted, "sync") <= 6
    assert a_config(counted, "move") <= 3, "the token, its link, and the source that is moved aside"
    assert a_config(counted, "process") == 0, "all are validated in one"


# -- where there is no tracer -----------------------------------------------------------------------------


def done_by(act) -> Counter[str]:
    """What this process did to the disk meanwhile."""
    before = durable.counts.copy()
    act()
    return durable.counts - before


def test_readying_and_claiming_cost_a_known_number_of_durable_steps(tmp_path: Path):
    sandbox = Sandbox(tmp_path, TASKS)
    sandbox.queue("first", "One")
    found = {}
    for configs in (FEW, MORE):
        for number in range(configs):
            sandbox.drop(f"r{configs}{number}", "One")
        found[configs] = done_by(sandbox.ready)
    more = {name: (found[MORE][name] - found[FEW][name]) / (MORE - FEW) for name in found[MORE]}
    assert more == {
        "create": 4,
        "append": 4,
        "fsync": 4,
        "fsync_folder": 2,
        "unlink": 3,
        "link": 1,
        "rename": 1,
    }
    waiting = token.scan(sandbox.workspace.to_run)[0]
    claimed = []
    claim = functools.partial(claims.claim, sandbox.workspace, waiting, "lab.1.abc", "lab")
    steps = done_by(lambda: claimed.append(claim()))
    claimed[0].release()
    sandbox.close()
    assert steps == {"create": 1, "append": 1, "rename": 1, "fsync_folder": 2}
