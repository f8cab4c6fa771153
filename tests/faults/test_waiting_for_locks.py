"""A command that waits for a lock says who holds it; it gives up at once if it is asked to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from job_orchestration.workspace import locks
from tests.conftest import LIMIT, wait_until

HOLDS = """
import fcntl, os, sys, time
for path in sys.argv[4:]:
    fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(1000)
"""


@pytest.fixture
def holder(workspace):
    """A process that looks like `ready` and holds the lock of openings."""
    words = [sys.executable, "-c", HOLDS, "job_orchestration", "--workspace", "ready"]
    process = subprocess.Popen(
        [*words, str(workspace / "Misc" / "opening")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


WAITS = {
    "ready": ("ready",),
    "gc": ("gc", "--yes"),
    "restore": ("restore", "nothing"),
    "watch": ("watch",),
}
"""Commands that need the lock of openings."""


@pytest.mark.slow
def test_every_command_that_waits_names_the_suspended_holder(workspace, start, holder, tmp_path):
    os.kill(holder.pid, signal.SIGSTOP)
    since = time.monotonic()
    waiting = {name: start(*words) for name, words in WAITS.items()}
    for name, process in waiting.items():
        sentence = process.stdout.readline()
        assert sentence.startswith(f"Waiting for the lock on {workspace}/Misc/opening: "), (name, sentence)
        about = f"process {holder.pid} on {socket.gethostname()}, started {time.strftime('%Y-')}"
        assert about in sentence
        assert f"it is stopped: let it go on with kill -CONT {holder.pid}" in sentence
    assert time.monotonic() - since < 60, "after two seconds, on a machine that is not busy"
    holder.kill()
    waiting.pop("watch").send_signal(signal.SIGTERM)
    codes = {name: process.wait(LIMIT) for name, process in waiting.items()}
    assert codes == {"ready": 0, "gc": 0, "restore": 2}


def test_with_no_wait_it_gives_up_with_a_code_of_its_own(workspace, cli, holder):
    for words in WAITS.values():
        if words != ("watch",):
            done = cli(*words, "--no-wait", check=5)
            assert f"(process {holder.pid} on {socket.gethostname()}, started " in done.stderr
            assert "Try again when it has ended." in done.stderr
    holder.kill()
    holder.wait()
    cli("ready", "--no-wait")


def test_the_command_of_the_holder_is_found_after_its_options():
    def words_of(*words):
        process = subprocess.Popen([sys.executable, "-c", "input()", *words], stdin=subprocess.PIPE)
        try:
            wait_until(lambda: b"input" in Path(f"/proc/{process.pid}/cmdline").read_bytes())
            return locks._words_of(process.pid)
        finally:
            process.communicate(b"\n")

    assert words_of("job_orchestration", "--workspace", "/data/w", "gc", "--yes") == "gc"
    assert words_of("/usr/bin/jo", "-action", "readyConfigs") == "readyConfigs"
    assert words_of("/usr/bin/job-orchestration") == "job-orchestration"
    assert locks._words_of(2**22 + 1) == "a process"


def test_a_lock_that_becomes_free_soon_is_waited_for_without_a_word(workspace, monkeypatch):
    said = []
    monkeypatch.setattr(locks, "say", said.append)
    folder = str(workspace / "Misc" / "opening")
    words = [sys.executable, "-c", HOLDS.replace("1000", "0.1"), "a", "b", "c", folder]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with locks.folder_lock(folder):
        assert process.wait(LIMIT) == 0
    process.communicate()
    assert said == []
