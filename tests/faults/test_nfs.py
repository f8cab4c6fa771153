"""Two hosts share a workspace over a real NFS server: kills, a cut network, a server that starts anew.

The kernel here may have no NFS, so all of it is played in a `virtual_machine`; `nfs_play` is what happens
there. There is no short form: the machine alone takes a minute to come up. Some parts of it are played
alone with F9_PARTS="'kills' 'v3 nolock'"; the tests of the others then fail.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

import job_orchestration
from tests.faults import virtual_machine
from tests.faults.figures import figure
from tests.faults.nfs_play import LEASE, MARK

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]
START = """\
export PYTHONPATH=/play:/play/site PYTHONDONTWRITEBYTECODE=1 PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
python3 -m tests.faults.nfs_play
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What each part of the play found."""
    virtual_machine.require_tools()
    play = tmp_path_factory.mktemp("play")
    left_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(job_orchestration.__file__).parent, play / "job_orchestration", ignore=left_out)
    (play / "tests").mkdir()
    shutil.copytree(Path(__file__).parent, play / "tests" / "faults", ignore=left_out)
    virtual_machine.packages(play / "site")
    (play / "start").write_text(START.strip() + f" {os.environ.get('F9_PARTS', '')}\n")
    console = virtual_machine.run(play, limit=6000)
    kept = Path(os.environ.get("SOAK_FIGURES", tmp_path_factory.mktemp("console") / "x")).with_suffix(
        ".console"
    )
    kept.write_text(console)
    lines = re.findall(rf"{MARK}(\{{.*\}})\r?$", console, re.MULTILINE)
    assert lines, console[-3000:]
    return {found["part"]: found for found in map(json.loads, lines)}


def test_kills_on_both_machines_lose_and_double_nothing(seen):
    part = seen["kills"]
    for what in ("runs", "kills", "kinds", "hosts", "handed between hosts", "seconds"):
        figure("F9", f"v4.2, kills on both hosts: {what}", part.get(what))
    assert part["findings"] == []
    assert part["kills"] >= 60
    assert len(part["hosts"]) == 2
    assert part["handed between hosts"] > 3


def test_a_run_that_comes_back_to_a_machine_goes_on_where_the_other_one_was(seen):
    part = seen["back and forth"]
    figure("F9", "from host to host and back: executions", part.get("order"))
    assert part["findings"] == []
    assert part["order"][-1] == "three: attempt 3", "what the other host had finished does not run again"


def test_a_run_behind_a_cut_network_is_taken_over_and_its_first_holder_stops(seen):
    part = seen["partition"]
    for what in ("seconds until taken over", "seconds until stopped", "overlaps"):
        figure("F9", f"cut network: {what}", part.get(what))
    assert part["findings"] == []
    assert not part["ended"], "the task was stopped, and did not come to its own end"
    assert part["seconds until taken over"] >= LEASE / 2
    assert part["seconds until stopped"] < 30
    assert part["both workers lived on"]


def test_a_task_that_ends_behind_a_cut_network_commits_nothing(seen):
    part = seen["long partition"]
    figure("F9", "network cut for longer than the task takes: findings", part["findings"])
    assert part["findings"] == []
    assert part["ended"]
    assert part["both workers lived on"]


def test_a_server_that_restarts_gets_the_locks_again_and_doubles_nothing(seen):
    part = seen["restart"]
    for what in ("workers that lived on", "seconds"):
        figure("F9", f"server started anew: {what}", part.get(what))
    assert part["findings"] == []
    assert part["workers that lived on"] == 4


def test_a_worker_refuses_a_mount_without_locks_between_machines(seen):
    part = seen["v3 nolock"]
    figure("F9", "v3 nolock: exit code", part.get("code"))
    assert part["findings"] == []
    assert part["code"] == 4
    assert part["said"] == (
        "/lab/refusal is on an NFS mount with local locks, which every machine grants to itself. "
        "Mount it with vers=4.2 and without nolock and local_lock.\n"
    )
