"""What runs take of a machine: never more than there is, and free again however its holder ended."""

from __future__ import annotations

import errno
import fcntl
import os
import signal

import pytest

from job_orchestration.actions import work
from job_orchestration.engine import room
from job_orchestration.files import account
from job_orchestration.files import workspace as workspaces
from job_orchestration.model.errors import UsageError
from tests.integration.arena import eventually

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


def pools(arena):
    folder = arena.root / "Misc" / "pools"
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def test_a_pool_gives_each_run_devices_of_its_own_and_never_more_than_there_are(arena):
    for name in "abcd":
        arena.drop(name, "UsesDevices", resources={"gpus": 1}, maxAttempts=1)
    arena.drop("e", "UsesDevices", resources={"gpus": 2}, maxAttempts=1)
    arena.drop("f", "Sees")
    assert not arena.ready().refused
    arena.ended(
        arena.start("--workers", "3", "--resources", "gpus=2", "--until-idle", CUDA_VISIBLE_DEVICES="4,7")
    )
    assert arena.names("Completed") == list("abcdef")
    assert {arena.results(name)["usesdevices"] for name in "abcd"} <= {"4", "7"}
    assert arena.results("e") == {"usesdevices": "4,7"}
    assert arena.results("f") == {"sees": "4,7"}, "who asks for nothing is told nothing"
    assert not pools(arena)


def test_runs_that_take_what_is_not_here_are_left_for_others(arena):
    arena.drop("a", "Sees", resources={"licence": 1, "gpus": 1}, priority=5)
    arena.drop("b", "Sees", resources={"cpus": 1, "memory": "1M"})
    arena.ready()
    said = arena.work()
    assert "Runs that take gpus: 1, licence: 1 are left for other workers" in said
    assert said.count("are left for other workers") == 1
    assert (arena.names("ConfigsToRun"), arena.names("Completed")) == (["a"], ["b"])
    arena.ended(arena.start("--until-idle", "--resources", "licence=1,gpus=3"))
    assert arena.results("a") == {"sees": "0"}


def test_what_a_killed_worker_had_taken_is_free_for_whoever_goes_on_with_its_run(arena):
    arena.drop("a", "Waits", resources={"gpus": 1})
    arena.drop("b", "UsesDevices", resources={"gpus": 1})
    arena.ready()
    words = ("--pool", "shared", "--resources", "gpus=1")
    first = arena.start(*words)
    arena.note("waits")
    second = arena.start("--until-idle", *words)
    eventually(lambda: len(list((arena.root / "Misc" / "workers").glob("*.json"))) > 1)
    assert not arena.results("b"), "there is one device, and it is in use"
    (arena.notes / "waits").unlink()
    host = arena.host_of(first)
    os.kill(host, signal.SIGSTOP)
    first.kill()
    first.wait()
    ours = account.Account(account.folder_of(arena.workspace, "shared"), {"gpus": 1}, ["0"])
    assert ours.take((("gpus", 1),)) == {"gpus"}, "its task lives on, and has the device"
    os.kill(host, signal.SIGCONT)
    arena.note("waits")
    (arena.notes / "gate").touch()
    arena.ended(second)
    assert arena.names("Completed") == ["a", "b"]
    assert arena.results("a") == {"waits": "0"}


def test_all_or_nothing_is_taken_and_a_descriptor_keeps_it(tmp_path):
    ours = account.Account(str(tmp_path / "pool"), {"gpus": 2, "cpus": 4}, ["x", "y"])
    theirs = account.Account(str(tmp_path / "pool"), {"gpus": 2, "cpus": 4}, ["x", "y"])
    first = ours.take((("cpus", 3), ("gpus", 1)))
    assert isinstance(first, tuple)
    assert first[1] == ["x"]
    assert theirs.take((("cpus", 2), ("gpus", 1))) == {"cpus"}
    second = theirs.take((("cpus", 1), ("gpus", 1)))
    assert isinstance(second, tuple)
    assert second[1] == ["y"]
    assert ours.take((("gpus", 1),)) == {"gpus"}
    child = os.dup(first[0])  # as a host has it
    os.close(first[0])
    assert ours.take((("gpus", 1),)) == {"gpus"}
    os.close(child)
    third = ours.take((("gpus", 1),))
    assert isinstance(third, tuple)
    assert third[1] == ["x"]
    for descriptor in (second[0], third[0]):
        os.close(descriptor)
    account.close(str(tmp_path / "pool"))
    assert not (tmp_path / "pool").exists()


def test_there_are_as_many_devices_as_this_process_may_see(tmp_path, monkeypatch):
    workspace = workspaces.prepare(str(tmp_path))
    monkeypatch.setenv(room.VISIBLE, "3")
    with pytest.raises(UsageError, match="There are not 2 GPUs"):
        work.work(workspace, print, workers=2, until_idle=True, resources={"gpus": 2})
    monkeypatch.delenv(room.VISIBLE)
    assert room.devices({"gpus": 2}) == ["0", "1"]
    assert room.capacity({"cpus": 9})["cpus"] == 9
    assert room.capacity({})["memory"] > 1 << 20


def test_less_urgent_runs_do_not_take_what_a_more_urgent_one_waits_for(arena):
    arena.drop("a", "Waits", resources={"gpus": 1}, priority=10)
    arena.drop("big", "UsesDevices", resources={"gpus": 2}, priority=9)
    for name in "bc":
        arena.drop(name, "UsesDevices", resources={"gpus": 1})
    arena.drop("other", "Sees", resources={"cpus": 1})
    assert not arena.ready().refused
    both = [arena.start("--until-idle", "--resources", "gpus=2", "--pool", "p") for _ in range(2)]
    eventually(lambda: arena.names("Completed") == ["other"])
    (arena.notes / "gate").touch()
    for worker in both:
        arena.ended(worker)
    started = {name: arena.events(name, "task_started")[0]["at"] for name in ("big", "b", "c")}
    assert started["big"] == min(started.values())


def test_what_a_full_disk_kept_from_being_written_down_is_not_taken(tmp_path, monkeypatch):
    books = account.Account(str(tmp_path / "pool"), {"gpus": 1}, ["0"])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as disk:
        disk.setattr(account.durable, "append", full)
        with pytest.raises(OSError, match="full"):
            books.take((("gpus", 1),))
    taken = books.take((("gpus", 1),))
    assert isinstance(taken, tuple)
    assert taken[1] == ["0"]
    os.close(taken[0])


def test_runs_wait_until_what_they_take_can_be_noted_and_others_do_not(arena):
    arena.drop("a", "Sees", resources={"gpus": 1})
    arena.drop("b", "Sees")
    arena.ready()
    in_the_way = arena.root / "Misc" / "pools"
    in_the_way.write_text("not a folder")
    worker = arena.start("--until-idle", "--resources", "gpus=1")
    assert worker.stdout is not None
    assert any("cannot be noted" in line for line in iter(worker.stdout.readline, ""))
    eventually(lambda: arena.names("Completed") == ["b"])
    in_the_way.unlink()
    assert "cannot be noted" not in arena.ended(worker), "it is said once"
    assert arena.results("a") == {"sees": "0"}


def test_an_account_that_is_cleared_away_while_somebody_waits_for_it_is_made_anew(tmp_path, monkeypatch):
    folder = tmp_path / "pool"
    books = account.Account(str(folder), {"gpus": 1}, ["0"])
    real, cleared = fcntl.flock, []

    def clears_first(descriptor: int, how: int) -> None:
        if not cleared:
            cleared.append(folder.rmdir())
        real(descriptor, how)

    monkeypatch.setattr(account.fcntl, "flock", clears_first)
    taken = books.take((("gpus", 1),))
    assert isinstance(taken, tuple)
    assert os.listdir(folder) == ["0"]
    assert books.take((("gpus", 1),)) == {"gpus"}
    os.close(taken[0])
