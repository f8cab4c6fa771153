"""Workers and the deaths around them: what the next one finds, and what none of them leaves behind."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress

import pytest

from tests.integration.harness import eventually, is_gone, mutant

TASKS = r"""
    import json
    import multiprocessing
    import os
    import shutil
    import signal
    import subprocess
    import sys
    import time
    from pathlib import Path

    from job_orchestration import TaskBase

    NOTES = Path(os.environ["JOB_ORCHESTRATION_WORKSPACE"]).parent / "notes"
    with (NOTES / "imports").open("a") as file:
        file.write(f"{os.getpid()}\n")
    if (NOTES / "broken").exists():
        exec((NOTES / "broken").read_text())


    def note(name, text):
        NOTES.joinpath(name + ".tmp").write_text(f"{text}\n")
        NOTES.joinpath(name + ".tmp").rename(NOTES / name)


    def wait_for(name):
        while not (NOTES / name).exists():
            time.sleep(0.01)


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config


    class Quick(Base):
        def run(self):
            return os.getpid()


    class Signals(Base):
        def run(self):
            status = Path("/proc/self/status").read_text()
            own = [line.split()[1] for line in status.splitlines() if "SigIgn" in line]
            grep = ["grep", "SigIgn", "/proc/self/status"]
            program = subprocess.run(grep, stdout=-1, text=True, check=True)
            return [int(mask, 16) for mask in (*own, program.stdout.split()[1])]


    class DiesAtFirst(Base):
        def run(self):
            tries = NOTES / "tries"
            with tries.open("a") as file:
                file.write(f"{self.context.attempt} {os.getppid()}\n")
            if len(tries.read_text().splitlines()) == 1:
                os._exit(7)


    class Gated(Base):
        def run(self):
            attempt = self.context.attempt
            note(f"{self.context.run}.{attempt}", os.getpid())
            wait_for("gate")
            return attempt


    class LeavesProcesses(Base):
        def run(self):
            if self.context.attempt == 1:
                two = (
                    "import os, time; os.setsid(); os.fork() and os._exit(0);"
                    " print(os.getpid(), flush=True); time.sleep(1000)"
                )
                shell = subprocess.Popen(["setsid", "sleep", "1000"])
                daemon = subprocess.Popen([sys.executable, "-c", two], stdout=subprocess.PIPE, text=True)
                note("garbage", json.dumps([shell.pid, int(daemon.stdout.readline())]))
                wait_for("never")
            return "clean"


    class Forks(Base):
        def run(self):
            if self.context.attempt == 1:
                if not os.fork():
                    os.setsid()
                    if os.fork():
                        os._exit(0)
                    note("fork", os.getpid())
                    signal.pause()
                wait_for("never")
            return "clean"


    class Pools(Base):
        def run(self):
            here, there = multiprocessing.Pipe()
            waits = lambda: there.send(1) or time.sleep(1000)
            member = multiprocessing.get_context("fork").Process(target=waits)
            member.start()
            here.recv()
            member.terminate()
            member.join(3)
            code = member.exitcode
            member.kill()
            return [code, self.context.should_stop]


    class Removes(Base):
        def run(self):
            shutil.rmtree(self.config["outputDir"])
            self.context.store.save_text("too late", "x")


    class Tears(Base):
        def run(self):
            if self.context.attempt == 1 and not (NOTES / "torn").exists():
                note("torn", "once")
                journal = Path(self.config["outputDir"], "journal", "000001.jsonl")
                with journal.open("ab") as file:
                    file.write(b'{"seq": 3, "at": "2030-01-01T00:00:00+00:00", "event": "task_fin')
                os._exit(7)
            return "mended"
"""


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    os.kill(pid, number)


# -- imports that fail --------------------------------------------------------------------------------------

BROKEN = {
    "error": ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
    "exit": ("sys.exit('so long')", "SystemExit: so long"),
    "crash": ("os.kill(os.getpid(), signal.SIGSEGV)", "was ended by SIGSEGV"),
    "strange": (r"raise ValueError('caf\udce9')", "ValueError: caf"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_an_import_that_fails_is_a_failed_try_and_not_a_storm_of_processes(sandbox, how):
    source, message = BROKEN[how]
    sandbox.queue("a", "Quick", maxAttempts=3)
    (sandbox.notes / "broken").write_text(source)
    (sandbox.notes / "imports").unlink()
    said = sandbox.work()
    assert sandbox.names("Failed") == ["a"]
    failures = sandbox.events("a", "task_failed")
    assert [f["task"] for f in failures] == ["quick"] * 3
    assert all(message in f["error"] for f in failures)
    assert (sandbox.notes / "imports").read_text().count("\n") == 3, "one fork server a try"
    assert message in sandbox.log("a")
    assert "FAILED" in (sandbox.output("a") / "status.yaml").read_text()
    assert "a: failed" in said


def test_an_import_that_hangs_is_a_failed_try_too(sandbox, tmp_path):
    sandbox.queue("a", "Quick", maxAttempts=1)
    (sandbox.notes / "broken").write_text("time.sleep(1000)")
    impatient = mutant(
        tmp_path, "executor/fork_server_client.py", "IMPORT_LIMIT: Final = 600.0", "IMPORT_LIMIT: Final = 1.0"
    )
    sandbox.work(package=impatient)
    (failure,) = sandbox.events("a", "task_failed")
    assert "took longer than 1 s" in failure["error"]
    assert sandbox.names("Failed") == ["a"]


def test_an_import_that_is_mended_in_time_costs_tries_and_nothing_else(sandbox):
    sandbox.queue("a", "Quick", maxAttempts=2)
    (sandbox.notes / "broken").write_text("(NOTES / 'broken').unlink()\nraise RuntimeError('once')\n")
    sandbox.work()
    assert sandbox.names("Completed") == ["a"]
    assert len(sandbox.events("a", "task_failed")) == 1


# -- deaths -------------------------------------------------------------------------------------------------


def test_a_run_whose_worker_and_child_died_goes_on_from_its_checkpoint(sandbox):
    sandbox.queue("a", "Quick", "Gated", maxAttempts=1)
    worker = sandbox.start()
    child = int(sandbox.note("a.1"))
    kill(worker.pid)
    eventually(lambda: is_gone(child), "the child of a dead worker")
    (sandbox.notes / "gate").touch()
    sandbox.work()
    assert [e["attempt"] for e in sandbox.events("a", "claimed")] == [1, 2]
    assert len([e for e in sandbox.events("a", "task_started") if e["task"] == "quick"]) == 1
    assert sandbox.results("a")["gated"] == 2
    assert sandbox.events("a", "task_failed") == []


def test_an_attempt_ends_with_its_fork_server_though_that_is_killed_between_two_tries(sandbox, tmp_path):
    killing = mutant(
        tmp_path,
        "executor/fork_server_client.py",
        "        if fork_server is not None:\n            self._warm.remove(fork_server)\n",
        "        if fork_server is not None:\n            self._warm.remove(fork_server)\n"
        "            os.kill(fork_server.pid, signal.SIGKILL)\n"
        "            fork_server._process.wait()\n",
    )
    sandbox.queue("a", "DiesAtFirst")
    sandbox.work(package=killing)
    tries = [line.split() for line in (sandbox.notes / "tries").read_text().splitlines()]
    assert [attempt for attempt, _ in tries] == ["1", "2"]
    assert len({fork_server for _, fork_server in tries}) == 2
    assert [e["attempt"] for e in sandbox.events("a", "claimed")] == [1, 2]
    assert [e["outcome"] for e in sandbox.events("a", "task_failed")] == ["crash"]


@pytest.mark.parametrize("victims", ["fork_server", "worker", "both"])
def test_processes_that_a_run_left_behind_are_killed_whichever_process_died(sandbox, victims):
    sandbox.queue("a", "LeavesProcesses", maxAttempts=1)
    worker = sandbox.start()
    garbage = json.loads(sandbox.note("garbage"))
    fork_server = sandbox.fork_server_of(worker)
    if victims == "fork_server":
        kill(fork_server)
        eventually(lambda: sandbox.names("Completed"), "the same worker goes on")
        assert all(is_gone(pid) for pid in garbage), "gone before the next attempt began"
    elif victims == "worker":
        kill(worker.pid)
        eventually(
            lambda: all(is_gone(pid) for pid in [*garbage, fork_server]), "the fork server ends everything"
        )
    else:
        kill(fork_server, signal.SIGSTOP)
        kill(worker.pid)
        kill(fork_server)
        eventually(lambda: is_gone(fork_server))
        assert not any(is_gone(pid) for pid in garbage), "no process was left to end them"
        sandbox.work()
        assert all(is_gone(pid) for pid in garbage), "the next holder has ended them"
    if victims != "worker":
        assert sandbox.results("a") == {"leavesprocesses": "clean"}
        assert sandbox.events("a", "task_failed") == []


def test_a_fork_in_a_session_of_its_own_ends_with_its_fork_server(sandbox):
    sandbox.queue("a", "Forks", maxAttempts=1)
    worker = sandbox.start()
    fork = int(sandbox.note("fork"))
    kill(sandbox.fork_server_of(worker))
    eventually(lambda: sandbox.names("Completed") == ["a"])
    assert is_gone(fork)


def test_a_process_that_a_task_forked_ends_by_sigterm_and_stops_no_other(sandbox):
    sandbox.queue("a", "Pools", maxAttempts=1)
    sandbox.work()
    assert sandbox.results("a") == {"pools": [-signal.SIGTERM, False]}


def test_a_fork_that_outlived_everybody_is_ended_by_the_next_holder(sandbox):
    sandbox.queue("a", "Forks", maxAttempts=1)
    worker = sandbox.start()
    fork = int(sandbox.note("fork"))
    fork_server = sandbox.fork_server_of(worker)
    kill(fork_server, signal.SIGSTOP)
    kill(worker.pid)
    kill(fork_server)
    worker.wait()
    sandbox.queue("b", "Quick")
    sandbox.start()
    try:
        eventually(lambda: sandbox.names("Completed"))
        assert sandbox.names("Completed")[0] == "a", "it was tried first, and is not stuck"
        assert is_gone(fork)
    finally:
        if not is_gone(fork):
            kill(fork)


LOCK_IS_SENT = "(claim.descriptor, claim.journal.descriptor)"
LOCK_IS_NOT_SENT = "(os.open(claim.path, os.O_RDONLY), claim.journal.descriptor)"


@pytest.mark.parametrize("sent", [True, False])
def test_a_run_stays_locked_while_its_fork_server_sleeps_because_that_has_the_lock(sandbox, tmp_path, sent):
    package = None if sent else mutant(tmp_path, "worker/claimed_run.py", LOCK_IS_SENT, LOCK_IS_NOT_SENT)
    sandbox.queue("a", "Gated", maxAttempts=1)
    worker = sandbox.start(package=package)
    child = int(sandbox.note("a.1"))
    fork_server = sandbox.fork_server_of(worker)
    kill(fork_server, signal.SIGSTOP)
    kill(worker.pid)
    worker.wait()
    sandbox.queue("b", "Quick")
    sandbox.start(package=package)
    if sent:
        eventually(lambda: sandbox.names("Completed") == ["b"], "b: Running was tried before it")
        assert [e["attempt"] for e in sandbox.events("a", "claimed")] == [1]
        assert not is_gone(child)
        kill(fork_server)
        eventually(lambda: is_gone(child))  # or it would finish the task before its death reached it
    else:
        sandbox.note("a.2")  # its fork server only slept, and lost the run: sending the lock prevents this
    (sandbox.notes / "gate").touch()
    eventually(lambda: sandbox.names("Completed") == ["a", "b"])
    assert sandbox.results("a") == {"gated": 2}
    with suppress(ProcessLookupError):  # the next holder has killed it, and it may be reaped
        kill(fork_server, signal.SIGCONT) if not sent else None


def test_half_a_line_in_a_journal_is_ended_before_the_next_event(sandbox):
    sandbox.queue("a", "Tears", maxAttempts=2)
    sandbox.work()
    lines = (sandbox.output("a") / "journal" / "000001.jsonl").read_bytes().split(b"\n")
    assert lines[2].endswith(b"task_fin (torn)")
    whole = [json.loads(line)["event"] for line in lines[3:] if line]
    assert whole == ["task_failed", "task_started", "task_finished", "completed"]
    assert sandbox.results_of_valid("a") == {"tears": "mended"}
    (failure,) = [json.loads(line) for line in lines[3:] if b"task_failed" in line]
    assert failure["error"] == "the task ended its process with exit code 7"


def test_a_run_whose_folder_was_removed_goes_on_and_the_task_is_named(sandbox):
    sandbox.drop("a", "Removes")
    sandbox.drop("b", "Quick")
    sandbox.ready()
    said = sandbox.work()
    assert sandbox.names("Completed") == ["a", "b"]
    assert said.count("a: task") == 1
    (spoilt,) = sandbox.events("a", "spoilt")
    assert spoilt["task"] == "removes"
    assert "Task removes removed or changed files of the run's record" in sandbox.log("a")


# -- the order of things ------------------------------------------------------------------------------------


def test_an_interrupted_run_is_tried_before_those_that_wait(sandbox):
    sandbox.queue("z", "Gated")
    worker = sandbox.start()
    sandbox.note("z.1")
    kill(worker.pid)
    worker.wait()
    for name in ("a", "b"):
        sandbox.drop(name, "Quick")
    sandbox.ready()
    (sandbox.notes / "gate").touch()
    sandbox.work()
    begun = sorted((e["at"], run) for run in ("z", "a", "b") for e in sandbox.events(run, "claimed"))
    assert [run for _, run in begun] == ["z", "z", "a", "b"]


def test_a_polite_stop_hands_the_run_back_and_is_no_failed_try(sandbox):
    sandbox.queue("a", "Gated", maxAttempts=1, graceTime=0)
    worker = sandbox.start()
    sandbox.note("a.1")
    worker.terminate()
    sandbox.ended(worker)
    assert sandbox.names("ConfigsToRun") == ["a"]
    assert sandbox.events("a")[-1]["event"] == "handed_back"
    (sandbox.notes / "gate").touch()
    sandbox.work()
    assert sandbox.names("Completed") == ["a"]


def test_files_that_ready_did_not_put_there_never_run_and_stop_no_worker(sandbox):
    for name in ("edited", "replaced", "fine", "running"):
        sandbox.drop(name, "Quick")
    sandbox.ready()
    to_run = sandbox.root / "ConfigsToRun"
    with (to_run / "edited.yaml").open("a") as file:
        file.write("x: 1\n")
    (to_run / "new").write_text((to_run / "replaced.yaml").read_text() + "\n")
    (to_run / "new").rename(to_run / "replaced.yaml")
    (to_run / "byhand.yaml").write_text("tasks: [{id: a, method: Quick}]\n")
    (to_run / "folder.yaml").mkdir()
    os.mkfifo(to_run / "pipe.yaml")
    (to_run / "link.yaml").symlink_to("fine.yaml")
    (to_run / "running.yaml").rename(sandbox.root / "Running" / "running~g000001~lab.1.abc.yaml")
    with (sandbox.root / "Running" / "running~g000001~lab.1.abc.yaml").open("a") as file:
        file.write("x: 1\n")
    said = sandbox.work()
    assert sandbox.names("Completed") == ["fine"]
    unfit = ["byhand", "edited", "folder", "link", "pipe", "replaced"]
    assert sandbox.names("ConfigsToRun") == unfit
    for name in unfit:
        problems = (to_run / f"{name}.yaml.problems.txt").read_text()
        assert problems.startswith(f"{name}.yaml: ")
        assert len(problems.split(". ")) >= 2, "what is wrong, and what to do"
        assert said.count(f"{name}.yaml: ") == 1, "said once"
    assert sandbox.names("Running") == ["running"]
    for name in ("edited", "replaced", "running"):
        assert len(sandbox.events(name)) == 1, "no worker claimed it"


# -- how the worker was started ------------------------------------------------------------------------------

STARTED_WITH = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD)


@pytest.mark.parametrize("isolation", ["fork", "spawn"])
def test_a_task_has_default_signals_however_its_worker_was_started(sandbox, isolation):
    """As under `nohup`, `cron`, and `&` in a script, which have programs ignore some signals."""
    sandbox.queue("a", "Signals", isolation=isolation)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in STARTED_WITH}
    try:
        worker = sandbox.start("--until-idle")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    sandbox.ended(worker)
    for mask in sandbox.results("a")["signals"]:
        assert not [number for number in STARTED_WITH if mask & 1 << number - 1]
