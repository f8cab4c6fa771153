"""The work that everybody gets, and the words in which a peer says how it does it.

N experiments of three ordered steps; each step writes one line into one small file of its own, the first
makes the experiment's folder. Nothing else: what is measured is what a tool adds to that.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

STEPS = 3
LINE = "done\n"

STEP = '''"""One step of one experiment."""
import os

OUT = {out!r}


def step(experiment, number):
    folder = OUT + "/" + experiment
    if number == 1:
        os.mkdir(folder)
    with open(folder + "/" + str(number) + ".txt", "w") as file:
        file.write("done\\n")
'''
ALONE = '''"""All steps of one experiment, for tools that run commands."""
import sys
sys.path.insert(0, {folder!r})
from steps import step
for number in (1, 2, 3):
    step(sys.argv[1], number)
'''


@dataclass(frozen=True)
class Job:
    """One measurement: a folder to work in, the programs of the peer, and how much there is to do."""

    folder: Path
    programs: Path
    """The folder of the programs of the peer's own environment."""
    experiments: int
    workers: int
    steps: int = STEPS

    @property
    def names(self) -> list[str]:
        """The experiments."""
        return [f"e{number:06d}" for number in range(self.experiments)]

    @property
    def python(self) -> str:
        """The Python of the peer's environment."""
        return str(self.programs / "python")

    def program(self, name: str) -> str:
        """A program of the peer's environment, or of Debian when it is none of Python's."""
        return str(self.programs / name)

    def write(self, name: str, text: str) -> Path:
        """Write a file that the peer needs."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def write_steps(self) -> None:
        """Write the module ``steps`` and the script ``alone.py``, and make the folder of the outputs."""
        (self.folder / "out").mkdir()
        self.write("steps.py", STEP.format(out=str(self.folder / "out")))
        self.write("alone.py", ALONE.format(folder=str(self.folder)))


@dataclass(frozen=True)
class Phase:
    """Commands that run side by side, until all have ended."""

    name: str
    """``submit`` (what hands the work over) or ``work``."""
    commands: Sequence[Sequence[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    typed: str = ""
    """What is typed into them."""
    stays: bool = False
    """Whether they stay when nothing is left to do; then they are ended when all files are there."""


@dataclass(frozen=True)
class Peer:
    """A tool, or a floor."""

    name: str
    phases: Callable[[Job], list[Phase]]
    """Prepares the folder, which is not measured, and says what to run, which is."""
    process: str = "no"
    """Who gets a process of its own: ``run``, ``task`` or ``no``."""
    durable: bool = False
    """Whether a finished step survives a power cut."""
    lacks: str = ""
    """What it does not do, in words."""
    packages: tuple[str, ...] = ()
    """What pip installs into its environment."""
    debian: tuple[str, ...] = ()
    """Debian packages, unpacked beside it; nothing is installed into the system."""
    ours: bool = False
    """Whether it runs in this project's own environment."""
    floor: bool = False
    repair: Callable[[Path], None] | None = None
    """Makes a broken release start; gets the environment's folder."""
    most: int = 10_000
    """The largest size that is of any use."""
    out: str = "out"
    """The folder, below the job's, with one folder per experiment."""


def trouble(job: Job, out: str) -> str:
    """What is wrong with what a peer has made; empty when every step ran, in its order."""
    missing = 0
    for name in job.names:
        before = 0
        for number in range(1, job.steps + 1):
            try:
                status = os.stat(job.folder / out / name / f"{number}.txt")
            except OSError:
                missing += 1
                continue
            if status.st_size != len(LINE):
                return f"{name}: step {number} wrote something else"
            if status.st_mtime_ns < before:
                return f"{name}: step {number} ran before the step that it needs"
            before = status.st_mtime_ns
    return f"{missing} of {job.experiments * job.steps} steps did not run" if missing else ""


def emptied(folder: Path) -> Path:
    """A folder made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
