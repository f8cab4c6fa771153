"""F14: a disk that is really full, of bytes or of inodes, while everything is at work on it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.conftest import wait_until
from tests.faults.disks import Memory
from tests.faults.figures import figure
from tests.faults.workspace_files import PLACES, events, names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TASKS = """
    import time
    from pathlib import Path

    from job_orchestration import TaskBase


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config


    class Saves(Base):
        def run(self):
            for n in range(50):
                print("line", n, flush=True)
            time.sleep(0.1)
            self.context.store.save_bytes("out.bin", b"x" * self.config.get("size", 5000))
            return "saved"


    class Talks(Base):
        def run(self):
            notes = Path(self.config["notes"])
            for n in range(100_000):
                print("talk", n, "." * 100, flush=True)
                (notes / "talked").write_text(str(n))
                if (notes / "enough").exists():
                    return n
"""
FULL = "(No space left on device). Waiting until it can."
PAUSED = "The workspace cannot be written (No space left on device). Waiting until it can."
AGAIN = "The workspace can be written again."


class Filler:
    """What fills a disk up, and goes away again."""

    def __init__(self, disk: Memory, kind: str) -> None:
        self.folder = disk.folder / "filler"
        self.folder.mkdir()
        self.kind = kind

    def fill(self, leave: int = 0) -> None:
        """Take all there is, except for so many bytes."""
        if self.kind == "inodes":
            with suppress(OSError):
                for n in range(1_000_000):
                    (self.folder / str(n)).touch(exist_ok=False)
            return
        with suppress(OSError), (self.folder / "bytes").open("wb", buffering=0) as file:
            while file.write(b"\0" * 65536):
                pass
        if leave:
            os.truncate(self.folder / "bytes", (self.folder / "bytes").stat().st_size - leave)

    def free(self) -> None:
        """Give all of it back."""
        for path in self.folder.iterdir():
            path.unlink()


class Small:
    """A workspace on a small disk, and the processes that work there."""

    def __init__(self, folder: Path, options: str, kind: str, environment: dict[str, str]) -> None:
        self.disk = Memory(folder / "small", options)
        self.workspace = self.disk.folder / "workspace"
        self.environment = {
            **environment,
            "JOB_ORCHESTRATION_WORKSPACE": str(self.workspace),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.folder = folder
        self.filler = Filler(self.disk, kind)
        self.processes: list[tuple[subprocess.Popen[bytes], Path]] = []
        self.command("init")

    def command(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "job_orchestration", *words],
            env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def start(self, *words: str) -> Path:
        """Start a command that stays; returns the file of what it says."""
        said = self.folder / f"said{len(self.processes)}"
        with said.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "job_orchestration", *words],
                env=self.environment, cwd=self.folder, stdout=file, stderr=file,
            )  # fmt: skip
        self.processes.append((process, said))
        return said

    def drop(self, repository: Path, name: str, *methods: str, **values: object) -> None:
        lines = [f"{key}: {value}" for key, value in values.items()]
        tasks = [f"- {{id: {m.lower()}{n}, method: {m}}}" for n, m in enumerate(methods)]
        config = [
            f"pathToTasks: {repository}",
            f"outputDir: {name}",
            "maxAttempts: 1",
            *lines,
            "tasks:",
            *tasks,
        ]
        part = self.workspace / "ConfigSources" / f".{name}"
        part.write_text("\n".join(config) + "\n")
        part.rename(part.with_name(f"{name}.yaml"))

    def alive(self) -> bool:
        return all(process.poll() is None for process, _ in self.processes)

    def said(self) -> str:
        return "".join(path.read_text() for _, path in self.processes)

    def close(self) -> None:
        for process, _ in self.processes:
            process.kill()
            process.wait(timeout=30)
        self.disk.close()


@pytest.fixture
def small(tmp_path, environment) -> Iterator[object]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    made: list[Small] = []

    def make(options: str, kind: str = "bytes") -> Small:
        made.append(Small(tmp_path, options, kind, environment))
        return made[-1]

    yield make
    for each in made:
        each.close()


def places(workspace: Path) -> Counter[str]:
    return Counter(name for place in PLACES for name in names(workspace, place))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("kind", "options", "runs", "times", "seconds"),
    [
        ("bytes", "size=12m", 12, 2, 1),
        ("inodes", "size=64m,nr_inodes=1500", 8, 1, 1),
        pytest.param("bytes", "size=24m", 100, 20, 10, marks=pytest.mark.soak),
        pytest.param("inodes", "size=64m,nr_inodes=4000", 100, 20, 10, marks=pytest.mark.soak),
    ],
)
def test_a_disk_that_is_full_now_and_then_loses_nothing_and_fails_no_run(
    small, repository, kind, options, runs, times, seconds
):
    here = small(options, kind)
    folder = repository(TASKS)
    here.drop(folder, "warm", "Saves")
    here.command("ready")
    luck = random.Random(3)
    here.start("watch")
    workers = here.start("work"), here.start("work")
    wait_until(lambda: names(here.workspace, "Completed") == ["warm"])
    dropped = ["warm"]
    for _ in range(times):
        for _ in range(runs // times + 1):
            dropped.append(f"r{len(dropped)}")
            here.drop(folder, dropped[-1], "Saves", "Saves")
        wait_until(lambda: names(here.workspace, "Running"))
        time.sleep(luck.uniform(0, 0.3))
        printed = here.said().count(FULL)
        here.filler.fill()
        full_until = time.monotonic() + seconds
        wait_until(lambda printed=printed: here.said().count(FULL) > printed, 30, here.said()[-2000:])
        while time.monotonic() < full_until:
            assert here.alive(), here.said()
            time.sleep(0.1)
        assert set(places(here.workspace)) == set(dropped), "something was lost"
        here.filler.free()
        wait_until(lambda: len(names(here.workspace, "Completed")) >= len(dropped) * 2 // 3, 60)
    wait_until(lambda: names(here.workspace, "Completed") == sorted(dropped), 60, here.said()[-2000:])
    assert here.alive(), here.said()
    assert "Traceback" not in here.said()
    for worker in workers:
        text = worker.read_text()
        assert text.count(AGAIN) == text.count(PAUSED)
    assert PAUSED in here.said()
    for name in dropped:
        finished = Counter(str(e["task"]) for e in events(here.workspace, name, "task_finished"))
        assert set(finished.values()) == {1}, (name, finished)
        assert events(here.workspace, name, "task_failed") == []
    figure("F14", f"runs on a disk that was out of {kind} {times} times for {seconds} s: lost or failed", "0")


def attempts(workspace: Path, run: str) -> int:
    """The number of the last attempt: those in which nothing was achieved leave no file for good."""
    return max(int(p.stem) for p in (workspace / "Output" / run / "journal").glob("*.jsonl"))


def hasten(workspace: Path, run: str) -> None:
    """Let a run that has to wait begin at once: the moment is part of its file's name."""
    for waiting in (workspace / "ConfigsToRun").glob(f"{run}~wait*"):
        with suppress(FileNotFoundError):
            waiting.rename(waiting.with_name(f"{run}.yaml"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("tries", [3, pytest.param(30, marks=pytest.mark.soak)])
def test_a_run_that_needs_more_than_there_is_waits_and_stands_in_nobodys_way(small, repository, tries):
    here = small("size=12m")
    folder = repository(TASKS)
    here.drop(folder, "warm", "Saves")
    here.command("ready")
    worker = here.start("work")
    wait_until(lambda: names(here.workspace, "Completed") == ["warm"])
    here.filler.fill(leave=600_000)
    here.drop(folder, "big", "Saves", size=2_000_000, maxInterruptions=2)
    here.drop(folder, "little", "Saves")
    here.command("ready")
    wait_until(lambda: names(here.workspace, "Completed") == ["little", "warm"], 60, worker.read_text())

    def attempted() -> bool:
        hasten(here.workspace, "big")  # its waits grow to minutes
        return attempts(here.workspace, "big") >= tries

    wait_until(attempted, 20 * tries, worker.read_text())
    here.filler.free()
    wait_until(lambda: "big" in names(here.workspace, "Completed") + names(here.workspace, "Failed"), 60)
    assert names(here.workspace, "Failed") == []
    assert here.alive()
    assert events(here.workspace, "big", "task_failed") == []
    figure(
        "F14",
        "attempts at a run for which there was no space, none counted",
        attempts(here.workspace, "big") - 1,
    )


def test_a_task_that_prints_does_not_notice_that_its_log_cannot_be_written(small, repository, tmp_path):
    here = small("size=12m")
    here.drop(repository(TASKS), "talker", "Talks", notes=tmp_path)
    here.command("ready")
    here.start("work")

    def talked() -> int:
        path = tmp_path / "talked"
        return int(path.read_text() or 0) if path.exists() else 0

    wait_until(lambda: talked() > 10)
    here.filler.fill()
    before = talked()
    wait_until(
        lambda: talked() > before + 2000, 30
    )  # more than a pipe holds, so the host has met the full disk
    here.filler.free()
    before = talked()
    wait_until(lambda: talked() > before + 50, 30)
    (tmp_path / "enough").touch()
    wait_until(lambda: names(here.workspace, "Completed") == ["talker"], 30, here.said())
    (finished,) = events(here.workspace, "talker", "task_finished")
    assert attempts(here.workspace, "talker") == 1
    log = (here.workspace / "Output" / "talker" / "log.log").read_text()
    assert "bytes could not be written here." in log
    assert f"talk {finished['result']} " in log
