"""Tasks that misbehave in every way: each has its outcome and its sentence, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from job_orchestration.executor import memory_limit
from job_orchestration.executor.child_process import ChildProcess
from job_orchestration.executor.exit_status import classify_exit
from job_orchestration.runs.events import Outcome
from tests.faults.figures import figure
from tests.faults.storm import left_behind
from tests.integration.harness import Sandbox, eventually, is_gone, mutant

pytestmark = pytest.mark.slow

TASKS = r"""
    import ctypes
    import os
    import re
    import signal
    import subprocess
    import sys
    import time
    from pathlib import Path

    from job_orchestration import TaskBase

    CHUNK = b"0123456789abcdef" * 4096


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config

        def note(self, name, text="so"):
            Path(self.config["notes"], name).write_text(f"{text}\n")


    class Quick(Base):
        def run(self):
            return "quick"


    class Segfaults(Base):
        def run(self):
            ctypes.string_at(0)


    class IsKilled(Base):
        def run(self):
            subprocess.run(["kill", "-9", str(os.getpid())])


    class Aborts(Base):
        def run(self):
            os.abort()


    class Exits(Base):
        def run(self):
            os._exit(self.config["code"])


    class SysExits(Base):
        def run(self):
            sys.exit("so long")


    class Devours(Base):
        def run(self):
            kept = []
            while True:
                kept.append(bytearray(os.urandom(1 << 16)) * 64)


    class Hangs(Base):
        def run(self):
            re.match("(a+)+$", "a" * 60 + "b")  # for ages, and with the interpreter's lock held


    class BusyPython(Base):
        def run(self):
            end = time.monotonic() + 3
            while time.monotonic() < end:
                pass


    class Deaf(Base):
        def run(self):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(1)


    class Sleeps(Base):
        def run(self):
            time.sleep(1000)


    class Floods(Base):
        def run(self):
            print("the beginning")
            sent = 0
            while not self.config["bytes"] or sent < self.config["bytes"]:
                sent += os.write(1, CHUNK)
            print("the end")
            return sent


    class LongLine(Base):
        def run(self):
            print("the beginning")
            os.write(2, b"x" * 10_000_000)
            print("the end")


    class Closes(Base):
        def run(self):
            for number in (1, 2):
                os.close(number)
            return "went on"


    class Garbage(Base):
        def run(self):
            os.write(1, bytes(range(256)) * 100)


    class Daemonises(Base):
        def run(self):
            if not os.fork():
                os.setsid()
                if not os.fork():
                    for number in range(3):
                        os.close(number)
                    self.note("daemon", os.getpid())
                    while True:
                        signal.pause()
                os._exit(0)
            while not Path(self.config["notes"], "daemon").exists():
                time.sleep(0.01)


    class Bombs(Base):
        def run(self):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            made = []
            for _ in range(200):
                if not (pid := os.fork()):
                    os.setpgid(0, 0)
                    time.sleep(1000)
                    os._exit(0)
                made.append(pid)
            self.note("bombs", " ".join(map(str, made)))
            if self.config.get("then") == "sleep":
                time.sleep(1000)


    def nested(depth):
        found = []
        for _ in range(depth):
            found = [found]
        return found


    def recursive():
        found = {}
        found["itself"] = found
        return found


    VALUES = {
        "object": lambda: object(),
        "nan": lambda: float("nan"),
        "big": lambda: "x" * 50_000_000,
        "recursive": recursive,
        "deep": lambda: nested(100_000),
        **{f"deep{n}": (lambda n=n: nested(n)) for n in range(900, 1000, 3)},
        "bytes": lambda: b"bytes",
        "keys": lambda: {(1, 2): 3},
        "number": lambda: 10**5000,
        "surrogate": lambda: "caf\udce9",
    }


    class Returns(Base):
        def run(self):
            return VALUES[self.config["value"]]()


    class SeesStop(Base):
        def run(self):
            if self.context.attempt == 1:
                self.note("started")
                while not self.context.should_stop:
                    time.sleep(0.01)
                self.note("saw")
                if self.config.get("raises"):
                    raise RuntimeError("stopped early")
            return self.context.attempt


    class DeafAtFirst(Base):
        def run(self):
            if self.context.attempt == 1:
                self.note("started", os.getpid())
                while True:
                    time.sleep(0.1)
            return self.context.attempt


    class LosesItsRun(Base):
        def run(self):
            if self.context.attempt == 1:
                running = Path(os.environ["JOB_ORCHESTRATION_WORKSPACE"], "Running")
                (token,) = running.iterdir()
                token.rename(running / "a~g000009~elsewhere.1.abc.yaml")
            return self.context.attempt


    class KillsItsForkServer(Base):
        def run(self):
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()


    class StopsItself(Base):
        def run(self):
            os.killpg(0, signal.SIGTERM)
            raise RuntimeError("as some libraries do to be rid of their helpers")
"""

ENDS = {
    "segv": ("Segfaults", {}, "crash", "SIGSEGV", "Segmentation fault"),
    "killed": ("IsKilled", {}, "crash", "SIGKILL", "SIGKILL"),
    "abort": ("Aborts", {}, "crash", "SIGABRT", "Aborted"),
    "exit0": ("Exits", {"code": 0}, "lost", "exit code 0", "exit code 0"),
    "exit3": ("Exits", {"code": 3}, "crash", "exit code 3", "exit code 3"),
    "sysexit": ("SysExits", {}, "error", "SystemExit: so long", "so long"),
    "oom": (
        "Devours",
        {"memoryLimit": "150M"},
        "oom",
        "more than its memoryLimit of 150 MB (peak 1",
        "memoryLimit: 150000000 bytes for the run",
    ),
    "hang": ("Hangs", {"stallTimeout": 1}, "hang", "hang: ", "has not run for 1 s (stallTimeout)"),
    "deaf": ("Deaf", {"taskTimeout": 0.5}, "timeout", "timeout: ", "It did not end by itself. Where it was:"),
    "sleeps": ("Sleeps", {"taskTimeout": 0.5}, "timeout", "timeout: ", "The task's timeout of 0.5 s is over"),
    "late": ("Sleeps", {"timeout": 0.5}, "timeout", "timeout: ", "The run's timeout is over"),
    "endless": (
        "Floods",
        {"bytes": 0, "taskTimeout": 1, "logLimit": "1M"},
        "timeout",
        "timeout: ",
        "bytes were left out here (logLimit)",
    ),
    "bombs2": (
        "Bombs",
        {"then": "sleep", "taskTimeout": 2},
        "timeout",
        "timeout: ",
        "timeout of 2 s is over",
    ),
}
"""Name: method, keys, then the outcome, a part of the journal's sentence and a part of what the log says."""

RETURNED = {
    "object": "result: an object is not kept; save it with self.context.store",
    "nan": "",
    "big": "result: a text of 50,000,000 characters is too large to be kept",
    "recursive": "result.itself: a dict of 1 entry contains itself",
    "deep": "a list of 1 entry is nested too deeply to be kept",
    "bytes": "",
    "keys": "",
    "number": "result: an int of 16,610 bits is not kept",
    "surrogate": "",
}
"""What a task returns, and what its log says of it."""

FINE = {
    "floods": ("Floods", {"bytes": 200_000_000, "logLimit": "1M"}),
    "line": ("LongLine", {"logLimit": "1M"}),
    "closes": ("Closes", {}),
    "garbage": ("Garbage", {}),
    "daemon": ("Daemonises", {}),
    "bombs": ("Bombs", {}),
    "busy": ("BusyPython", {"stallTimeout": 1, "taskTimeout": 60}),
    **{value: ("Returns", {"value": value}) for value in RETURNED},
}
"""What is no failure."""
LOOPS = {"loop": "KillsItsForkServer", "self": "StopsItself"}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """Four workers have run all of them, each followed by a task that must not run after a failure."""
    sandbox = Sandbox(tmp_path_factory.mktemp("supervision"), TASKS)
    for name, (method, values, *_) in {**ENDS, **FINE}.items():
        limit = {"timeout": values["taskTimeout"]} if "taskTimeout" in values else {}
        tasks = [{"id": "one", "method": method, **limit}, {"id": "two", "method": "Quick"}]
        sandbox.drop(
            name, tasks=tasks, maxAttempts=1, **{k: v for k, v in values.items() if k != "taskTimeout"}
        )
    for name, method in LOOPS.items():
        sandbox.drop(name, method, maxAttempts=1, maxInterruptions=3)
    deep = [{"id": f"t{n}", "method": "Returns", "value": f"deep{n}"} for n in range(900, 1000, 3)]
    for task in deep:
        sandbox.drop(task["id"], tasks=[task], maxAttempts=1)
    report = sandbox.ready()
    assert not report.refused, report.refused
    workers = [sandbox.start("--until-idle") for _ in range(4)]
    sandbox.said = "".join(sandbox.ended(worker) for worker in workers)
    sandbox.left = left_behind(lambda: list(map(str, sandbox.alive())))
    yield sandbox
    sandbox.close()


@pytest.mark.parametrize("name", ENDS)
def test_each_end_has_its_outcome_in_the_journal_and_its_sentence_in_the_log(sandbox, name):
    _, _, outcome, sentence, said = ENDS[name]
    (failure,) = sandbox.events(name, "task_failed")
    assert failure["task"] == "one"
    assert failure["outcome"] == outcome
    assert sentence in failure["error"]
    log = sandbox.log(name)
    assert said in log
    assert f"Task one failed: {failure['error']}" in log
    (end,) = sandbox.events(name, "gave_up")
    assert end["outcome"] == outcome
    assert [e["task"] for e in sandbox.events(name, "task_started")] == ["one"], "nothing ran after it"
    assert name in sandbox.names("Failed")


@pytest.mark.parametrize("name", ["segv", "hang", "deaf"])
def test_the_log_tells_where_in_the_code_it_was(sandbox, name):
    assert re.search(r'File ".*Tasks.py", line \d+ in run', sandbox.log(name))


@pytest.mark.parametrize("name", FINE)
def test_what_is_strange_but_no_failure_is_none(sandbox, name):
    assert sandbox.events(name, "task_failed") == []
    assert len(sandbox.events(name, "claimed")) == 1, "it was not tried again"
    assert sandbox.results(name)["two"] == "quick"
    assert name in sandbox.names("Completed")


@pytest.mark.parametrize("name", ["floods", "line", "endless"])
def test_a_log_keeps_to_its_limit_with_its_beginning_and_its_end(sandbox, name):
    log = sandbox.log(name)
    assert len(log) <= 1_000_000
    assert "the beginning" in log[:1000]
    assert "bytes were left out here (logLimit)" in log
    assert len(re.findall("bytes were left out", log)) == 1
    if name != "endless":
        assert "the end\n" in log[-200_000:]


def test_what_was_left_out_of_a_log_is_counted(sandbox):
    log = (sandbox.output("line") / "log.log").read_bytes()
    (left_out,) = map(int, re.findall(rb"\] (\d+) bytes were left out", log))
    assert left_out + log.count(b"x" * 10) * 10 == pytest.approx(10_000_000, abs=2000)


@pytest.mark.parametrize("name", RETURNED)
def test_whatever_a_task_returns_it_has_finished_and_its_log_says_what_is_not_kept(sandbox, name):
    warnings = [line for line in sandbox.log(name).splitlines() if "[WARNI]" in line]
    assert len(warnings) == (1 if RETURNED[name] else 0)
    assert RETURNED[name] in "".join(warnings)


def test_a_result_is_kept_however_deep_it_is_nested(sandbox):
    for n in range(900, 1000, 3):
        assert len(sandbox.events(f"t{n}", "task_started")) == 1
        assert len(sandbox.events(f"t{n}", "task_finished")) == 1


def test_a_run_that_kills_its_fork_server_is_a_crash_loop(sandbox):
    (end,) = sandbox.events("loop", "gave_up")
    assert "crash loop: interrupted 3 times" in end["reason"]
    assert sandbox.events("loop", "task_failed") == []
    assert [e["attempt"] for e in sandbox.events("loop", "claimed")] == [1, 2, 3, 4]
    assert sandbox.log("loop").count("was interrupted") == 3


def test_a_run_that_stops_itself_over_and_over_is_a_crash_loop_too(sandbox):
    (end,) = sandbox.events("self", "gave_up")
    assert "crash loop: interrupted 3 times" in end["reason"]
    assert {e["outcome"] for e in sandbox.events("self", "task_failed")} == {"interrupted"}


def test_nothing_of_all_that_is_left_behind(sandbox):
    assert sandbox.left == []
    pids = [int(pid) for name in ("daemon", "bombs") for pid in sandbox.note(name).split()]
    assert len(pids) == 201
    assert all(is_gone(pid) for pid in pids)
    figure("F13", "misbehaving runs, with the right outcome each", len(ENDS) + len(FINE) + len(LOOPS))
    figure("F13", "processes left 2 s later", len(sandbox.left))


@pytest.fixture
def small(tmp_path):
    sandbox = Sandbox(tmp_path, TASKS)
    yield sandbox
    sandbox.close()


# -- memory --------------------------------------------------------------------------------------------------


def test_without_control_groups_a_memory_limit_is_one_of_the_process(tmp_path):
    package = mutant(tmp_path, "executor/memory_limit.py", "group = _control_group(limit)", "raise OSError")
    sandbox = Sandbox(tmp_path, TASKS)
    sandbox.queue("oom", "Devours", memoryLimit="150M", maxAttempts=1)
    sandbox.work(package=package)
    (failure,) = sandbox.events("oom", "task_failed")
    assert failure["outcome"] == "oom"
    assert "MemoryError" in failure["error"]
    assert "no control group can be made here" in sandbox.log("oom")
    sentence = r"MemoryError.*: more than its memoryLimit of 150 MB \(peak 1\d\d(\.\d)? MB\); raise it"
    assert re.search(sentence, failure["error"])
    assert re.search(sentence, sandbox.log("oom"))
    assert re.search(sentence, sandbox.events("oom", "gave_up")[0]["reason"])


REFUSALS = {
    "bytearray(1 << 60)": "MemoryError: the machine could not give that much memory (peak ",
    'exec("""raise RuntimeError("DefaultCPUAllocator: can\'t allocate memory: you tried 1 TB")""")': (
        "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried 1 TB: the machine could not give"
    ),
    "mmap.mmap(-1, 1 << 60)": "Cannot allocate memory: the machine could not give",
    "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)), bytearray(1 << 31)": (
        "more than the limit of 1.1 GB that this machine sets (ulimit; peak "
    ),
}


def test_memory_that_the_machine_refuses_is_named_with_its_limit(tmp_path):
    refuse = 'import mmap, resource; eval(self.config["refusal"])'
    sandbox = Sandbox(tmp_path, TASKS.replace("kept = []", refuse))
    for number, refusal in enumerate(REFUSALS):
        sandbox.queue(f"r{number}", "Devours", maxAttempts=1, refusal=refusal)
    sandbox.work()
    for number, said in enumerate(REFUSALS.values()):
        (failure,) = sandbox.events(f"r{number}", "task_failed")
        assert failure["outcome"] == "oom"
        assert said in failure["error"]


class Ended:
    """A child that used 300 MB and was killed by the kernel, or ended by itself."""

    def __init__(self, group):
        self.memory = group
        self.said = []
        self.output = SimpleNamespace(say=self.said.append)

    def look(self, status):
        usage = SimpleNamespace(ru_maxrss=300_000_000 // 1024)
        return ChildProcess.out_of_memory(self, status, usage)


def test_a_kill_for_lack_of_memory_names_the_limit_and_the_peak(tmp_path, monkeypatch):
    (tmp_path / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    group = Ended(memory_limit.ControlGroup(str(tmp_path), 400_000_000))
    sentence = group.look(signal.SIGKILL)
    assert "more than its memoryLimit of 400 MB (peak 300 MB); raise it" in sentence, "an older kernel"
    (tmp_path / "memory.peak").write_text("398000000\n")
    sentence = group.look(signal.SIGKILL)
    assert "killed it (SIGKILL): more than its memoryLimit of 400 MB (peak 398 MB); raise it" in sentence
    (tmp_path / "memory.peak").write_text("18000000\n")
    assert "400 MB (it had 18 MB, and asked for much more at once); raise it" in group.look(signal.SIGKILL)
    assert classify_exit(-signal.SIGKILL, None, oom=sentence) == (Outcome.OOM, sentence)
    assert group.look(0) is None, "the child itself has ended well"
    assert "A program of this run is gone, out of memory: the kernel killed it" in group.said[0]
    (tmp_path / "memory.events").write_text("oom_kill 0\n")
    assert group.look(signal.SIGKILL) is None
    kills = iter([0, 1, 1])
    monkeypatch.setattr(memory_limit, "_kills_on_this_machine", lambda: next(kills))
    monkeypatch.setattr(memory_limit.MemoryLimit, "_looked_at", float("-inf"))
    without = Ended(memory_limit.MemoryLimit())
    without.memory.add(1)
    sentence = without.look(signal.SIGKILL)
    assert "the machine ran out of memory (peak of this run 300 MB); run fewer at a time" in sentence
    assert without.look(signal.SIGKILL) is None


CGROUPS = {
    "the second version without the controller": ["0::/user.slice/session-1.scope"],
    "the first version without memory": ["1:cpu:/", "2:freezer:/"],
    "none": [],
    "somewhere that is not there": ["4:memory:/nowhere/at/all", "0::/nowhere/at/all"],
}


@pytest.mark.parametrize("machine", CGROUPS)
def test_every_machine_has_some_memory_limit(monkeypatch, machine):
    lines = memory_limit._lines
    monkeypatch.setattr(
        memory_limit, "_lines", lambda path: CGROUPS[machine] if path == "/proc/self/cgroup" else lines(path)
    )
    said = []
    assert isinstance(memory_limit.limited(1 << 30, said.append), memory_limit.DataLimit)
    assert "no control group can be made here" in said[0]


def group_of(child: int) -> Path | None:
    """The control group that was made for a child."""
    for group in Path("/sys/fs/cgroup").glob("**/job_orchestration-*"):
        with suppress(OSError):
            if str(child) in (group / "cgroup.procs").read_text().split():
                return group
    return None


def test_the_control_group_of_a_killed_fork_server_is_removed_by_the_next_one(small):
    made = memory_limit.limited(1 << 30, lambda _: None)
    made.close()
    if not isinstance(made, memory_limit.ControlGroup):
        pytest.skip("no control group can be made here")
    small.queue("a", "DeafAtFirst", memoryLimit="1G")
    worker = small.start("--until-idle")
    child = int(small.note("started"))
    group = eventually(lambda: group_of(child), "its control group")
    assert isinstance(group, Path)
    os.kill(small.fork_server_of(worker), signal.SIGKILL)
    small.ended(worker)
    assert small.results("a") == {"deafatfirst": 2}
    assert not group.exists()


# -- polite ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises"])
def test_a_task_that_sees_the_stop_ends_its_own_way_and_another_worker_goes_on(small, raises):
    small.queue("a", "SeesStop", "Quick", maxAttempts=1, raises=raises)
    worker = small.start()
    small.note("started")
    worker.terminate()
    small.ended(worker)
    assert worker.returncode == 130
    small.note("saw")
    assert small.names("ConfigsToRun") == ["a"]
    (back,) = small.events("a", "handed_back")
    assert "the worker stops" in back["reason"]
    assert {e["outcome"] for e in small.events("a", "task_failed")} == ({"interrupted"} if raises else set())
    small.work()
    assert small.results("a") == {"seesstop": 2 if raises else 1, "quick": "quick"}
    assert left_behind(lambda: list(map(str, small.alive()))) == []


def test_a_second_signal_ends_a_task_that_does_not_listen_at_once(small):
    small.queue("a", "DeafAtFirst", maxAttempts=1, maxInterruptions=1)
    worker = small.start()
    child = int(small.note("started"))
    worker.terminate()
    eventually(lambda: small.log("a"))
    time.sleep(0.3)
    assert not is_gone(child), "it has half a minute"
    began = time.monotonic()
    worker.send_signal(signal.SIGINT)
    small.ended(worker)
    assert time.monotonic() - began < 10
    assert small.names("ConfigsToRun") == ["a"]
    assert small.events("a", "task_failed") == []
    assert is_gone(child)
    small.work()
    assert small.results("a") == {"deafatfirst": 2}


def test_a_grace_time_that_is_over_is_over(small):
    small.queue("a", "DeafAtFirst", maxAttempts=1, graceTime=0.5)
    worker = small.start()
    small.note("started")
    worker.terminate()
    small.ended(worker)
    assert small.names("ConfigsToRun") == ["a"]
    assert "It did not end by itself. Where it was:" in small.log("a")
    small.work()
    assert small.results("a") == {"deafatfirst": 2}


@pytest.mark.parametrize("grace", [1, 30])
def test_a_walltime_is_kept_and_what_is_not_finished_is_handed_back(small, grace):
    small.queue("a", "DeafAtFirst", maxAttempts=1, graceTime=grace)
    worker = small.start("--for", "6s")
    small.note("started")
    small.ended(worker)
    claimed, back = (
        datetime.fromisoformat(small.events("a", k)[0]["at"]) for k in ("claimed", "handed_back")
    )
    assert (back - claimed).total_seconds() < 6.5, "it had begun before it claimed anything"
    assert small.names("ConfigsToRun") == ["a"]
    small.work()
    assert small.results("a") == {"deafatfirst": 2}


def test_a_task_whose_run_was_taken_away_leaves_no_checkpoint(small):
    small.queue("a", "LosesItsRun", maxAttempts=1)
    assert "was taken over by another worker" in small.work()
    assert small.results("a") == {"losesitsrun": 10}
    assert small.events("a", "task_failed") == []
    assert "was taken over by another worker" in small.log("a")


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_a_result_of_a_gigabyte_is_described_and_breaks_nothing(tmp_path):
    sandbox = Sandbox(tmp_path, TASKS.replace("50_000_000", "1_000_000_000"))
    sandbox.queue("big", "Returns", value="big", maxAttempts=1)
    sandbox.work()
    assert sandbox.results("big") == {"returns": "a text of 1,000,000,000 characters (not kept)"}
    figure("F13", "bytes of a result that was described", 1_000_000_000)
    assert subprocess.run([sys.executable, "-c", ""], check=False, timeout=60).returncode == 0
