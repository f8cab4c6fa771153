"""The bytes of a drop: once, whole, and only from a regular file."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from job_orchestration.config import yaml_reader
from job_orchestration.diagnostics.problems import Problem
from job_orchestration.submission import dropped_files
from job_orchestration.submission.dropped_files import Drop, Settling, read_drop
from job_orchestration.workspace import durable, problems_file


def at_rest(_status):
    return True


def needs_leases(folder):
    """Skip where this file system grants no leases at all."""
    path = folder / "lease-probe"
    path.write_bytes(b"")
    with open(path, "rb") as file:
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            pytest.skip(f"no leases on this file system: {error}")
    path.unlink()


# -- what is read ------------------------------------------------------------------------------------------


def test_a_settled_file_is_read_with_its_identity(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: 1\n")
    drop = read_drop(tmp_path, "a.yaml", settled=at_rest)
    status = path.stat()
    assert drop == Drop("a.yaml", b"a: 1\n", (status.st_dev, status.st_ino, 5, status.st_mtime_ns))


def test_a_drop_knows_whether_its_file_is_still_the_one_it_was_read_from(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: 1\n")
    drop = read_drop(tmp_path, "a.yaml", settled=at_rest)
    assert drop.is_still(path)
    again = tmp_path / "b.yaml"
    again.write_bytes(b"a: 1\n")
    again.rename(path)
    assert not drop.is_still(path), "another file took the name"
    drop = read_drop(tmp_path, "a.yaml", settled=at_rest)
    with path.open("ab") as file:
        file.write(b"b: 2\n")
    assert not drop.is_still(path), "the file was written to"
    path.unlink()
    assert not drop.is_still(path), "the file is gone"


def test_a_file_of_just_the_limit_is_read(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"#" * yaml_reader.MAX_BYTES)
    assert len(read_drop(tmp_path, "a.yaml", settled=at_rest).data) == yaml_reader.MAX_BYTES


# -- what is not ------------------------------------------------------------------------------------------


def make_fifo(path):
    os.mkfifo(path)


def make_link(path):
    path.symlink_to("/etc/passwd")


def make_dangling_link(path):
    path.symlink_to("/nowhere")


def make_link_to_a_device(path):
    path.symlink_to("/dev/zero")


def make_folder(path):
    path.mkdir()


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (make_fifo, "a FIFO"),
        (make_link, "a link"),
        (make_dangling_link, "a link"),
        (make_link_to_a_device, "a link"),
        (make_folder, "a folder"),
        (make_socket, "a socket"),
    ],
)
def test_only_a_regular_file_is_opened(tmp_path, monkeypatch, make, kind):
    monkeypatch.chdir(tmp_path)
    make(Path("x.yaml"))  # a socket's path must be short
    problem = read_drop(tmp_path, "x.yaml", settled=at_rest)
    assert str(problem) == f"x.yaml: this is {kind}, not a regular file. Put the config itself here."


def test_a_device_is_not_opened():
    problem = read_drop(Path("/dev"), "zero", settled=at_rest)
    assert str(problem) == "zero: this is a device, not a regular file. Put the config itself here."


def test_a_fifo_that_takes_the_name_at_the_last_moment_does_not_hang(tmp_path, monkeypatch):
    (tmp_path / "x.yaml").write_bytes(b"a: 1\n")
    os.mkfifo(tmp_path / "fifo")
    really_open = os.open

    def swap_and_open(path, flags, *mode):
        os.replace(tmp_path / "fifo", tmp_path / "x.yaml")
        return really_open(path, flags, *mode)

    monkeypatch.setattr(os, "open", swap_and_open)
    problem = read_drop(tmp_path, "x.yaml", settled=at_rest)
    assert problem.what == "this is a FIFO, not a regular file"


def test_a_file_of_twenty_megabytes_is_refused_unread(tmp_path):
    with open(tmp_path / "x.yaml", "wb") as file:
        file.truncate(20_000_000)
    problem = read_drop(tmp_path, "x.yaml", settled=at_rest)
    assert str(problem) == (
        "x.yaml: the file has 20000000 bytes, and 1048576 are the most. Keep data in other files."
    )


def test_a_file_that_cannot_be_opened_is_a_problem(tmp_path):
    name = "x" * 300 + ".yaml"
    problem = read_drop(tmp_path, name, settled=at_rest)
    assert problem.what == "the file cannot be opened: File name too long"


def test_a_name_that_is_not_utf_8_can_be_shown(tmp_path):
    name = os.fsdecode(b"caf\xe9.yaml")
    os.mkfifo(os.path.join(os.fsencode(tmp_path), b"caf\xe9.yaml"))
    problem = read_drop(tmp_path, name, settled=at_rest)
    assert str(problem).encode("ascii").startswith(rb"caf\udce9.yaml: this is a FIFO")


def test_a_file_that_is_gone_is_nothing_to_talk_about(tmp_path):
    assert read_drop(tmp_path, "a.yaml", settled=at_rest) is None


# -- only whole -------------------------------------------------------------------------------------------


def test_a_file_that_has_not_settled_is_left_for_later(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"tasks:\n  - name: trai")
    assert read_drop(tmp_path, "a.yaml", settled=lambda _status: False) is None


def test_a_slow_writer_that_holds_the_file_open_is_waited_for(tmp_path):
    needs_leases(tmp_path)
    path = tmp_path / "a.yaml"
    with path.open("wb") as file:
        file.write(b"tasks:\n  - name: trai")
        file.flush()
        assert read_drop(tmp_path, "a.yaml", settled=at_rest) is None
        file.write(b"n\n")
    drop = read_drop(tmp_path, "a.yaml", settled=at_rest)
    assert drop.data == b"tasks:\n  - name: train\n"


def test_a_closed_file_needs_no_rest_if_that_is_asked_for(tmp_path, monkeypatch):
    needs_leases(tmp_path)
    path = tmp_path / "a.yaml"

    def read():
        return read_drop(tmp_path, "a.yaml", settled=lambda _status: False, closed_is_whole=True)

    with path.open("wb") as file:
        file.write(b"a: ")
        file.flush()
        assert read() is None, "a process writes it"
        file.write(b"1\n")
    assert read().data == b"a: 1\n"
    assert read_drop(tmp_path, "a.yaml", settled=lambda _status: False) is None, "it was not asked for"
    path.write_bytes(b"")
    assert read() is None, "an empty file is one that is about to be written"
    path.write_bytes(b"a: 1\n")
    monkeypatch.setattr(dropped_files, "_on_a_server", lambda _device: True)
    assert read() is None, "a lease says nothing of writers on other machines"


def test_a_file_that_changes_under_the_reader_is_left_for_later(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: 1\n")

    def settled_and_then_written(_status):
        with path.open("ab") as file:
            file.write(b"b: 2\n")
        return True

    assert read_drop(tmp_path, "a.yaml", settled=settled_and_then_written) is None


def test_where_a_server_refuses_leases_the_looks_have_to_do(tmp_path, monkeypatch):
    needs_leases(tmp_path)
    path = tmp_path / "a.yaml"
    with path.open("wb") as file:
        file.write(b"a: 1\n")
        file.flush()
        monkeypatch.setattr(dropped_files, "_on_a_server", lambda _device: True)
        assert read_drop(tmp_path, "a.yaml", settled=at_rest).data == b"a: 1\n"


def test_this_file_system_is_not_taken_for_a_server(tmp_path):
    needs_leases(tmp_path)
    assert not dropped_files._on_a_server(tmp_path.stat().st_dev)


HOLDER = """
import fcntl, os, sys
from pathlib import Path
from job_orchestration.submission import dropped_files

really = fcntl.fcntl

def broken_lease():  # the kernel says so while a writer waits for the lease
    with open("/proc/locks") as locks:
        return any("LEASE" in line and "BREAKING" in line and f" {os.getpid()} " in line for line in locks)

def slow(descriptor, command, argument=0):
    answer = really(descriptor, command, argument)
    if (command, argument) == (fcntl.F_SETLEASE, fcntl.F_RDLCK):
        print("held", flush=True)
        while not broken_lease():
            pass
    return answer

fcntl.fcntl = slow
drop = dropped_files.read_drop(Path(sys.argv[1]), "a.yaml", settled=lambda status: True)
print("alive", drop and drop.data, flush=True)
"""


def test_a_writer_that_comes_while_the_lease_is_held_kills_no_process(tmp_path):
    needs_leases(tmp_path)
    (tmp_path / "a.yaml").write_bytes(b"a: 1\n")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        cwd=Path(dropped_files.__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        writer = threading.Thread(target=lambda: (tmp_path / "a.yaml").open("r+b").close())
        writer.start()
        assert holder.stdout.readline() == "alive b'a: 1\\n'\n"
        writer.join()
    assert holder.returncode == 0


# -- settling ---------------------------------------------------------------------------------------------


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_file_settles_when_it_has_been_the_same_for_long_enough(tmp_path, clock):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a")
    settling = Settling(clock, seconds=2.0)
    assert not settling.settled("a.yaml", path.stat())
    clock.now += 1.9
    assert not settling.settled("a.yaml", path.stat())
    clock.now += 0.1
    assert settling.settled("a.yaml", path.stat())


def test_every_change_begins_the_wait_anew(tmp_path, clock):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a")
    settling = Settling(clock)
    settling.settled("a.yaml", path.stat())
    clock.now += 1.5
    with path.open("ab") as file:
        file.write(b"b")
    assert not settling.settled("a.yaml", path.stat())
    clock.now += 1.5
    assert not settling.settled("a.yaml", path.stat())
    clock.now += 0.5
    assert settling.settled("a.yaml", path.stat())


def test_a_touched_file_of_the_same_size_has_changed(tmp_path, clock):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a")
    settling = Settling(clock)
    settling.settled("a.yaml", path.stat())
    clock.now += 5
    os.utime(path, ns=(1, 1))
    assert not settling.settled("a.yaml", path.stat())


def test_a_file_that_was_renamed_in_is_whole_until_it_changes(tmp_path, clock):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a")
    settling = Settling(clock)
    settling.whole("a.yaml")
    assert settling.settled("a.yaml", path.stat())
    assert settling.settled("a.yaml", path.stat())
    path.write_bytes(b"ab")
    assert not settling.settled("a.yaml", path.stat())


def test_a_name_that_is_gone_is_forgotten(tmp_path, clock):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a")
    settling = Settling(clock)
    settling.settled("a.yaml", path.stat())
    settling.whole("b.yaml")
    settling.keep_only([])
    clock.now += 10
    assert not settling.settled("a.yaml", path.stat())
    assert not settling.settled("b.yaml", path.stat())


# -- the file of problems ---------------------------------------------------------------------------------


def test_problems_stand_beside_the_config_and_go_when_it_is_mended(tmp_path):
    problems = [Problem("a.yaml", "it is wrong", "Mend it", "x", 3, 4), Problem("a.yaml", "so is this")]
    problems_file.write_problems(tmp_path, "a.yaml", problems)
    path = tmp_path / "a.yaml.problems.txt"
    assert path.read_text() == "a.yaml:3:4: x: it is wrong. Mend it.\na.yaml: so is this.\n"
    assert os.listdir(tmp_path) == ["a.yaml.problems.txt"]
    problems_file.clear_problems(tmp_path, "a.yaml")
    problems_file.clear_problems(tmp_path, "a.yaml")
    assert os.listdir(tmp_path) == []


def test_problems_that_stand_there_already_are_not_written_again(tmp_path):
    problem = Problem("a.yaml", "it is wrong", "Mend it")
    problems_file.write_problems(tmp_path, "a.yaml", [problem])
    before = (tmp_path / "a.yaml.problems.txt").stat()
    problems_file.write_problems(tmp_path, "a.yaml", [problem])
    assert (tmp_path / "a.yaml.problems.txt").stat() == before
    problems_file.write_problems(tmp_path, "a.yaml", [problem, problem])
    assert (tmp_path / "a.yaml.problems.txt").stat().st_ino != before.st_ino


def test_a_link_in_place_of_the_problems_is_replaced_and_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "a.yaml.problems.txt").symlink_to(victim)
    problems_file.write_problems(tmp_path, "a.yaml", [Problem("a.yaml", "it is wrong")])
    assert victim.read_text() == "precious"
    assert (tmp_path / "a.yaml.problems.txt").read_text() == "a.yaml: it is wrong.\n"


def test_taking_problems_away_goes_through_the_one_module_of_writes(tmp_path):
    problems_file.write_problems(tmp_path, "a.yaml", [Problem("a.yaml", "it is wrong")])
    before = durable.counts["unlink"]
    problems_file.clear_problems(tmp_path, "a.yaml")
    assert durable.counts["unlink"] == before + 1
