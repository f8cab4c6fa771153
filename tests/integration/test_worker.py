"""Workers and the deaths around them: what the next one finds, and what none of them leaves behind."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress

import pytest

from tests.integration.arena import eventually, is_gone, mutant

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


    class Litters(Base):
        def run(self):
            if self.context.attempt == 1:
                two = (
                    "import os, time; os.setsid(); os.fork() and os._exit(0);"
                    " print(os.getpid(), flush=True); time.sleep(1000)"
                )
                shell = subprocess.Popen(["setsid", "sleep", "1000"])
                daemon = subprocess.Popen([sys.executable, "-c", two], stdout=subprocess.PIPE, text=True)
                note("litter", json.dumps([shell.pid, int(daemon.stdout.readline())]))
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
def test_an_import_that_fails_is_a_failed_try_and_not_a_storm_of_processes(arena, how):
    source, told = BROKEN[how]
    arena.queue("a", "Quick", maxAttempts=3)
    (arena.notes / "broken").write_text(source)
    (arena.notes / "imports").unlink()
    said = arena.work()
    assert arena.names("Failed") == ["a"]
    failures = arena.events("a", "task_failed")
    assert [f["task"] for f in failures] == ["quick"] * 3
    assert all(told in f["error"] for f in failures)
    assert (arena.notes / "imports").read_text().count("\n") == 3, "one host a try"
    assert told in arena.log("a")
    assert "FAILED" in (arena.output("a") / "status.yaml").read_text()
    assert "a: failed" in said


def test_an_import_that_hangs_is_a_failed_try_too(arena, tmp_path):
    arena.queue("a", "Quick", maxAttempts=1)
    (arena.notes / "broken").write_text("time.sleep(1000)")
    impatient = mutant(
        tmp_path, "engine/hosts.py", "IMPORT_LIMIT: Final = 600.0", "IMPORT_LIMIT: Final = 1.0"
    )
    arena.work(package=impatient)
    (failure,) = arena.events("a", "task_failed")
    assert "took longer than 1 s" in failure["error"]
    assert arena.names("Failed") == ["a"]


def test_an_import_that_is_mended_in_time_costs_tries_and_nothing_else(arena):
    arena.queue("a", "Quick", maxAttempts=2)
    (arena.notes / "broken").write_text("(NOTES / 'broken').unlink()\nraise RuntimeError('once')\n")
    arena.work()
    assert arena.names("Completed") == ["a"]
    assert len(arena.events("a", "task_failed")) == 1


# -- deaths -------------------------------------------------------------------------------------------------


def test_a_run_whose_worker_and_child_died_goes_on_from_its_checkpoint(arena):
    arena.queue("a", "Quick", "Gated", maxAttempts=1)
    worker = arena.start()
    child = int(arena.note("a.1"))
    kill(worker.pid)
    eventually(lambda: is_gone(child), "the child of a dead worker")
    (arena.notes / "gate").touch()
    arena.work()
    assert [e["attempt"] for e in arena.events("a", "claimed")] == [1, 2]
    assert len([e for e in arena.events("a", "task_started") if e["task"] == "quick"]) == 1
    assert arena.results("a")["gated"] == 2
    assert arena.events("a", "task_failed") == []


def test_an_attempt_ends_with_its_host_though_that_is_killed_between_two_tries(arena, tmp_path):
    killing = mutant(
        tmp_path,
        "engine/hosts.py",
        "        host = self._warm.pop(plan, None)\n",
        "        host = self._warm.pop(plan, None)\n"
        "        if host is not None:\n"
        "            os.kill(host.pid, signal.SIGKILL)\n"
        "            host._process.wait()\n",
    )
    arena.queue("a", "DiesAtFirst")
    arena.work(package=killing)
    tries = [line.split() for line in (arena.notes / "tries").read_text().splitlines()]
    assert [attempt for attempt, _ in tries] == ["1", "2"]
    assert len({host for _, host in tries}) == 2
    assert [e["attempt"] for e in arena.events("a", "claimed")] == [1, 2]
    assert [e["outcome"] for e in arena.events("a", "task_failed")] == ["crash"]


@pytest.mark.parametrize("victims", ["host", "worker", "both"])
def test_what_a_run_left_behind_is_ended_whoever_was_killed(arena, victims):
    arena.queue("a", "Litters", maxAttempts=1)
    worker = arena.start()
    litter = json.loads(arena.note("litter"))
    host = arena.host_of(worker)
    if victims == "host":
        kill(host)
        eventually(lambda: arena.names("Completed"), "the same worker goes on")
        assert all(is_gone(pid) for pid in litter), "gone before the next attempt began"
    elif victims == "worker":
        kill(worker.pid)
        eventually(lambda: all(is_gone(pid) for pid in [*litter, host]), "the host ends everything")
    else:
        kill(host, signal.SIGSTOP)
        kill(worker.pid)
        kill(host)
        eventually(lambda: is_gone(host))
        assert not any(is_gone(pid) for pid in litter), "nobody was left to end them"
        arena.work()
        assert all(is_gone(pid) for pid in litter), "the next holder has ended them"
    if victims != "worker":
        assert arena.results("a") == {"litters": "clean"}
        assert arena.events("a", "task_failed") == []


def test_a_fork_in_a_session_of_its_own_ends_with_its_host(arena):
    arena.queue("a", "Forks", maxAttempts=1)
    worker = arena.start()
    fork = int(arena.note("fork"))
    kill(arena.host_of(worker))
    eventually(lambda: arena.names("Completed") == ["a"])
    assert is_gone(fork)


def test_a_process_that_a_task_forked_ends_by_sigterm_and_stops_nobody_else(arena):
    arena.queue("a", "Pools", maxAttempts=1)
    arena.work()
    assert arena.results("a") == {"pools": [-signal.SIGTERM, False]}


def test_a_fork_that_outlived_everybody_is_ended_by_the_next_holder(arena):
    arena.queue("a", "Forks", maxAttempts=1)
    worker = arena.start()
    fork = int(arena.note("fork"))
    host = arena.host_of(worker)
    kill(host, signal.SIGSTOP)
    kill(worker.pid)
    kill(host)
    worker.wait()
    arena.queue("b", "Quick")
    arena.start()
    try:
        eventually(lambda: arena.names("Completed"))
        assert arena.names("Completed")[0] == "a", "it was tried first, and is not stuck"
        assert is_gone(fork)
    finally:
        if not is_gone(fork):
            kill(fork)


LOCK_IS_SENT = "(claim.descriptor, claim.journal.descriptor)"
LOCK_IS_NOT_SENT = "(os.open(claim.path, os.O_RDONLY), claim.journal.descriptor)"


@pytest.mark.parametrize("sent", [True, False])
def test_a_run_stays_locked_while_its_host_sleeps_because_the_host_has_the_lock(arena, tmp_path, sent):
    package = None if sent else mutant(tmp_path, "engine/worker.py", LOCK_IS_SENT, LOCK_IS_NOT_SENT)
    arena.queue("a", "Gated", maxAttempts=1)
    worker = arena.start(package=package)
    child = int(arena.note("a.1"))
    host = arena.host_of(worker)
    kill(host, signal.SIGSTOP)
    kill(worker.pid)
    worker.wait()
    arena.queue("b", "Quick")
    arena.start(package=package)
    if sent:
        eventually(lambda: arena.names("Completed") == ["b"], "b: Running was tried before it")
        assert [e["attempt"] for e in arena.events("a", "claimed")] == [1]
        assert not is_gone(child)
        kill(host)
        eventually(lambda: is_gone(child))  # or it would finish the task before its death reached it
    else:
        arena.note("a.2")  # its host only slept, and lost the run: this is what sending the lock prevents
    (arena.notes / "gate").touch()
    eventually(lambda: arena.names("Completed") == ["a", "b"])
    assert arena.results("a") == {"gated": 2}
    with suppress(ProcessLookupError):  # whoever took the run over has swept it away, and it may be reaped
        kill(host, signal.SIGCONT) if not sent else None


def test_half_a_line_in_a_journal_is_ended_before_the_next_event(arena):
    arena.queue("a", "Tears", maxAttempts=2)
    arena.work()
    lines = (arena.output("a") / "journal" / "000001.jsonl").read_bytes().split(b"\n")
    assert lines[2].endswith(b"task_fin (torn)")
    whole = [json.loads(line)["event"] for line in lines[3:] if line]
    assert whole == ["task_failed", "task_started", "task_finished", "completed"]
    assert arena.results_of_valid("a") == {"tears": "mended"}
    (failure,) = [json.loads(line) for line in lines[3:] if b"task_failed" in line]
    assert failure["error"] == "the task ended its process with exit code 7"


def test_a_run_whose_folder_was_removed_ends_with_a_sentence_and_not_in_a_circle(arena):
    arena.drop("a", "Removes")
    arena.drop("b", "Quick")
    arena.ready()
    said = arena.work()
    assert arena.names("Completed") == ["b"]
    assert arena.names("Running") == ["a"]
    assert said.count("a: attempt") == 1
    assert "was taken away" in said
    (problems,) = (arena.root / "Running").glob("a~*.problems.txt")
    assert "is gone" in problems.read_text()


# -- the order of things ------------------------------------------------------------------------------------


def test_an_interrupted_run_is_tried_before_those_that_wait(arena):
    arena.queue("z", "Gated")
    worker = arena.start()
    arena.note("z.1")
    kill(worker.pid)
    worker.wait()
    for name in ("a", "b"):
        arena.drop(name, "Quick")
    arena.ready()
    (arena.notes / "gate").touch()
    arena.work()
    begun = sorted((e["at"], run) for run in ("z", "a", "b") for e in arena.events(run, "claimed"))
    assert [run for _, run in begun] == ["z", "z", "a", "b"]


def test_a_polite_stop_hands_the_run_back_and_is_no_failed_try(arena):
    arena.queue("a", "Gated", maxAttempts=1, graceTime=0)
    worker = arena.start()
    arena.note("a.1")
    worker.terminate()
    arena.ended(worker)
    assert arena.names("ConfigsToRun") == ["a"]
    assert arena.events("a")[-1]["event"] == "handed_back"
    (arena.notes / "gate").touch()
    arena.work()
    assert arena.names("Completed") == ["a"]


def test_files_that_ready_did_not_put_there_never_run_and_stop_nobody(arena):
    for name in ("edited", "replaced", "fine", "running"):
        arena.drop(name, "Quick")
    arena.ready()
    to_run = arena.root / "ConfigsToRun"
    with (to_run / "edited.yaml").open("a") as file:
        file.write("x: 1\n")
    (to_run / "new").write_text((to_run / "replaced.yaml").read_text() + "\n")
    (to_run / "new").rename(to_run / "replaced.yaml")
    (to_run / "byhand.yaml").write_text("tasks: [{id: a, method: Quick}]\n")
    (to_run / "folder.yaml").mkdir()
    os.mkfifo(to_run / "pipe.yaml")
    (to_run / "link.yaml").symlink_to("fine.yaml")
    (to_run / "running.yaml").rename(arena.root / "Running" / "running~g000001~lab.1.abc.yaml")
    with (arena.root / "Running" / "running~g000001~lab.1.abc.yaml").open("a") as file:
        file.write("x: 1\n")
    said = arena.work()
    assert arena.names("Completed") == ["fine"]
    unfit = ["byhand", "edited", "folder", "link", "pipe", "replaced"]
    assert arena.names("ConfigsToRun") == unfit
    for name in unfit:
        problems = (to_run / f"{name}.yaml.problems.txt").read_text()
        assert problems.startswith(f"{name}.yaml: ")
        assert len(problems.split(". ")) >= 2, "what is wrong, and what to do"
        assert said.count(f"{name}.yaml: ") == 1, "said once"
    assert arena.names("Running") == ["running"]
    for name in ("edited", "replaced", "running"):
        assert len(arena.events(name)) == 1, "nobody claimed it"
