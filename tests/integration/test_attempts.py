"""What a child is while it runs tasks: one worker runs them all, and each test looks at what one saw."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.integration.harness import Sandbox, eventually, is_gone

TASKS = r"""
    import atexit
    import ctypes
    import os
    import random
    import signal
    import subprocess
    import sys
    import threading
    from pathlib import Path

    import numpy

    from job_orchestration import PermanentError, TaskBase, TemporaryError

    HOST = os.getpid()
    atexit.register(lambda: os.write(2, b"the handler of the imports\n"))


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config

        def note(self, name, text):
            Path(self.config["notes"], name).write_text(f"{text}\n")


    def descriptors():
        found = {}
        for number in map(int, os.listdir("/proc/self/fd")):
            try:
                target = os.readlink(f"/proc/self/fd/{number}")
            except OSError:
                continue
            if number > 2:
                found[target] = os.get_inheritable(number)
        return found


    class Descriptors(Base):
        def run(self):
            look = ["sh", "-c", "readlink /proc/$$/fd/* || true"]
            text = subprocess.run(look, close_fds=False, check=True, stdout=subprocess.PIPE, text=True).stdout
            return {"own": descriptors(), "program": text.splitlines()}


    def interrupted():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            return True
        return False


    class Group(Base):
        def run(self):
            kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
            look = ["grep", "Sig", "/proc/self/status"]
            printed = subprocess.run(look, check=True, stdout=subprocess.PIPE, text=True).stdout
            masks = [line.split() for line in printed.replace(":", "").splitlines() if "/" not in line]
            return {
                "leader": os.getpgrp() == os.getpid(),
                "is_fork_server": os.getpid() == HOST,
                "parent_is_fork_server": os.getppid() == HOST,
                "session_is_fork_server": os.getsid(0) == HOST,
                "handlers": [getattr(signal.getsignal(k), "name", "own") for k in kinds],
                "interrupt": interrupted(),
                "program": dict(masks),
                "stdin": os.read(0, 10).decode(),
                "folder": os.getcwd(),
                "hash_seed": sys.flags.hash_randomization,
            }


    class Stopped(Base):
        def run(self):
            os.kill(os.getpid(), signal.SIGTERM)
            return self.context.should_stop


    class AtExit(Base):
        def run(self):
            atexit.register(lambda: os.write(2, b"the task's own handler\n"))
            threading.Thread(target=threading.Event().wait, daemon=True).start()  # never ended
            sys.stdout.write("written and never flushed")


    class Draws(Base):
        def run(self):
            drawn = [random.random(), float(numpy.random.random()), random.getrandbits(60)]
            self.note(f"{self.context.run}.{self.config['id']}.{self.context.attempt}", drawn)
            if self.config.get("fails") and not Path(self.config["notes"], "failed").exists():
                self.note("failed", "once")
                raise TemporaryError("once", delay=0)
            return drawn


    class Prints(Base):
        def run(self):
            print("from Python")
            sys.stderr.write("from stderr\n")
            ctypes.CDLL(None).puts(b"from C")
            ctypes.CDLL(None).fflush(None)
            os.system("echo from a shell")
            subprocess.run(["echo", "from a program"], check=True)
            os.write(1, b"from a descriptor\n")
            self.context.log.info("from the log")
            print("caf\udce9 from a strange name")


    class Closes(Base):
        def run(self):
            print("before", flush=True)
            os.close(1)
            sys.stderr.write("after\n")
            return "went on"


    class Garbage(Base):
        def run(self):
            os.write(1, bytes(range(256)) + b"\n")
            os.write(2, b"\xff\xfe\x00 the end of the garbage\n")


    class LongLine(Base):
        def run(self):
            print("x" * 5_000_000)
            print("the end of the line")


    class Daemons(Base):
        def run(self):
            one = subprocess.Popen(["setsid", "sleep", "1000"])
            forked = os.fork()
            if not forked:
                os.setsid()
                if os.fork():
                    os._exit(0)
                self.note("daemon", os.getpid())
                signal.pause()
            os.waitpid(forked, 0)
            while not Path(self.config["notes"], "daemon").exists():
                pass
            return one.pid


    class Looks(Base):
        def run(self):
            pid = Path(self.config["notes"], "daemon").read_text().strip()
            return Path("/proc", pid).exists()


    class Swallows(Base):
        def run(self):
            children = [os.fork() for _ in range(3)]
            if 0 in children:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                signal.pause()
            return children


    class Permanent(Base):
        def run(self):
            raise PermanentError("there is no such gene")


    class Lies(Base):
        def run(self):
            sys.stdout = sys.stderr = None
            os.environ.clear()
            random.seed(1)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.chdir("/")
            return "lied"

"""

SPAWNED = ("isolated", "threaded")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    sandbox = Sandbox(tmp_path_factory.mktemp("attempts"), TASKS)
    plain = ("Descriptors", "Group", "Stopped", "AtExit", "Prints", "Closes", "Garbage", "LongLine")
    for method in (*plain, "Daemons", "Swallows"):
        sandbox.drop(method.lower(), method)
    sandbox.drop("permanent", "Permanent")
    sandbox.drop("zlooks", "Looks")  # the last of all, by its name
    sandbox.drop("lies", "Lies", "Group")
    sandbox.drop("draws1", "Draws")
    sandbox.drop("draws2", "Draws")
    sandbox.drop("seeded1", "Draws", seed=5)
    sandbox.drop("seeded2", "Draws", seed=5)
    sandbox.drop("again", "Draws", seed=5, fails=True)
    sandbox.drop("isolated", "Draws", "Descriptors", "Group", "Prints", "AtExit", seed=5, isolation="spawn")
    threads = sandbox.make_repository(
        "threads", TASKS + "\n    threading.Thread(target=signal.pause, daemon=True).start()\n"
    )
    sandbox.drop("threaded", "Draws", "Descriptors", "Group", seed=5, pathToTasks=str(threads))
    report = sandbox.ready()
    assert not report.refused, report.refused
    sandbox.said = sandbox.work()
    yield sandbox
    sandbox.close()


def test_all_of_them_end_as_they_should(sandbox):
    assert sandbox.names("Failed") == ["permanent"]
    assert sandbox.names("Running") == sandbox.names("ConfigsToRun") == []
    assert len(sandbox.names("Completed")) == 19


# -- descriptors and signals --------------------------------------------------------------------------------


@pytest.mark.parametrize("run", ["descriptors", *SPAWNED])
def test_programs_of_a_task_inherit_neither_lock_nor_journal_nor_socket(sandbox, run):
    found = sandbox.results(run)["descriptors"]
    held = [target for target in found["own"] if re.search(r"Running|journal|memfd", target)]
    assert len(held) == 3, "the child itself has the lock, the journal and the page"
    assert not any(found["own"].values()), "all of its descriptors are closed on exec"
    assert not any("socket" in target for target in found["own"]), "the fork server's socket is its own"
    inherited = [target for target in found["program"] if re.search(r"Running|journal|socket|memfd", target)]
    assert inherited == []


@pytest.mark.parametrize("run", ["group", *SPAWNED])
def test_a_child_is_a_process_group_of_its_own_with_fresh_signals(sandbox, run):
    found = sandbox.results(run)["group"]
    assert found["leader"]
    assert found["interrupt"], "Ctrl-C from a task's own library is KeyboardInterrupt"
    assert found["handlers"][2:] == ["own", "SIG_DFL"], "SIGHUP is a polite request, like SIGTERM"
    assert found["stdin"] == ""
    assert found["folder"] == str(sandbox.output(run) / "working_directory")
    ignored, blocked = (int(found["program"][name], 16) for name in ("SigIgn", "SigBlk"))
    for number in (1, 2, 15, 17):
        assert not ignored & (1 << (number - 1)), f"programs of a task get signal {number}"
    assert blocked == 0
    if run == "group":
        assert (found["parent_is_fork_server"], found["session_is_fork_server"]) == (True, True)


def test_a_child_is_a_fork_of_the_fork_server_or_a_fresh_interpreter_as_its_config_says(sandbox):
    assert sandbox.results("group")["group"]["is_fork_server"] is False
    for run in SPAWNED:
        assert sandbox.results(run)["group"]["is_fork_server"] is True, "it has imported the tasks itself"


def test_threads_of_the_imports_make_it_a_fresh_interpreter_and_the_worker_says_so_once(sandbox):
    assert sandbox.said.count("leave threads behind") == 1, "said once for each worker"
    assert "leave threads behind" not in sandbox.log("threaded")


def test_a_sigterm_is_a_polite_request_that_a_task_may_see(sandbox):
    assert sandbox.results("stopped") == {"stopped": True}


@pytest.mark.parametrize("run", ["atexit", "isolated"])
def test_a_child_calls_its_exit_handlers_once_and_waits_for_no_daemon_thread(sandbox, run):
    log = sandbox.log(run)
    assert log.count("the task's own handler") == 1
    assert log.count("the handler of the imports") == 1
    assert "written and never flushed" in log


# -- random numbers -----------------------------------------------------------------------------------------


def test_runs_without_a_seed_do_not_repeat_each_other(sandbox):
    assert sandbox.results("draws1") != sandbox.results("draws2")


def test_runs_of_the_same_seed_draw_the_same_numbers_forked_or_spawned(sandbox):
    wanted = sandbox.results("seeded1")["draws"]
    for run in ("seeded2", *SPAWNED):
        assert sandbox.results(run)["draws"] == wanted


def test_a_second_try_draws_the_numbers_of_the_first(sandbox):
    assert [e["delay_s"] for e in sandbox.events("again", "task_failed")] == [0]
    assert sandbox.results("again") == sandbox.results("seeded1")


# -- output -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", ["prints", "isolated"])
def test_everything_that_a_task_prints_is_in_the_log_whatever_printed_it(sandbox, run):
    log = sandbox.log(run)
    sources = ("Python", "stderr", "C", "a shell", "a program", "a descriptor", "the log")
    for source in sources:
        assert f"from {source}\n" in log
    assert "caf\\udce9 from a strange name" in log


def test_a_task_that_closes_its_output_goes_on(sandbox):
    assert sandbox.results("closes") == {"closes": "went on"}
    assert "before\n" in sandbox.log("closes")
    assert "after\n" in sandbox.log("closes")


def test_binary_garbage_and_endless_lines_reach_the_log_as_they_are(sandbox):
    garbage = (sandbox.output("garbage") / "log.log").read_bytes()
    assert bytes(range(11)) in garbage
    assert bytes(range(14, 256)) in garbage, "the carriage return begins the line anew"
    assert b"the end of the garbage" in garbage
    assert "x" * 5_000_000 + "\nthe end of the line\n" in sandbox.log("longline")


# -- ends ---------------------------------------------------------------------------------------------------


def test_what_a_task_leaves_behind_neither_holds_its_run_nor_outlives_it(sandbox):
    left = [
        sandbox.results("daemons")["daemons"],
        int(sandbox.note("daemon")),
        *sandbox.results("swallows")["swallows"],
    ]
    assert "daemons" in sandbox.names("Completed")
    assert all(is_gone(pid) for pid in left)
    assert sandbox.results("zlooks") == {"looks": False}, (
        "it was gone before a later run, not with the worker"
    )


def test_nothing_of_the_workspace_lives_on_after_the_worker(sandbox):
    eventually(lambda: not sandbox.alive())


def test_a_permanent_error_is_not_tried_again(sandbox):
    (failure,) = sandbox.events("permanent", "task_failed")
    assert failure["permanent"]
    (end,) = sandbox.events("permanent", "gave_up")
    assert "there is no such gene" in end["reason"]


def test_a_task_that_spoils_its_process_spoils_only_its_own_run(sandbox):
    assert sandbox.results("lies")["lies"] == "lied"
    later = [e["at"] for run in SPAWNED for e in sandbox.events(run, "task_started")]
    assert max(later) > sandbox.events("lies", "completed")[0]["at"]


def test_numpy_that_a_task_imports_itself_is_seeded_too(tmp_path):
    pytest.importorskip("numpy")
    code = (
        "import sys, random; from job_orchestration.executor.child_setup import seed_all\n"
        "assert 'numpy' not in sys.modules\n"
        "seed_all(7); import numpy; print(random.random(), numpy.random.random())"
    )
    printed = {subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60) for _ in range(2)}
    assert len(printed) == 1
