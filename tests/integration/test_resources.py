"""What runs take of a machine: never more than there is, and free again however its holder ended."""

from __future__ import annotations

import errno
import fcntl
import os
import signal

import pytest

from job_orchestration.commands import work
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.queue import resource_pool
from job_orchestration.workspace import layout
from tests.integration.harness import eventually

TASKS = r"""
    import fcntl
    import os
    import time
    from pathlib import Path

    from job_orchestration import TaskBase

    NOTES = Path(os.environ["JOB_ORCHESTRATION_WORKSPACE"]).parent / "notes"


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config


    class UsesDevices(Base):
        # Fails when somebody else uses one of its devices at the same moment.
        def run(self):
            devices = os.environ["CUDA_VISIBLE_DEVICES"]
            files = [(NOTES / f"device{name}").open("w") for name in devices.split(",")]
            for file in files:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            time.sleep(0.1)
            return devices


    class Sees(Base):
        def run(self):
            return os.environ.get("CUDA_VISIBLE_DEVICES")


    class Waits(Base):
        def run(self):
            (NOTES / "waits").write_text(f"{os.getpid()}\n")
            while not (NOTES / "gate").exists():
                time.sleep(0.01)
            return os.environ["CUDA_VISIBLE_DEVICES"]
"""


def pools(sandbox):
    folder = sandbox.root / "Misc" / "pools"
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def test_a_pool_gives_each_run_devices_of_its_own_and_never_more_than_there_are(sandbox):
    for name in "abcd":
        sandbox.drop(name, "UsesDevices", resources={"gpus": 1}, maxAttempts=1)
    sandbox.drop("e", "UsesDevices", resources={"gpus": 2}, maxAttempts=1)
    sandbox.drop("f", "Sees")
    assert not sandbox.ready().refused
    sandbox.ended(
        sandbox.start("--workers", "3", "--resources", "gpus=2", "--until-idle", CUDA_VISIBLE_DEVICES="4,7")
    )
    assert sandbox.names("Completed") == list("abcdef")
    assert {sandbox.results(name)["usesdevices"] for name in "abcd"} <= {"4", "7"}
    assert sandbox.results("e") == {"usesdevices": "4,7"}
    assert sandbox.results("f") == {"sees": "4,7"}, "no request, no variable"
    assert not pools(sandbox)


def test_runs_that_take_what_is_not_here_are_left_for_others(sandbox):
    sandbox.drop("a", "Sees", resources={"licence": 1, "gpus": 1}, priority=5)
    sandbox.drop("b", "Sees", resources={"cpus": 1, "memory": "1M"})
    sandbox.ready()
    said = sandbox.work()
    assert "Runs that take gpus: 1, licence: 1 are left for other workers" in said
    assert said.count("are left for other workers") == 1
    assert (sandbox.names("ConfigsToRun"), sandbox.names("Completed")) == (["a"], ["b"])
    sandbox.ended(sandbox.start("--until-idle", "--resources", "licence=1,gpus=3"))
    assert sandbox.results("a") == {"sees": "0"}


def test_the_resources_of_a_killed_worker_are_free_for_the_worker_that_resumes_its_run(sandbox):
    sandbox.drop("a", "Waits", resources={"gpus": 1})
    sandbox.drop("b", "UsesDevices", resources={"gpus": 1})
    sandbox.ready()
    words = ("--pool", "shared", "--resources", "gpus=1")
    first = sandbox.start(*words)
    sandbox.note("waits")
    second = sandbox.start("--until-idle", *words)
    eventually(lambda: len(list((sandbox.root / "Misc" / "workers").glob("*.json"))) > 1)
    assert not sandbox.results("b"), "there is one device, and it is in use"
    (sandbox.notes / "waits").unlink()
    fork_server = sandbox.fork_server_of(first)
    os.kill(fork_server, signal.SIGSTOP)
    first.kill()
    first.wait()
    ours = resource_pool.Reservations(
        resource_pool.folder_of(sandbox.workspace, "shared"), {"gpus": 1}, ["0"]
    )
    assert ours.take((("gpus", 1),)) == {"gpus"}, "its task lives on, and has the device"
    os.kill(fork_server, signal.SIGCONT)
    sandbox.note("waits")
    (sandbox.notes / "gate").touch()
    sandbox.ended(second)
    assert sandbox.names("Completed") == ["a", "b"]
    assert sandbox.results("a") == {"waits": "0"}


def test_all_or_nothing_is_taken_and_a_descriptor_keeps_it(tmp_path):
    ours = resource_pool.Reservations(str(tmp_path / "pool"), {"gpus": 2, "cpus": 4}, ["x", "y"])
    theirs = resource_pool.Reservations(str(tmp_path / "pool"), {"gpus": 2, "cpus": 4}, ["x", "y"])
    first = ours.take((("cpus", 3), ("gpus", 1)))
    assert isinstance(first, tuple)
    assert first[1] == ["x"]
    assert theirs.take((("cpus", 2), ("gpus", 1))) == {"cpus"}
    second = theirs.take((("cpus", 1), ("gpus", 1)))
    assert isinstance(second, tuple)
    assert second[1] == ["y"]
    assert ours.take((("gpus", 1),)) == {"gpus"}
    child = os.dup(first[0])  # as a fork server has it
    os.close(first[0])
    assert ours.take((("gpus", 1),)) == {"gpus"}
    os.close(child)
    third = ours.take((("gpus", 1),))
    assert isinstance(third, tuple)
    assert third[1] == ["x"]
    for descriptor in (second[0], third[0]):
        os.close(descriptor)
    resource_pool.close(str(tmp_path / "pool"))
    assert not (tmp_path / "pool").exists()


def test_there_are_as_many_devices_as_this_process_may_see(tmp_path, monkeypatch):
    workspace = layout.prepare(str(tmp_path))
    monkeypatch.setenv(resource_pool.VISIBLE, "3")
    with pytest.raises(UsageError, match="There are not 2 GPUs"):
        work.work(workspace, print, workers=2, until_idle=True, resources={"gpus": 2})
    monkeypatch.delenv(resource_pool.VISIBLE)
    assert resource_pool.devices({"gpus": 2}) == ["0", "1"]
    assert resource_pool.capacity({"cpus": 9})["cpus"] == 9
    assert resource_pool.capacity({})["memory"] > 1 << 20


def test_less_urgent_runs_do_not_take_what_a_more_urgent_one_waits_for(sandbox):
    sandbox.drop("a", "Waits", resources={"gpus": 1}, priority=10)
    sandbox.drop("big", "UsesDevices", resources={"gpus": 2}, priority=9)
    for name in "bc":
        sandbox.drop(name, "UsesDevices", resources={"gpus": 1})
    sandbox.drop("other", "Sees", resources={"cpus": 1})
    assert not sandbox.ready().refused
    both = [sandbox.start("--until-idle", "--resources", "gpus=2", "--pool", "p") for _ in range(2)]
    eventually(lambda: sandbox.names("Completed") == ["other"])
    (sandbox.notes / "gate").touch()
    for worker in both:
        sandbox.ended(worker)
    started = {name: sandbox.events(name, "task_started")[0]["at"] for name in ("big", "b", "c")}
    assert started["big"] == min(started.values())


def test_what_a_full_disk_kept_from_being_written_down_is_not_taken(tmp_path, monkeypatch):
    books = resource_pool.Reservations(str(tmp_path / "pool"), {"gpus": 1}, ["0"])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as disk:
        disk.setattr(resource_pool.durable, "append", full)
        with pytest.raises(OSError, match="full"):
            books.take((("gpus", 1),))
    taken = books.take((("gpus", 1),))
    assert isinstance(taken, tuple)
    assert taken[1] == ["0"]
    os.close(taken[0])


def test_runs_wait_until_their_reservations_can_be_written_and_others_do_not(sandbox):
    sandbox.drop("a", "Sees", resources={"gpus": 1})
    sandbox.drop("b", "Sees")
    sandbox.ready()
    in_the_way = sandbox.root / "Misc" / "pools"
    in_the_way.write_text("not a folder")
    worker = sandbox.start("--until-idle", "--resources", "gpus=1")
    assert worker.stdout is not None
    assert any("Reservations cannot be written" in line for line in iter(worker.stdout.readline, ""))
    eventually(lambda: sandbox.names("Completed") == ["b"])
    in_the_way.unlink()
    assert "Reservations cannot be written" not in sandbox.ended(worker), "it is said once"
    assert sandbox.results("a") == {"sees": "0"}


def test_a_pool_folder_that_is_removed_while_a_worker_waits_for_its_lock_is_made_again(tmp_path, monkeypatch):
    folder = tmp_path / "pool"
    books = resource_pool.Reservations(str(folder), {"gpus": 1}, ["0"])
    real, cleared = fcntl.flock, []

    def clears_first(descriptor: int, how: int) -> None:
        if not cleared:
            cleared.append(folder.rmdir())
        real(descriptor, how)

    monkeypatch.setattr(resource_pool.fcntl, "flock", clears_first)
    taken = books.take((("gpus", 1),))
    assert isinstance(taken, tuple)
    assert os.listdir(folder) == ["0"]
    assert books.take((("gpus", 1),)) == {"gpus"}
    os.close(taken[0])
