"""Tasks whose errors look like the disk's, or whose process does not do what it says: counted, and bounded.

The oracle reads raw journals: so many tries as ``maxAttempts`` allows, then Failed, and others complete.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.faults.workspace_files import names
from tests.integration.harness import Sandbox

if TYPE_CHECKING:
    from pathlib import Path

TASKS = """
    import datetime
    import json
    import os
    import resource
    import signal
    import subprocess
    import sys
    import time
    from pathlib import Path

    from job_orchestration import TaskBase


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config
            self.journal = Path(config["outputDir"], "journal")


    class Quick(Base):
        def run(self):
            return "quick"


    class Leaks(Base):
        def run(self):
            self.context.store.save_text("x", "x")
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
            self.kept = []
            try:
                while True:
                    self.kept.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                pass


    class Closes(Base):
        def run(self):
            os.closerange(3, 1000)
            raise ValueError("after all were closed")


    class ClosesAndOpens(Base):
        def run(self):
            os.closerange(3, 1000)
            self.files = [open(Path(self.config["outputDir"], str(n)), "w") for n in range(40)]


    class Limits(Base):
        def run(self):
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))


    class Full(Base):
        def run(self):
            with open("/dev/full", "w") as file:
                file.write("x")


    class Masks(Base):
        def run(self):
            os.umask(0o777)
            self.context.store.save_text("x", "x")


    class Raises(Base):
        def run(self):
            raise OSError(5, "as a broken disk of its own")


    class Empties(Base):
        def run(self):
            for path in self.journal.iterdir():
                path.write_text("")


    class Forges(Base):
        def run(self):
            for path in self.journal.iterdir():
                with open(path, "r+b") as file:
                    file.write(b"x" * path.stat().st_size)


    class Counts(Base):
        def run(self):
            path = Path(self.config["notes"], "counted-" + Path(self.config["outputDir"]).name)
            path.write_text(str(int(path.read_text()) + 1 if path.exists() else 1))
            return "x" * self.config["length"]


    class ForgesAndDies(Forges):
        def run(self):
            super().run()
            os._exit(3)


    class EmptiesAndDies(Empties):
        def run(self):
            super().run()
            os._exit(3)


    class WritesAndDies(Base):
        def run(self):
            for path in self.journal.iterdir():
                path.write_text("mine\\n")
            os.kill(os.getpid(), signal.SIGKILL)


    class LeavesAnEmptier(Base):
        def run(self):
            path = str(self.journal / "000001.jsonl")
            subprocess.Popen([sys.executable, "-c", f"while True: open({path!r}, 'w').close()"])
            while os.stat(path).st_size:
                pass
            raise ValueError("its process empties the journal until it is killed")


    class Halves(Base):
        def run(self):
            with open(self.journal / "000001.jsonl", "a") as file:
                file.write('{"seq": 9, "at": "half')


    class Writes(Base):
        def run(self):
            os.write = lambda descriptor, data: len(data)


    class Dumps(Base):
        def run(self):
            json.dumps = lambda *_, **__: "{}"
            json.loads = lambda *_, **__: {}


    class Stats(Base):
        def run(self):
            def no(*_, **__):
                raise FileNotFoundError(2, "no")
            os.stat = os.lstat = no


    class Still(Base):
        def run(self):
            class Frozen(datetime.datetime):
                @classmethod
                def now(cls, tz=None):
                    return cls(2001, 1, 1, tzinfo=tz)
            moment = time.time()
            import job_orchestration.workspace.clock as clock
            datetime.datetime = clock.datetime = Frozen
            time.time = time.monotonic = lambda: moment


    class Breaks(Base):
        def run(self):
            from job_orchestration.runs import event_codec, journal
            event_codec.encode = lambda entry: b"{}\\n"
            return "never written"
"""
FAILS = {
    "leaks": "Leaks",
    "closes": "Closes",
    "closes_and_opens": "ClosesAndOpens",
    "limits": "Limits",
    "full": "Full",
    "raises": "Raises",
    "breaks": "Breaks",
    "empties_and_dies": "EmptiesAndDies",
    "writes_and_dies": "WritesAndDies",
    "leaves_an_emptier": "LeavesAnEmptier",
    "forges_and_dies": "ForgesAndDies",
}
"""Run and method: these fail, as often as they may."""
COMPLETES = {
    "empties": "Empties",
    "forges": "Forges",
    "halves": "Halves",
    "writes": "Writes",
    "dumps": "Dumps",
    "still": "Still",
}
"""These do nothing that keeps their result from being written."""
EITHER = {"masks": "Masks", "stats": "Stats"}
"""These end, one way or the other: as root a file of mode 000 can be read."""
MOST = 2
LENGTHS = {"short": 10, "long": 100_000}
"""The results of tasks that finish before one that spoils the journal and ends its process."""


def events(root: Path, run: str, kind: str) -> list[dict[str, object]]:
    """The events of a kind in a journal that has lines which are none."""
    found = []
    for path in sorted((root / "Output" / run / "journal").glob("*.jsonl")):
        for line in path.read_bytes().split(b"\n"):
            with suppress(ValueError):
                event = json.loads(line)
                found += [event] if event.get("event") == kind else []
    return found


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    sandbox = Sandbox(tmp_path_factory.mktemp("spoilt"), TASKS)
    for run, method in (FAILS | COMPLETES | EITHER).items():
        sandbox.drop(run, method, "Quick", maxAttempts=MOST)
    for run, length in LENGTHS.items():
        for method in ("EmptiesAndDies", "ForgesAndDies"):
            sandbox.drop(f"{run}_{method}", "Counts", method, "Quick", maxAttempts=MOST, length=length)
    sandbox.drop("zz", "Quick")
    sandbox.ready()
    started = time.monotonic()
    worker = sandbox.start("--until-idle")
    said, _ = worker.communicate(timeout=120)
    sandbox.said, sandbox.code, sandbox.took = said, worker.returncode, time.monotonic() - started
    yield sandbox
    sandbox.close()


@pytest.mark.slow
def test_errors_that_only_look_like_the_disks_are_failed_tries(spoilt):
    assert spoilt.code == 1, spoilt.said
    assert "cannot be written" not in spoilt.said
    assert "Traceback" not in spoilt.said
    assert not names(spoilt.root, "Running")
    assert not names(spoilt.root, "ConfigsToRun")
    assert set(FAILS) <= set(names(spoilt.root, "Failed")), spoilt.said
    for run in FAILS:
        failed = events(spoilt.root, run, "task_failed")
        assert len(failed) == MOST, (run, failed)
        assert len(list((spoilt.output(run) / "journal").glob("*.jsonl"))) <= 1 + MOST
    assert spoilt.log("leaves_an_emptier").count("Running task") == MOST, "a try that is lost is counted, too"


@pytest.mark.slow
def test_what_is_wrong_is_said(spoilt):
    wanted = {
        "leaks": "Too many open files",
        "closes": "exit code 1",
        "limits": "File too large",
        "full": "No space left on device",
        "raises": "as a broken disk of its own",
        "breaks": "but the journal on the disk does not",
        "empties_and_dies": "exit code 3",
        "writes_and_dies": "SIGKILL",
    }
    for run, sentence in wanted.items():
        assert all(sentence in str(e["error"]) for e in events(spoilt.root, run, "task_failed")), run
    for run in ("empties_and_dies", "writes_and_dies"):
        assert [e["task"] for e in events(spoilt.root, run, "spoilt")] == [run.replace("_", "")] * MOST


@pytest.mark.slow
def test_what_a_child_needs_after_a_task_it_holds_from_before(spoilt):
    completed = set(names(spoilt.root, "Completed"))
    assert set(COMPLETES) <= completed, spoilt.said
    assert "zz" in completed
    assert set(EITHER) <= completed | set(names(spoilt.root, "Failed"))
    for run in COMPLETES:
        lines = b"".join(p.read_bytes() for p in sorted((spoilt.output(run) / "journal").glob("*.jsonl")))
        assert lines.count(b'"event": "task_finished"') == 2, run
        assert lines.count(b'"event": "readied"') == 1, run
    assert events(spoilt.root, "empties", "spoilt")[0]["task"] == "empties"
    (first, _) = events(spoilt.root, "still", "task_finished")
    assert not str(first["at"]).startswith("2001")


@pytest.mark.slow
@pytest.mark.parametrize("run", LENGTHS)
@pytest.mark.parametrize("method", ["EmptiesAndDies", "ForgesAndDies"])
def test_a_task_that_finished_before_never_runs_again(spoilt, run, method):
    run = f"{run}_{method}"
    assert run in names(spoilt.root, "Failed")
    assert (spoilt.notes / f"counted-{run}").read_text() == "1"
    (finished,) = events(spoilt.root, run, "task_finished")
    assert finished["task"] == "counts"
    assert len(events(spoilt.root, run, "task_failed")) == MOST
    assert {e["task"] for e in events(spoilt.root, run, "spoilt")} == {method.lower()}
