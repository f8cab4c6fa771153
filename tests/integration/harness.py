"""A workspace, a repository of tasks, and workers as processes of their own, for tests of the engine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

import job_orchestration
from job_orchestration.config.yaml_writer import to_yaml
from job_orchestration.submission.checker import Checker
from job_orchestration.submission.pipeline import ready_drops
from job_orchestration.workspace import layout
from job_orchestration.workspace.layout import VARIABLE
from tests.faults.workspace_files import events, names

if TYPE_CHECKING:
    from collections.abc import Callable

    from job_orchestration.submission.reports import Report

PACKAGE = Path(job_orchestration.__file__).parent
LIMIT = 120.0
"""Seconds after which something that should have happened never will: long enough for a busy machine."""
MARK = "JOB_ORCHESTRATION_RUN"


def eventually(condition: Callable[[], object], what: str = "", seconds: float = LIMIT) -> object:
    """The first true value of a condition; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or condition}"
        time.sleep(0.01)
    return found


def git(folder: Path, *arguments: str) -> str:
    """The output of a git command in a repository of a test."""
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT).stdout.strip()


def mutant(folder: Path, file: str, old: str, new: str) -> Path:
    """A copy of the package with one place of it broken; put it first on PYTHONPATH."""
    copy = folder / "mutant"
    for part in (PACKAGE, PACKAGE.parent / "workspace_template"):
        shutil.copytree(part, copy / part.name, ignore=shutil.ignore_patterns("__pycache__"))
    path = copy / "job_orchestration" / file
    text = path.read_text()
    assert text.count(old) == 1, "the place to be broken has changed"
    path.write_text(text.replace(old, new))
    return copy


class Sandbox:
    """One workspace with one repository.

    Args:
        folder: where everything is made.
        tasks: the source of ``Tasks.py``.
    """

    def __init__(self, folder: Path, tasks: str) -> None:
        self.folder = folder
        self.workspace = layout.prepare(str(folder / "workspace"))
        self.root = Path(self.workspace.root)
        self.notes = folder / "notes"
        self.notes.mkdir()
        self.repository = self.make_repository("repository", tasks)
        self._started: list[subprocess.Popen[str]] = []

    def make_repository(self, name: str, tasks: str) -> Path:
        repository = self.folder / name
        repository.mkdir()
        (repository / "Tasks.py").write_text(textwrap.dedent(tasks))
        git(repository, "init", "--quiet", "--initial-branch=main")
        self.commit(repository)
        return repository

    def commit(self, repository: Path | None = None) -> None:
        repository = repository or self.repository
        git(repository, "add", ".")
        git(repository, "commit", "--quiet", "--message=tasks")

    # -- runs -----------------------------------------------------------------------------------------------

    def drop(self, name: str, *methods: str, **values: object) -> None:
        """Drop a config; each method is a task with the method's name in small letters as its id."""
        content = {
            "pathToTasks": str(self.repository),
            "outputDir": name,
            "notes": str(self.notes),
            "tasks": [{"id": m.rpartition(":")[2].lower(), "method": m} for m in methods],
            **values,
        }
        (self.root / "ConfigSources" / f"{name}.yaml").write_bytes(to_yaml(content))  # type: ignore[arg-type]

    def ready(self) -> Report:
        """Queue what was dropped, without waiting for it to settle."""
        check = Checker(self.workspace)
        try:
            return ready_drops(self.workspace, check, lambda *_: True)
        finally:
            check.close()

    def queue(self, name: str, *methods: str, **values: object) -> None:
        """Drop a config and ready it; it must be fine."""
        self.drop(name, *methods, **values)
        report = self.ready()
        assert not report.refused, report.refused

    def start(self, *words: str, package: Path | None = None, **environment: str) -> subprocess.Popen[str]:
        """A worker that stays."""
        process = subprocess.Popen(
            [sys.executable, "-m", "job_orchestration", "work", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=self.folder,
            env={
                **os.environ,
                VARIABLE: str(self.root),
                "PYTHONPATH": str(package or PACKAGE.parent),
                **environment,
            },
        )
        self._started.append(process)
        return process

    def work(self, package: Path | None = None, **environment: str) -> str:
        """A worker until idle; returns what it said."""
        return self.ended(self.start("--until-idle", package=package, **environment))

    def ended(self, worker: subprocess.Popen[str]) -> str:
        said, _ = worker.communicate(timeout=LIMIT)
        assert "Traceback" not in said, said
        assert worker.returncode in {0, 1, 130}, (worker.returncode, said)
        return said

    def close(self) -> None:
        """End all workers and everything that still carries this workspace's name."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for pid in self.alive():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # -- what is there --------------------------------------------------------------------------------------

    def events(self, run: str, kind: str | None = None) -> list[dict]:
        return events(self.root, run, kind)

    def results(self, run: str) -> dict:
        """What the finished tasks of a run returned."""
        return {e["task"]: e.get("result") for e in self.events(run, "task_finished")}

    def results_of_valid(self, run: str) -> dict:
        """The same for a journal that has lines which are none."""
        found = {}
        for path in sorted((self.output(run) / "journal").glob("*.jsonl")):
            for line in path.read_bytes().split(b"\n"):
                with suppress(ValueError):
                    event = json.loads(line)
                    if event["event"] == "task_finished":
                        found[event["task"]] = event.get("result")
        return found

    def names(self, place: str) -> list[str]:
        return names(self.root, place)

    def output(self, run: str) -> Path:
        return self.root / "Output" / run

    def log(self, run: str) -> str:
        return (self.output(run) / "log.log").read_text(errors="replace")

    def note(self, name: str) -> str:
        """The first line that a task wrote into one of its notes, once it is whole."""
        path = self.notes / name

        def whole() -> str | None:
            text = path.read_text() if path.exists() else ""
            return text.partition("\n")[0] if "\n" in text else None

        found = eventually(whole, what=f"the note {name}")
        assert isinstance(found, str)
        return found

    def fork_server_of(self, worker: subprocess.Popen[str]) -> int:
        """The process of a worker's only fork server."""
        (fork_server,) = psutil.Process(worker.pid).children()
        return fork_server.pid

    def alive(self) -> list[int]:
        """The processes that carry this workspace in their environment."""
        mark = f"{VARIABLE}={self.root}".encode()
        found = []
        for name in os.listdir("/proc"):
            with suppress(OSError):
                if name.isdigit() and mark in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                    found.append(int(name))
        return found


def is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
