"""A process is known by boot, PID namespace and start; a hostname is for people only."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import timedelta

import pytest

from job_orchestration.processes import identity
from job_orchestration.queue import resource_pool
from job_orchestration.runs import catalog
from job_orchestration.workspace import clock, heartbeats, layout
from job_orchestration.workspace.heartbeats import Heartbeat
from job_orchestration.workspace.layout import Place
from tests.integration.runs import queue, taken

pytestmark = pytest.mark.usefixtures("quick_disk")
ONE_GPU = (("gpus", 1),)


@pytest.fixture
def workspace(tmp_path):
    return layout.prepare(str(tmp_path / "workspace"))


def show_heartbeat(workspace, worker: str, process: identity.ProcessIdentity, **more) -> None:
    now = clock.timestamp()
    of = {"boot": process.boot, "namespace": process.namespace, "started": process.started}
    heartbeats.write(workspace, Heartbeat(worker, socket.gethostname(), process.pid, now, now, **of, **more))


def living(workspace) -> list[str]:
    return sorted(heartbeat.worker for heartbeat in catalog.living_workers(workspace))


def dead_process() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


# -- the identity itself ------------------------------------------------------------------------------------


def test_a_process_knows_itself_and_no_other_by_its_number():
    own = identity.own()
    assert own.is_alive() is True
    assert identity.ProcessIdentity(own.boot, own.namespace, own.pid, own.started + 1).is_alive() is False
    assert identity.ProcessIdentity(own.boot, own.namespace, dead_process(), 0).is_alive() is False
    assert identity.ProcessIdentity(own.boot, own.namespace + 1, own.pid, own.started).is_alive() is None
    assert identity.ProcessIdentity("another boot", own.namespace, own.pid, own.started).is_alive() is None


def test_the_start_of_a_process_is_read_whatever_its_name_is(tmp_path):
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "1000"]) as process:
        found = identity.start_of(process.pid)
        assert 0 <= found - identity.start_of(os.getpid()) < 10**7
        process.kill()


# -- workers ------------------------------------------------------------------------------------------------


def test_a_worker_of_another_namespace_is_alive_whatever_its_number_means_here(workspace):
    own = identity.own()
    elsewhere = identity.ProcessIdentity(own.boot, own.namespace + 1, dead_process(), 1)
    show_heartbeat(workspace, "lab.1.container", elsewhere)
    show_heartbeat(workspace, "lab.2.here", own)
    show_heartbeat(
        workspace, "lab.3.reused", identity.ProcessIdentity(own.boot, own.namespace, own.pid, own.started + 1)
    )
    show_heartbeat(
        workspace, "lab.4.dead", identity.ProcessIdentity(own.boot, own.namespace, dead_process(), 1)
    )
    assert living(workspace) == ["lab.1.container", "lab.2.here"]


def test_a_heartbeat_of_an_earlier_release_is_judged_by_its_hostname(workspace):
    now = clock.timestamp()
    here = socket.gethostname()
    heartbeats.write(workspace, Heartbeat("lab.1.dead", here, dead_process(), now, now))
    heartbeats.write(workspace, Heartbeat("lab.2.alive", here, os.getpid(), now, now))
    heartbeats.write(workspace, Heartbeat("far.3.far", "far", dead_process(), now, now))
    assert living(workspace) == ["far.3.far", "lab.2.alive"]


@pytest.mark.parametrize("renamed", [False, True], ids=["same hostname", "renamed by DHCP"])
@pytest.mark.parametrize("where", ["here", "container"])
def test_a_run_is_placed_by_the_identity_of_its_worker(workspace, monkeypatch, where, renamed):
    (found,) = queue(workspace, "a")
    worker = f"{'former' if renamed else socket.gethostname()}.4711.abc"
    claimed = taken(workspace, found, worker)
    own = identity.own()
    of = own if where == "here" else identity.ProcessIdentity(own.boot, own.namespace + 1, 4711, 1)
    show_heartbeat(workspace, worker, of, run="runs/a", attempt=1)
    (record,) = catalog.entries(workspace)
    assert (record.place, record.held_by) == (Place.RUNNING, worker)
    claimed.release()  # its lock is not listed any more: nor would that of a container be
    (record,) = catalog.entries(workspace)
    assert record.place is (Place.INTERRUPTED if where == "here" else Place.RUNNING)
    monkeypatch.setattr(catalog, "HEARTBEAT_EXPIRY", timedelta(0))
    (record,) = catalog.entries(workspace)
    assert record.place is Place.INTERRUPTED


# -- resources ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["renamed.example.org", "", "localhost"])
def test_one_gpu_is_not_given_out_twice_when_the_machine_is_renamed(workspace, monkeypatch, name):
    def take():
        folder = resource_pool.folder_of(workspace, "shared")
        return resource_pool.Reservations(folder, {"gpus": 1}, ["0"]).take(ONE_GPU)

    descriptor, devices = take()
    assert devices == ["0"]
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    assert take() == {"gpus"}
    os.close(descriptor)
    assert take()[1] == ["0"]
