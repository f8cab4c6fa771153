"""A workspace of this project to measure in, and the commands that are measured in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.measuring import Cost, cost_of, environment_for
from benchmarks.peers import ours
from benchmarks.places import space
from benchmarks.shape import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 300.0

TASKS = '''
import os
import time

from job_orchestration import TaskBase


def stamp(config, what):
    line = "%s %s %d\\n" % (what, os.path.basename(config["outputDir"]), time.time_ns())
    descriptor = os.open(config["stamps"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, line.encode())
    os.close(descriptor)


class Stamps(TaskBase):
    """Notes when it began and when it ended, and sleeps in between."""

    def __init__(self, config):
        self.config = config

    def run(self):
        stamp(self.config, "began")
        time.sleep(self.config["seconds"])
        stamp(self.config, "ended")


class Waits(TaskBase):
    """Waits for a file."""

    def __init__(self, config):
        self.config = config

    def run(self):
        stamp(self.config, "began")
        while not os.path.exists(self.config["gate"]):
            time.sleep(1)
'''


class Stage:
    """One workspace with one repository."""

    def __init__(self, folder: Path, tasks: str = TASKS) -> None:
        self.folder = folder
        self.job = Job(folder, Path(sys.executable).parent, 0, 1)
        self.repository = ours.make_workspace(self.job, tasks)
        self.workspace = folder / "workspace"
        self.stamps_file = folder / "stamps"
        self.environment = environment_for(self.job.programs, ours=True)

    def drop(self, name: str, method: str = "Stamps", *, steps: int = 1, seconds: float = 0.0) -> int:
        """Drop a config, and tell when: nanoseconds, just before it appeared."""
        lines = ours.CONFIG.format(repository=self.repository, name=name)
        lines += "".join(f'  - {{id: "{n}", method: {method}}}\n' for n in range(1, steps + 1))
        lines += f"stamps: {self.stamps_file}\nseconds: {seconds}\ngate: {self.folder / 'gate'}\n"
        half = self.folder / "half"
        half.write_text(lines)
        now = time.time_ns()
        half.rename(self.workspace / "ConfigSources" / f"{name}.yaml")
        return now

    def run(self, *words: str, path: str = "") -> Cost:
        """Run one of our commands to its end, and measure it."""
        environment = dict(self.environment)
        if path:
            environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
        cost = cost_of([ours.words(self.job, *words)], self.folder, environment, limit=LIMIT)
        if cost.code not in {0, 1} or cost.ended != "itself":
            raise RuntimeError(f"{words}: {cost}: {(self.folder / 'printed').read_text()[-500:]}")
        return cost

    def settled(self) -> None:
        """Wait until all drops count as whole."""
        time.sleep(ours.SETTLED)

    @contextmanager
    def started(self, *words: str) -> Iterator[psutil.Process]:
        """One of our commands, running; it is ended with all its descendants."""
        with (self.folder / "said").open("ab") as said:
            process = subprocess.Popen(
                ours.words(self.job, *words), env=self.environment, cwd=self.folder, stdout=said, stderr=said
            )
        found = psutil.Process(process.pid)
        try:
            yield found
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)
            if process.poll() is None:
                kill(found)
            process.wait(30)

    def stamps(self, what: str = "began") -> dict[str, list[int]]:
        """When tasks of each run began or ended, in nanoseconds."""
        found: dict[str, list[int]] = {}
        text = self.stamps_file.read_text() if self.stamps_file.exists() else ""
        for line in text.splitlines():
            kind, run, when = line.split()
            if kind == what:
                found.setdefault(run, []).append(int(when))
        return found

    def count(self, place: str) -> int:
        """How many configs lie in one of the folders."""
        return sum(1 for name in os.listdir(self.workspace / place) if name.endswith(".yaml"))


@contextmanager
def stage(where: str = "tmpfs", tasks: str = TASKS) -> Iterator[Stage]:
    """A stage with a ``Tasks.py``, gone afterwards."""
    with space(where) as parent:
        folder = parent / "j"
        folder.mkdir()
        yield Stage(folder, tasks)


def eventually(condition: Callable[[], object], seconds: float = LIMIT, every: float = 0.002) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(every)


def kill(process: psutil.Process) -> None:
    """Kill a process and all its descendants at once, and wait until all are gone."""
    family = [process, *process.children(recursive=True)]
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(family, 30)
