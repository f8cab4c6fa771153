"""How a child ends: as `python Tasks.py` would, with its threads, pools, exit hooks and open files."""

from __future__ import annotations

import bz2
import gzip
import re
import zipfile

import pytest

from tests.integration.harness import Sandbox

pytestmark = pytest.mark.slow

TASKS = r"""
    import atexit
    import bz2
    import concurrent.futures
    import csv
    import ctypes
    import gzip
    import io
    import logging
    import logging.handlers
    import multiprocessing
    import os
    import queue
    import signal
    import sys
    import tempfile
    import threading
    import time
    import weakref
    import zipfile
    from pathlib import Path

    from job_orchestration import TaskBase

    MEMORY = logging.handlers.MemoryHandler(1000, flushLevel=logging.CRITICAL)
    logging.getLogger("kept").addHandler(MEMORY)
    RAN = []


    @atexit.register
    def at_import():
        if RAN:
            with open(RAN[0], "a") as file:
                file.write("import's hook\n")


    FOLDER = tempfile.TemporaryDirectory()
    NAMED = tempfile.NamedTemporaryFile("w")
    EARLY = open(Path(FOLDER.name, "early"), "w")
    EARLY.write("written at import\n")
    KEPT = {}


    class Recorder:
        def __init__(self, path=None):
            self.path = path

        def __del__(self):
            if self.path is not None:
                with open(self.path, "a") as file:
                    file.write("saved at the end\n")


    RECORDER = Recorder()


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config

        def path(self, name):
            return os.path.join(self.config["outputDir"], name)


    class Quick(Base):
        def run(self):
            print("quick")


    class OpenFiles(Base):
        def run(self):
            global TABLE, WRITER
            TABLE = open(self.path("global.csv"), "w")
            csv.writer(TABLE).writerow([1, 2])
            cycle = [open(self.path("cycle.csv"), "w")]
            cycle.append(cycle)
            cycle[0].write("in a cycle")
            KEPT["raw"] = open(self.path("bytes"), "wb")
            KEPT["raw"].write(b"bytes")
            KEPT["both"] = open(self.path("both"), "w+b")
            KEPT["both"].write(b"both")
            WRITER = zipfile.ZipFile(self.path("archive.zip"), "w")
            WRITER.writestr("name", "text")
            KEPT["gzip"] = gzip.open(self.path("text.gz"), "wt")
            KEPT["gzip"].write("zipped")
            KEPT["bz2"] = bz2.open(self.path("text.bz2"), "wb")
            KEPT["bz2"].write(b"zipped")

            def lines():
                with open(self.path("generator"), "w") as file:
                    file.write("generated")
                    yield

            KEPT["generator"] = lines()
            next(KEPT["generator"])


    class Finalizers(Base):
        def run(self):
            global MADE
            RECORDER.path = self.path("import's object")
            MADE = Recorder(self.path("task's object"))
            KEPT["another"] = Recorder(self.path("kept object"))
            weakref.finalize(KEPT["another"], Path(self.path("finalized")).write_text, "so")


    class Hooks(Base):
        def run(self):
            RAN.append(self.path("hooks"))
            atexit.register(lambda: Path(self.path("task's hook")).write_text("so"))
            target = logging.FileHandler(self.path("memory.log"))
            MEMORY.setTarget(target)
            logging.getLogger("kept").warning("remembered")
            ctypes.CDLL(None).printf(b"printed by C\n")


    class Threads(Base):
        def run(self):
            def write():
                time.sleep(0.4)
                Path(self.path("thread")).write_text("written")
                self.context.store.save_text("stored", "written")

            threading.Thread(target=write).start()


    class Executors(Base):
        def run(self):
            def write(name):
                time.sleep(0.3)
                self.context.store.save_text(name, "written")

            KEPT["threads"] = concurrent.futures.ThreadPoolExecutor(2)
            for number in range(3):
                KEPT["threads"].submit(write, f"thread {number}")
            KEPT["processes"] = concurrent.futures.ProcessPoolExecutor(1)
            for number in range(2):
                KEPT["processes"].submit(write_late, str(self.context.store.path(f"process {number}")))


    def write_late(path):
        time.sleep(0.3)
        Path(path).write_text("written")


    class Pools(Base):
        def run(self):
            KEPT["pool"] = concurrent.futures.ProcessPoolExecutor(2)
            KEPT["pool"].submit(os.getpid).result()
            KEPT["manager"] = multiprocessing.Manager()
            KEPT["manager"].list([1])
            KEPT["old"] = multiprocessing.Pool(2)
            KEPT["old"].map(abs, [1])
            KEPT["thread pool"] = concurrent.futures.ThreadPoolExecutor(2)
            KEPT["thread pool"].submit(os.getpid).result()


    class UsesPools(Base):
        def run(self):
            return [KEPT[name].submit(abs, -3).result() for name in ("pool", "thread pool")]


    class Unjoined(Base):
        def run(self):
            multiprocessing.Process(target=write_late, args=(self.path("process"),)).start()
            multiprocessing.Process(target=time.sleep, args=(1000,), daemon=True).start()


    class Shared(Base):
        def run(self):
            Path(FOLDER.name, "here").touch()
            EARLY.write("once\n")
            with open(NAMED.name) as file:
                return file.read()


    class LooksAtShared(Base):
        def run(self):
            EARLY.flush()
            return Path(FOLDER.name, "early").read_text()


    class Stores(Base):
        def run(self):
            global ARCHIVE, LINES
            LINES = open(self.context.store.path("lines.csv"), "w")
            LINES.write("a,b\n")
            ARCHIVE = zipfile.ZipFile(self.context.store.path("archive.zip"), "w")
            ARCHIVE.writestr("name", "text")
            KEPT["packed"] = gzip.open(self.context.store.path("text.gz"), "wt")
            KEPT["packed"].write("zipped")


    class Raises(Base):
        def run(self):
            KEPT["table"] = open(self.path("table.csv"), "w")
            KEPT["table"].write("before the error")
            atexit.register(lambda: Path(self.path("hook")).write_text("so"))
            raise ValueError("as asked")


    class HookFails(Base):
        def run(self):
            atexit.register(lambda: 1 / 0)
            atexit.register(lambda: Path(self.path("other hook")).write_text("so"))
            atexit.register(sys.exit, 5)


    # -- what does not end ----------------------------------------------------------------------------------


    class HangingHook(Base):
        def run(self):
            def hangs_on_purpose():
                while True:
                    time.sleep(1)

            atexit.register(hangs_on_purpose)


    class HangingFlush(Base):
        def run(self):
            class Stream(io.StringIO):
                def flush(self):
                    time.sleep(1000)

            sys.stdout = Stream()


    class FullPipe(Base):
        def run(self):
            reading, writing = os.pipe()
            KEPT["reading"] = reading
            KEPT["pipe"] = open(writing, "w")
            os.set_blocking(writing, False)
            try:
                while os.write(writing, b"x" * 4096):
                    pass
            except BlockingIOError:
                os.set_blocking(writing, True)
            KEPT["pipe"].write("more")


    class LeavesFiles(Base):
        def begin(self):
            KEPT["table"] = open(self.path("table.csv"), "w")
            KEPT["table"].write("written")
            atexit.register(lambda: Path(self.path("hook")).write_text("so"))


    class EndlessExecutor(LeavesFiles):
        def run(self):
            self.begin()
            KEPT["busy"] = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="busy")
            KEPT["busy"].submit(threading.Event().wait)


    class EndlessPool(LeavesFiles):
        def run(self):
            self.begin()
            KEPT["processes"] = concurrent.futures.ProcessPoolExecutor(1)
            KEPT["processes"].submit(time.sleep, 1000)


    class EndlessThread(LeavesFiles):
        def run(self):
            self.begin()
            threading.Thread(target=threading.Event().wait, name="endless").start()


    class EndlessProcess(LeavesFiles):
        def run(self):
            self.begin()
            multiprocessing.Process(target=time.sleep, args=(1000,), name="sleeper").start()


    class ExitsInHook(Base):
        def run(self):
            atexit.register(os._exit, 7)


    class DiesInHook(Base):
        def run(self):
            atexit.register(os.kill, os.getpid(), signal.SIGSEGV)


    class StopsInHook(Base):
        def run(self):
            atexit.register(os.kill, os.getpid(), signal.SIGSTOP)


    class DeafInHook(Base):
        def run(self):
            def hook():
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                ctypes.PyDLL(None).sleep(1000)  # with the interpreter's lock held

            atexit.register(hook)


    class Leaves(Base):
        def run(self):
            import subprocess

            subprocess.Popen(["sleep", "1000"], start_new_session=True)
"""

FINE = {
    "files": ["OpenFiles"],
    "files2": ["OpenFiles", "Quick"],
    "finalizers": ["Finalizers"],
    "hooks": ["Hooks", "Quick"],
    "threads": ["Threads", "Quick"],
    "executors": ["Executors", "Quick"],
    "pools": ["Pools", "UsesPools"],
    "unjoined": ["Unjoined"],
    "shared1": ["Shared"],
    "shared2": ["Shared"],
    "shared3": ["Shared", "LooksAtShared"],
    "stores": ["Stores", "Quick"],
    "hookfails": ["HookFails"],
}
ENDLESS = {
    "hook": ("HangingHook", "hangs_on_purpose"),
    "flush": ("HangingFlush", "in flush"),
    "pipe": ("FullPipe", "did not end within 1 s"),
    "thread": ("EndlessThread", "endless"),
    "process": ("EndlessProcess", "sleeper"),
    "executor": ("EndlessExecutor", "thread busy"),
    "processes": ("EndlessPool", "thread "),
    "stopped": ("StopsInHook", "did not end within 1 s"),
    "deaf": ("DeafInHook", "in hook"),
}
"""What does not end by itself, and what the log has to name."""
DEAD = {"exits": "ExitsInHook", "dies": "DiesInHook", "leaves": "Leaves"}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """One worker has run all of them."""
    sandbox = Sandbox(tmp_path_factory.mktemp("ends"), TASKS)
    for name, methods in FINE.items():
        sandbox.drop(name, *methods, graceTime=60)
    sandbox.drop("spawned", "OpenFiles", "Hooks", graceTime=60, isolation="spawn")
    sandbox.drop("raises", "Raises", maxAttempts=1)
    for name, (method, _) in ENDLESS.items():
        sandbox.drop(name, method, graceTime=1, maxAttempts=1)
    for name, method in DEAD.items():
        sandbox.drop(name, method, maxAttempts=1)
    report = sandbox.ready()
    assert not report.refused, report.refused
    sandbox.said = sandbox.work()
    yield sandbox
    sandbox.close()


def text(sandbox: Sandbox, run: str, name: str) -> str:
    return (sandbox.output(run) / name).read_text()


def test_all_of_them_end_as_they_should(sandbox):
    assert sandbox.names("Failed") == ["raises"]
    assert sandbox.names("Running") == sandbox.names("ConfigsToRun") == []
    assert len(sandbox.names("Completed")) == len(FINE) + len(ENDLESS) + len(DEAD) + 1


@pytest.mark.parametrize("run", ["files", "files2", "spawned"])
def test_files_that_a_task_left_open_are_written_and_closed(sandbox, run):
    folder = sandbox.output(run)
    assert text(sandbox, run, "global.csv").strip() == "1,2"
    assert text(sandbox, run, "cycle.csv") == "in a cycle"
    assert text(sandbox, run, "bytes") == "bytes"
    assert text(sandbox, run, "both") == "both"
    assert text(sandbox, run, "generator") == "generated"
    assert zipfile.ZipFile(folder / "archive.zip").read("name") == b"text"
    assert gzip.decompress((folder / "text.gz").read_bytes()) == b"zipped"
    assert bz2.decompress((folder / "text.bz2").read_bytes()) == b"zipped"
    assert "Exception ignored" not in sandbox.log(run)


@pytest.mark.parametrize("name", ["import's object", "task's object", "kept object"])
def test_an_object_with_a_finalizer_has_it_called_once_at_the_end(sandbox, name):
    assert text(sandbox, "finalizers", name) == "saved at the end\n"
    assert text(sandbox, "finalizers", "finalized") == "so"


@pytest.mark.parametrize("run", ["hooks", "spawned"])
def test_exit_hooks_of_the_imports_and_of_the_task_are_called_once(sandbox, run):
    assert text(sandbox, run, "hooks") == "import's hook\n"
    assert text(sandbox, run, "task's hook") == "so"
    assert text(sandbox, run, "memory.log") == "remembered\n"
    assert sandbox.log(run).count("printed by C") == 1


def test_a_hook_that_fails_is_in_the_log_and_the_others_are_called(sandbox):
    log = sandbox.log("hookfails")
    assert "ZeroDivisionError" in log
    assert text(sandbox, "hookfails", "other hook") == "so"


def stored(sandbox: Sandbox, run: str) -> dict[str, int]:
    """The sizes of the files that the first task's checkpoint names."""
    finished = sandbox.events(run, "task_finished")[0]
    return {o["path"].partition("/")[2]: o["bytes"] for o in finished["outputs"]}


def test_a_thread_that_still_writes_is_waited_for_before_the_checkpoint(sandbox):
    assert text(sandbox, "threads", "thread") == "written"
    assert stored(sandbox, "threads") == {"stored": 7}


def test_an_executor_that_still_works_is_waited_for_before_the_checkpoint(sandbox):
    names = [f"{kind} {n}" for kind, many in (("process", 2), ("thread", 3)) for n in range(many)]
    assert stored(sandbox, "executors") == dict.fromkeys(names, 7)


def test_files_of_the_store_are_complete_in_the_checkpoint(sandbox):
    sizes = stored(sandbox, "stores")
    folder = sandbox.output("stores") / "stores"
    assert sizes == {path.name: path.stat().st_size for path in folder.iterdir()}
    assert (folder / "lines.csv").read_text() == "a,b\n"
    assert zipfile.ZipFile(folder / "archive.zip").read("name") == b"text"
    assert gzip.decompress((folder / "text.gz").read_bytes()) == b"zipped"


def seconds_of(sandbox: Sandbox, run: str) -> float:
    """How long a run took, from its claim to its end."""
    from datetime import datetime

    begin, end = (datetime.fromisoformat(sandbox.events(run, k)[0]["at"]) for k in ("claimed", "completed"))
    return (end - begin).total_seconds()


def test_idle_pools_serve_the_next_task_and_end_at_once(sandbox):
    assert sandbox.results("pools")["usespools"] == [3, 3]
    assert seconds_of(sandbox, "pools") < 30, "they did not wait for graceTime"
    assert "did not end" not in sandbox.log("pools")


def test_a_process_that_was_not_joined_is_waited_for(sandbox):
    assert text(sandbox, "unjoined", "process") == "written"
    assert seconds_of(sandbox, "unjoined") < 30, "the daemon was not"


def test_what_the_imports_made_for_a_while_lasts_as_long_as_the_fork_server(sandbox):
    for run in ("shared1", "shared2", "shared3"):
        assert sandbox.results(run)["shared"] == ""
    early = sandbox.results("shared3")["looksatshared"]
    assert early.count("written at import") == 1, "not once for each run"
    assert early.count("once") == 3


def test_what_a_failed_task_wrote_is_written_and_its_hooks_are_called(sandbox):
    assert text(sandbox, "raises", "table.csv") == "before the error"
    assert text(sandbox, "raises", "hook") == "so"


@pytest.mark.parametrize("run", ENDLESS)
def test_what_does_not_end_is_ended_after_the_grace_time_and_named(sandbox, run):
    assert sandbox.results(run).keys() == {ENDLESS[run][0].lower()}
    assert 1 <= seconds_of(sandbox, run) < 20
    log = sandbox.log(run)
    assert "did not end within 1 s" in log
    assert ENDLESS[run][1] in log


@pytest.mark.parametrize("run", ["thread", "process", "executor", "processes"])
def test_what_was_given_up_does_not_keep_the_rest_from_ending(sandbox, run):
    assert text(sandbox, run, "table.csv") == "written"
    assert text(sandbox, run, "hook") == "so"


@pytest.mark.parametrize("run", DEAD)
def test_a_process_that_ends_itself_in_a_hook_has_finished_its_tasks(sandbox, run):
    assert len(sandbox.events(run, "task_finished")) == 1
    assert sandbox.events(run, "task_failed") == []
    assert len(sandbox.events(run, "completed")) == 1


def test_a_program_that_was_left_running_is_named(sandbox):
    assert re.search(r"sleep \(process \d+\)", sandbox.log("leaves"))
