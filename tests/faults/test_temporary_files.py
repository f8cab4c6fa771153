"""What a kill between a temporary file and its rename leaves behind is collected, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from job_orchestration.workspace import layout, temporary_files
from tests.integration.harness import LIMIT

DAY = 86_400.0
DEAD = 2**22 - 3
"""No process of a test has this id."""


def in_folders(workspace: Path, pid: int) -> list[Path]:
    """One of each kind of temporary file, as a killed process leaves it."""
    names = (
        "workspace.yaml.tmp{}",
        "ConfigSources/a.yaml.problems.txt.tmp{}",
        "ConfigSources/.a.yaml.{}",
        "ConfigSources/.copy.{}",
        "ConfigsToRun/a.yaml.problems.txt.tmp{}",
        "Running/a~g000001~lab.1.abc.yaml.problems.txt.tmp{}",
        "Misc/VERSION.tmp{}",
        "Misc/workers/lab.1.abc.json.tmp{}",
        "Misc/workers/lab.{}.abc.trial",
        "Misc/outbox/completed~0~config.x.json.tmp{}",
        "Misc/outbox/undelivered/completed~0~config.x.json.tmp{}",
        "Misc/searches/s/search.json.tmp{}",
        "Misc/searches/s/ended.tmp{}",
        "Misc/summaries/all.jsonl.tmp{}",
        "Misc/opening/ready.json.tmp{}",
    )
    return [_made(workspace / name.format(pid)) for name in names]


def in_runs(workspace: Path, pid: int) -> list[Path]:
    (workspace / "Output/old/run/journal").mkdir(parents=True, exist_ok=True)
    names = (
        "old/run/status.yaml.tmp{}",
        "old/run/provenance.json.tmp{}",
        "old/search.yaml.tmp{}",
        "old/results.yaml.tmp{}",
    )
    return [_made(workspace / "Output" / name.format(pid)) for name in names]


def innocent(workspace: Path, pid: int) -> list[Path]:
    """A person's and a task's own files."""
    names = (
        f"ConfigSources/mine.tmp{pid}",
        f"ConfigSources/mine.yaml.tmp{pid}",
        f"notes.tmp{pid}",
        f"Output/old/run/data.tmp{pid}",
        f"Output/old/run/task/status.yaml.tmp{pid}",
        "Output/old/run/status.yaml.tmp",
        "Misc/outbox/log",
        "ConfigSources/.hidden.yaml",
    )
    return [_made(workspace / name) for name in names]


def _made(path: Path, age: float = 2 * DAY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("half")
    then = time.time() - age
    os.utime(path, (then, then))
    return path


@pytest.mark.parametrize(
    "command", [("ready",), ("work", "--until-idle"), ("gc", "--yes")], ids=lambda c: c[0]
)
def test_each_kind_of_temporary_file_is_collected_two_days_later(workspace, cli, command):
    left = in_folders(workspace, DEAD)
    of_runs = in_runs(workspace, DEAD)
    kept = innocent(workspace, DEAD)
    outside = Path(tempfile.mkdtemp(prefix=temporary_files.SYSTEM_PREFIX))
    _made(outside / "request")
    submitted = _made(workspace / "Misc" / "submitted" / f"{DEAD}.abc" / "data.csv").parent
    for folder in (outside, submitted):
        os.utime(folder, (time.time() - 2 * DAY,) * 2)
    cli(*command)
    assert [path for path in left if path.exists()] == []
    assert not outside.exists()
    assert not submitted.exists()
    assert [path for path in kept if not path.exists()] == []
    if command[0] == "gc":
        assert [path for path in of_runs if path.exists()] == []


def test_the_next_attempt_at_a_run_deletes_what_the_one_before_was_about_to_rename(tmp_path):
    left = [_made(tmp_path / f"{name}.tmp{os.getpid()}", 0.0) for name in ("status.yaml", "provenance.json")]
    kept = [_made(tmp_path / name, 0.0) for name in (f"mine.csv.tmp{os.getpid()}", "status.yaml")]
    temporary_files.collect_in_run(str(tmp_path))
    assert [path for path in left if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []


def test_a_living_writer_loses_nothing(workspace):
    here = layout.locate(str(workspace))
    for age, pid, kept in (
        (60.0, DEAD, True),  # its process may live on another machine
        (3600.0, os.getpid(), True),  # it may be stopped
        (3600.0, DEAD, False),
        (2 * DAY, os.getpid(), False),  # no write takes a day: the id was given out again
    ):
        path = _made(workspace / f"Misc/outbox/a.json.tmp{pid}", age)
        temporary_files.collect(here)
        assert path.exists() is kept, (age, pid)


def test_a_killed_writer_leaves_what_is_collected(workspace, tmp_path):
    """The names are those that `durable` gives, not those that a test knows."""
    program = (
        "import os, sys\n"
        "from job_orchestration.workspace import durable\n"
        "os.rename = lambda *_: os.kill(os.getpid(), 9)\n"
        "getattr(durable, sys.argv[1])(sys.argv[2], b'half')\n"
    )
    targets = [
        *(
            (write, workspace / place)
            for write in ("replace", "write_view")
            for place in (
                "Misc/outbox/a.json",
                "Misc/workers/a.json",
                "Misc/searches/s/search.json",
                "ConfigSources/a.yaml.problems.txt",
            )
        ),
        ("write_view", workspace / "Output/old/search.yaml"),
    ]
    for write, path in targets:
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", program, write, str(path)]
        assert subprocess.run(command, check=False, timeout=LIMIT).returncode == -9
    before = set(workspace.rglob("*.tmp*"))
    assert len(before) == len(targets)
    for path in before:
        os.utime(path, (time.time() - 3600,) * 2)
    assert temporary_files.collect(layout.locate(str(workspace)), runs=True) >= len(before)
    assert not list(workspace.rglob("*.tmp*"))
