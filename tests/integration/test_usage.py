"""What a task used is measured, children included, and shown beside what its run asked for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from job_orchestration.cli import render
from job_orchestration.commands.results import Arrangement, results
from job_orchestration.commands.selection import Selection
from job_orchestration.commands.show import show
from job_orchestration.commands.status import status
from job_orchestration.config.expressions import parse
from job_orchestration.runs import event_codec
from job_orchestration.runs.events import JournalEntry, TaskFinished, Usage

if TYPE_CHECKING:
    from tests.integration.harness import Sandbox

MB = 1_000_000
WORK = """
import subprocess, sys, time

def work(seconds, megabytes):
    end = time.process_time() + seconds  # what the memory costs depends on the machine
    held = bytearray(megabytes * 1_000_000)
    for place in range(0, len(held), 4096):
        held[place] = 1
    while time.process_time() < end:
        pass

def in_a_child(seconds, megabytes):
    words = [sys.executable, __file__, str(seconds), str(megabytes)]
    subprocess.run(words, check=True)

if __name__ == "__main__":
    if len(sys.argv) > 3:
        in_a_child(float(sys.argv[3]), int(sys.argv[4]))
    work(float(sys.argv[1]), int(sys.argv[2]))
"""
TASKS = """
    import sys
    from pathlib import Path

    from job_orchestration import TaskBase
    import work

    work.__file__ = str(Path(work.__file__))


    class Own(TaskBase):
        def run(self):
            work.work(1.2, 400)
            work.in_a_child(0.3, 5)


    class Child(TaskBase):
        def run(self):
            work.in_a_child(1.2, 500)
            work.work(0.3, 5)


    class Little(TaskBase):
        def run(self):
            work.work(0.01, 1)


    class Moves(TaskBase):
        def run(self):
            path = self.context.store.path("data")
            path.write_bytes(b"x" * 3_000_000)
            path.read_bytes()
"""


@pytest.fixture
def lab(sandbox: Sandbox) -> Sandbox:
    (sandbox.repository / "work.py").write_text(WORK)
    sandbox.commit()
    return sandbox


def by_time(sandbox: Sandbox, *words: str) -> tuple[float, int]:
    """Seconds of CPU and the peak of memory of a program, as `/usr/bin/time -v` says."""
    command = [sys.executable, str(sandbox.repository / "work.py"), *words]
    if os.path.exists("/usr/bin/time"):
        timed = ["/usr/bin/time", "-v", *command]
        said = subprocess.run(timed, check=True, capture_output=True, text=True).stderr
        user, system = (
            float(re.search(rf"{name} time \(seconds\): (\S+)", said)[1]) for name in ("User", "System")
        )
        return user + system, int(re.search(r"Maximum resident .*: (\d+)", said)[1]) * 1024
    process = subprocess.Popen(command)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="macOS counts memory otherwise")
@pytest.mark.parametrize(("method", "words"), [("Own", (1.2, 400, 0.3, 5)), ("Child", (0.3, 5, 1.2, 500))])
def test_usage_is_that_of_time_children_included(lab: Sandbox, method: str, words: tuple[float, ...]) -> None:
    lab.queue("a", method)
    lab.work()
    (used,) = [task.usage for task in show(lab.workspace, "a").tasks]
    cpu, peak = by_time(lab, *map(str, words))
    assert used.cpu_s == pytest.approx(cpu, rel=0.1)
    assert used.peak_bytes == pytest.approx(peak, rel=0.1)


def test_the_peak_of_a_later_task_is_its_own(lab: Sandbox) -> None:
    lab.queue("a", "Own", "Little")
    lab.work()
    own, little = [task.usage for task in show(lab.workspace, "a").tasks]
    assert own.peak_bytes > 400 * MB
    assert little.peak_bytes < 200 * MB
    assert little.cpu_s < own.cpu_s


def test_a_run_in_a_fresh_interpreter_is_not_charged_for_its_imports(lab: Sandbox) -> None:
    lab.queue("a", "Little", isolation="spawn")
    lab.work()
    (used,) = [task.usage for task in show(lab.workspace, "a").tasks]
    assert used.cpu_s < 0.1


def test_bytes_read_and_written_are_those_of_the_task(lab: Sandbox) -> None:
    lab.queue("a", "Moves")
    lab.work()
    (used,) = [task.usage for task in show(lab.workspace, "a").tasks]
    assert used.written_bytes == pytest.approx(3 * MB, rel=0.1)
    assert used.read_bytes == pytest.approx(6 * MB, rel=0.1), (
        "once by the task, once for the hash of the output"
    )


@pytest.mark.slow
def test_usage_is_shown_beside_what_was_asked_for(lab: Sandbox) -> None:
    lab.queue("a", "Own", "Little", resources={"memory": "8G", "cpus": 1})
    lab.work()
    lines = list(render.shown(show(lab.workspace, "a")))
    (asked,) = [line for line in lines if line.startswith("asked ")]
    assert re.fullmatch(r"asked +memory 8 GB, used 4\d\d(\.\d)? MB(; cpus 1, used \d\.\d)?", asked)
    (overhead,) = [line for line in lines if line.startswith("overhead ")]
    tasks, whole = map(float, re.fullmatch(r"overhead +tasks ([0-9.]+) s of ([0-9.]+) s", overhead).groups())
    assert 0 < tasks <= whole
    (header,) = [line for line in lines if line.startswith("task ")]
    assert header.split()[6:10] == ["cpu", "memory", "read", "written"]
    found = show(lab.workspace, "a").as_json()
    assert found["usage"]["peak_bytes"] == max(task["usage"]["peak_bytes"] for task in found["tasks"])
    assert found["asked"]["memory"]["asked"] == 8_000 * MB


@pytest.mark.slow
def test_usage_is_in_status_and_in_results_for_those_who_name_it(lab: Sandbox) -> None:
    lab.queue("a", "Little")
    lab.queue("b", "Own")
    lab.work()
    entries = {entry.run: entry.as_json()["usage"] for entry in status(lab.workspace).runs}
    assert entries["b"]["peak_bytes"] > 400 * MB > entries["a"]["peak_bytes"]
    assert not any(column.startswith("usage") for column in results(lab.workspace).table.columns)
    columns = ("run", "usage.peak_bytes", "usage.own.cpu_s")
    table = results(lab.workspace, arrangement=Arrangement(columns=columns, sort="usage.peak_bytes")).table
    assert table.columns == columns
    assert [row["run"] for row in table.rows] == ["a", "b"]
    assert table.rows[0]["usage.own.cpu_s"] is None
    chosen = results(lab.workspace, Selection(filter=parse("usage.peak_bytes > 400000000"))).table
    assert [row["run"] for row in chosen.rows] == ["b"]


@pytest.mark.parametrize(
    "usage",
    ["null", "7", "[]", '{"cpu_s": "x"}', '{"cpu_s": 1}', '{"cpu_s": 1, "peak_bytes": 2, "later": 3}'],
)
def test_a_checkpoint_counts_whatever_its_usage_looks_like(usage: str) -> None:
    head = '"seq": 1, "at": "2026-01-01T00:00:00+00:00", "event": "task_finished", "task": "a"'
    line = f'{{{head}, "duration_s": 1, "usage": {usage}}}'
    found = event_codec.decode(line.encode())
    assert found is not None
    assert found.event.task == "a"


def test_usage_is_kept_by_the_journal() -> None:
    for usage in (Usage(1.5, 2, 3, 4), Usage(0.0, 1), None):
        entry = JournalEntry(
            1, "2026-01-01T00:00:00+00:00", TaskFinished("a", 1.0, usage=usage, inputs="f" * 64)
        )
        assert event_codec.decode(event_codec.encode(entry)) == entry
