"""A fork server stands still: limits, cancel and SIGTERM hold, and other runs are executed."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from job_orchestration.executor.silence import ASK_EVERY, STANDSTILL, Silence
from job_orchestration.workspace.layout import VARIABLE
from tests.integration.harness import LIMIT, Sandbox, eventually

TASKS = """
    import ctypes
    import os
    import signal
    import time
    from pathlib import Path

    from job_orchestration import TaskBase


    class Stops(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            first = Path(self.config["notes"], self.config["noteName"])
            if not first.exists():
                first.write_text(str(os.getppid()))
                os.kill(os.getppid(), signal.SIGSTOP)
                time.sleep(self.config["seconds"])
            return "done"


    class Hangs(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            note = Path(self.config["notes"], self.config["noteName"])
            note.write_text(str(os.getppid()))
            os.kill(os.getppid(), signal.SIGSTOP)
            ctypes.PyDLL(None).sleep(1000)  # keeps the interpreter's lock


    class Waits(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            note = Path(self.config["notes"], self.config["noteName"])
            note.with_suffix(".new").write_text(f"{os.getppid()} {os.getpid()}")
            note.with_suffix(".new").rename(note)
            if self.context.attempt == 1:
                time.sleep(1000)
            return "done"


    class Quick(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            return "quick"
"""
LONG = 1000


@pytest.fixture
def sandbox(tmp_path):
    sandbox = Sandbox(tmp_path, TASKS)
    yield sandbox
    for note in sandbox.notes.iterdir():  # nothing of a broken version stays behind
        with suppress(ProcessLookupError, ValueError):
            os.kill(int(note.read_text()), signal.SIGKILL)
    sandbox.close()


def queue(sandbox: Sandbox, name: str, seconds: float, **values: object) -> None:
    sandbox.drop(name, "Stops", noteName=name, seconds=seconds, **values)
    sandbox.drop(f"{name}-other", "Quick", priority=-1)
    report = sandbox.ready()
    assert not report.refused, report.refused


def gone(sandbox: Sandbox) -> object:
    return eventually(lambda: not sandbox.alive(), "no process is left")


@pytest.mark.slow
def test_a_timeout_holds_when_a_task_stops_its_fork_server(sandbox):
    queue(sandbox, "timeout", LONG, timeout=2, maxAttempts=1)
    said = sandbox.work()
    assert "stood still" in said
    (failed,) = sandbox.events("timeout", "task_failed")
    assert failed["outcome"] == "timeout"
    assert sandbox.names("Failed") == ["timeout"]
    assert sandbox.names("Completed") == ["timeout-other"]
    assert gone(sandbox)


@pytest.mark.slow
def test_cancel_and_sigterm_hold_while_the_fork_server_is_stopped(sandbox):
    queue(sandbox, "cancelled", LONG)
    worker = sandbox.start("--until-idle")
    eventually((sandbox.notes / "cancelled").exists)
    cancel = [sys.executable, "-m", "job_orchestration", "cancel", "cancelled"]
    subprocess.run(cancel, check=True, env={**os.environ, VARIABLE: str(sandbox.root)}, timeout=LIMIT)
    assert "stood still" in sandbox.ended(worker)
    assert sandbox.names("Failed") == ["cancelled"]
    assert sandbox.names("Completed") == ["cancelled-other"]

    queue(sandbox, "asked", LONG)
    worker = sandbox.start()
    eventually((sandbox.notes / "asked").exists)
    worker.send_signal(signal.SIGTERM)
    since = time.monotonic()
    assert "stood still" in sandbox.ended(worker)
    assert time.monotonic() - since < 60
    assert set(sandbox.names("ConfigsToRun")) == {"asked", "asked-other"}, "it goes on with another worker"
    assert gone(sandbox)
    sandbox.work()
    assert "asked" in sandbox.names("Completed")


@pytest.mark.slow
def test_a_walltime_holds_while_the_fork_server_is_stopped(sandbox):
    queue(sandbox, "timed", LONG)
    since = time.monotonic()
    worker = sandbox.start("--for", "15s")
    eventually((sandbox.notes / "timed").exists)
    said = sandbox.ended(worker)
    assert time.monotonic() - since < 60, "a fork server that stands still has 10 s to answer"
    assert "stood still" in said
    assert "timed" in sandbox.names("ConfigsToRun"), "it goes on with another worker"
    assert sandbox.events("timed", "task_failed") == []
    assert gone(sandbox)
    sandbox.work()
    assert sandbox.names("Completed") == ["timed", "timed-other"]


@pytest.mark.slow
def test_a_run_without_limits_goes_on_from_its_checkpoint_after_a_minute(sandbox):
    queue(sandbox, "unlimited", 0)
    said = sandbox.work()
    assert "stood still" in said
    assert set(sandbox.names("Completed")) == {"unlimited", "unlimited-other"}
    assert gone(sandbox)


@pytest.mark.slow
def test_a_stall_timeout_holds_when_the_fork_server_stands_still(sandbox):
    sandbox.queue("hangs", "Hangs", noteName="hangs", stallTimeout=1, maxAttempts=1)
    since = time.monotonic()
    assert "stood still" in sandbox.work()
    assert time.monotonic() - since < STANDSTILL
    (failed,) = sandbox.events("hangs", "task_failed")
    assert failed["outcome"] == "hang"
    assert sandbox.names("Failed") == ["hangs"]
    assert gone(sandbox)


@pytest.fixture
def freezer():
    """A control group, and what freezes it and lets it go on; skipped where none can be made."""
    for parent, file, words in (
        ("/sys/fs/cgroup/freezer", "freezer.state", ("THAWED", "FROZEN")),
        ("/sys/fs/cgroup", "cgroup.freeze", ("0", "1")),
    ):
        group = Path(parent, f"job_orchestration_{os.getpid()}")
        state = group / file
        with suppress(OSError):
            group.mkdir()
        if state.exists():
            yield group, functools.partial(freeze, state, words)
            state.write_text(words[0])
            eventually(lambda: not (group / "cgroup.procs").read_text())  # noqa: B023  # it is the last turn
            group.rmdir()
            return
        with suppress(OSError):
            group.rmdir()
    pytest.skip("no control group can be frozen here")


def freeze(state: Path, words: tuple[str, str], frozen: bool) -> None:
    state.write_text(words[frozen])


@pytest.mark.slow
def test_cancel_holds_while_the_control_group_of_a_run_is_frozen(sandbox, freezer):
    group, set_frozen = freezer
    sandbox.queue("frozen", "Waits", noteName="frozen")
    sandbox.queue("other", "Quick", priority=-1)
    worker = sandbox.start("--until-idle")
    eventually((sandbox.notes / "frozen").exists)
    note = (sandbox.notes / "frozen").read_text()
    for pid in note.split():
        (group / "cgroup.procs").write_text(pid)
    (sandbox.notes / "frozen").unlink()
    set_frozen(True)
    cancel = [sys.executable, "-m", "job_orchestration", "cancel", "frozen"]
    subprocess.run(cancel, check=True, env={**os.environ, VARIABLE: str(sandbox.root)}, timeout=LIMIT)
    worker.wait(STANDSTILL)
    assert sandbox.names("Failed") == ["frozen"]
    assert sandbox.names("Completed") == ["other"]
    set_frozen(False)
    assert "stood still" in sandbox.ended(worker)
    assert gone(sandbox)


def test_only_time_that_was_seen_to_pass_counts_and_any_answer_ends_the_silence():
    now, asked = [0.0], []
    silence = Silence(lambda: asked.append(now[0]), lambda: now[0])
    now[0] = 3600.0  # the machine slept
    assert silence.seconds() == 1.0
    for _ in range(20):
        now[0] += 0.5
        found = silence.seconds()
    assert found == 11.0
    assert len(asked) == 1 + 10 / ASK_EVERY
    silence.broken()
    assert silence.seconds() == 0.0


if sys.platform != "linux":
    pytestmark = pytest.mark.skip("other systems have no fork server")
