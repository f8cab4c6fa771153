"""Tasks empty, replace and remove what is in their run's folder: the run goes on to its end, others too.

The oracle reads raw files. Each task finishes once, what the run needs to go on is there again, and the task
is named.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from tests.faults.workspace_files import events, names
from tests.integration.harness import Sandbox, eventually

TASKS = """
    import os
    import shutil
    import time
    from pathlib import Path

    from job_orchestration import TaskBase


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config
            self.folder = Path(config["outputDir"])


    class First(Base):
        def run(self):
            return "first"


    class Last(Base):
        def run(self):
            return self.context.result_of("first")


    def pipe(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        os.mkfifo(path)


    def link(path, to):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.symlink_to(to)


    def folder(path):
        path.unlink(missing_ok=True)
        path.mkdir()
        (path / "mine").write_text("mine")


    def empty(path):
        path.write_text("")


    PLACES = ["journal/000000.jsonl", "journal/000001.jsonl", "config.yaml", "status.yaml", "log.log",
              "provenance.json"]
    HARMS = {"pipe": pipe, "zero": lambda p: link(p, "/dev/zero"), "loop": lambda p: link(p, p.name),
             "folder": folder, "empty": empty, "gone": Path.unlink}


    class Harms(Base):
        def run(self):
            how = self.config["how"]
            if how == "rmtree":
                shutil.rmtree(self.folder)
            elif how == "emptied":
                for path in self.folder.iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            elif how == "own config":
                (self.folder / "config.yaml").write_text("mine: 1\\n")
                (self.folder / "results.yaml").write_text("loss: 0.5\\n")
            elif how == "pipe for journal":
                pipe(self.folder / "journal")
            elif how == "link for journal":
                link(self.folder / "journal", self.config["notes"])
            else:
                for place in PLACES:
                    HARMS[how](self.folder / place)
            if self.config.get("waits"):
                Path(self.config["notes"], "harmed").write_text("yes\\n")
                while not Path(self.config["notes"], "gate").exists():
                    time.sleep(0.02)
            return how
"""
HOWS = (
    *("rmtree", "emptied", "own config", "pipe for journal", "link for journal"),
    *("pipe", "zero", "loop", "folder", "empty", "gone"),
)


def command(sandbox: Sandbox, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "job_orchestration", *words, "--workspace", str(sandbox.root)],
        cwd=sandbox.folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def harmed(tmp_path_factory):
    """One workspace in which each run harms its own folder in another way."""
    sandbox = Sandbox(tmp_path_factory.mktemp("harmed"), TASKS)
    for how in HOWS:
        sandbox.drop(how.replace(" ", "_"), "First", "Harms", "Last", how=how, maxAttempts=1)
    sandbox.ready()
    worker = sandbox.start("--until-idle")
    said, _ = worker.communicate(timeout=120)
    sandbox.code, sandbox.said = worker.returncode, said
    yield sandbox
    sandbox.close()


@pytest.mark.slow
def test_a_run_whose_task_takes_its_files_goes_on_to_its_end(harmed):
    assert harmed.code == 0, harmed.said
    assert "Traceback" not in harmed.said
    assert sorted(names(harmed.root, "Completed")) == sorted(how.replace(" ", "_") for how in HOWS)
    for how in HOWS:
        run = how.replace(" ", "_")
        finished = [e["task"] for e in events(harmed.root, run, "task_finished")]
        assert finished == ["first", "harms", "last"], "each task has its checkpoint, once"
        assert len(events(harmed.root, run, "readied")) == len(events(harmed.root, run, "completed")) == 1
        assert events(harmed.root, run, "task_failed") == []
        spoilt = events(harmed.root, run, "spoilt")
        log = harmed.log(run)
        if how == "own config":
            assert spoilt == []
            assert (harmed.output(run) / "config.yaml").read_text() == "mine: 1\n", (
                "it is the task's own file"
            )
            continue
        assert [e["task"] for e in spoilt] == ["harms"], (how, spoilt)
        assert "Task harms removed or changed files of the run's record" in log
        for name in ("journal", "log.log", "status.yaml"):
            assert not stat.S_ISLNK(os.lstat(harmed.output(run) / name).st_mode)
        if how in {"rmtree", "emptied"}:
            assert json.loads((harmed.output(run) / "provenance.json").read_bytes())["run"] == run


@pytest.mark.slow
def test_such_a_run_is_shown_and_can_be_collected_and_restored(harmed):
    for words in (["status"], ["results"], ["show", "rmtree"], ["logs", "rmtree"], ["doctor"]):
        assert "unreadable" not in command(harmed, *words)
    runs = ("rmtree", "emptied", "own_config")
    for have_tokens in (True, False):
        assert "rmtree" in command(harmed, "gc", *runs, "--yes")
        assert set(runs).isdisjoint(names(harmed.root, "Completed"))
        if not have_tokens:  # as if somebody had removed them
            for run in runs:
                (found,) = (harmed.root / "Misc" / "trash").glob(f"*/{run}.yaml")
                found.unlink()
        command(harmed, "restore", *runs)
        assert set(runs) <= set(names(harmed.root, "Completed"))


@pytest.mark.slow
def test_a_move_of_such_a_run_to_the_trash_that_was_cut_short_is_undone(harmed):
    command(harmed, "gc", "own_config", "--yes")
    (folder,) = (harmed.root / "Misc" / "trash").glob("*/own_config")
    folder.rename(harmed.output("own_config"))
    assert "own_config" in command(harmed, "gc", "--yes")
    assert "own_config" in names(harmed.root, "Completed")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["rmtree", "pipe"])
def test_a_copy_brings_the_record_back_when_the_worker_is_killed_as_well(tmp_path, how):
    sandbox = Sandbox(tmp_path, TASKS)
    sandbox.queue("a", "Harms", how=how, waits=True)
    worker = sandbox.start()
    sandbox.note("harmed")
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    eventually(lambda: not [p for p in sandbox.alive() if p != worker.pid], "its processes have ended")
    (sandbox.notes / "gate").touch()
    (copy,) = (sandbox.root / "Misc" / "backups").iterdir()
    assert b'"event": "readied"' in copy.read_bytes()
    started = time.monotonic()
    said = sandbox.work()
    assert time.monotonic() - started < 60, said
    assert names(sandbox.root, "Completed") == ["a"], said
    assert [e["task"] for e in events(sandbox.root, "a", "task_finished")] == ["harms"]
    assert [e["attempt"] for e in events(sandbox.root, "a", "claimed")] == [1, 2], "the first one is known"
    sandbox.close()
