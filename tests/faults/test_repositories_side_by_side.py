"""Several repositories in one `ready`: their tasks are imported and validated side by side."""

from __future__ import annotations

import os
import signal
from itertools import groupby
from pathlib import Path

import pytest

from tests.conftest import LIMIT, wait_until
from tests.faults.test_imports_that_hang import HANGS
from tests.faults.workspace_files import names

MEETS = """
    import os, time
    from pathlib import Path

    own, other = Path({own!r}), Path({other!r})
    for number in range(50):
        print("said by", own.name, flush=True)
    with own.open("a") as file:
        file.write("begun\\n")
    end = time.monotonic() + 20
    while not other.exists() and time.monotonic() < end:
        time.sleep(0.005)
        print("said by", own.name, flush=True)
    assert other.exists(), "the other one was not imported at the same time"
    for number in range(50):
        print("said by", own.name, flush=True)

    from job_orchestration import TaskBase

    class Quick(TaskBase):
        def validate(self):
            return ["not " + own.name]

        def run(self):
            return 1
"""
HANGS_IN_VALIDATE = """
    import time
    from pathlib import Path

    from job_orchestration import TaskBase

    class Quick(TaskBase):
        def validate(self):
            with Path({note!r}).open("a") as file:
                file.write("begun\\n")
            while not Path({gate!r}).exists():
                time.sleep(0.02)

        def run(self):
            return 1
"""


def test_two_repositories_are_imported_at_the_same_time_and_their_messages_stay_together(
    drop, cli, repository, tmp_path
):
    notes = {name: tmp_path / "notes" / name for name in ("one", "two")}
    (tmp_path / "notes").mkdir()
    for name, other in (("one", "two"), ("two", "one")):
        text = MEETS.format(own=str(notes[name]), other=str(notes[other]))
        drop(name, {"pathToTasks": str(repository(text, name=name))})
    done = cli("ready", check=3)
    assert 0 <= done.stdout.find("not one") < done.stdout.find("not two"), done.stdout
    said = [line for line in done.stderr.splitlines() if line.startswith("said by")]
    assert [who for who, _ in groupby(said)] == ["said by one", "said by two"]
    assert {note.read_text() for note in notes.values()} == {"begun\n"}, "each was imported once"


@pytest.mark.slow
@pytest.mark.parametrize("code", [HANGS, HANGS_IN_VALIDATE], ids=["import", "validate"])
def test_more_repositories_that_hang_than_cpus_delay_no_other_and_are_begun_once(
    workspace, drop, start, repository, tmp_path, code
):
    gate, notes = tmp_path / "gate", [tmp_path / f"note{n}" for n in range(5)]
    for n, note in enumerate(notes):
        folder = repository(code.format(note=str(note), gate=str(gate)), name=f"hanging{n}")
        drop(f"a_slow{n}", {"pathToTasks": str(folder), "validationTimeout": "5m"})
    drop("b_quick")
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cpus)[:2])
    try:
        waiting = start("ready")
    finally:
        os.sched_setaffinity(0, cpus)
    wait_until((workspace / "ConfigsToRun" / "b_quick.yaml").exists)
    assert names(workspace, "ConfigsToRun") == ["b_quick"]
    wait_until(lambda: all(note.exists() for note in notes))
    gate.touch()
    said, _ = waiting.communicate(timeout=LIMIT)
    assert waiting.returncode == 0, said
    assert names(workspace, "ConfigsToRun") == [*(f"a_slow{n}" for n in range(5)), "b_quick"]
    assert [note.read_text().count("\n") for note in notes] == [1] * 5, "each was begun once"
    assert len({line for line in said.splitlines() if line.startswith("Waiting for the tasks of ")}) >= 2


@pytest.mark.slow
def test_an_interrupt_ends_all_that_is_being_imported(workspace, drop, start, repository, tmp_path):
    notes = [tmp_path / f"note{n}" for n in range(2)]
    for n, note in enumerate(notes):
        text = HANGS.format(note=str(note), gate=str(tmp_path / "gate"))
        folder = repository(text, name=f"hanging{n}")
        drop(f"slow{n}", {"pathToTasks": str(folder), "validationTimeout": "10m"})
    waiting = start("ready")
    wait_until(lambda: all(note.exists() for note in notes))
    os.kill(waiting.pid, signal.SIGINT)
    waiting.communicate(timeout=LIMIT)
    assert waiting.returncode != 0
    wait_until(lambda: not _processes_of(workspace))
    assert names(workspace, "ConfigsToRun") == []


def _processes_of(workspace: Path) -> list[str]:
    mark = f"JOB_ORCHESTRATION_WORKSPACE={workspace}".encode()
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if mark in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                found.append(name)
        except OSError:
            continue
    return found
