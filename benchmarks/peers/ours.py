"""This project."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

from benchmarks.shape import Job, Peer, Phase

if TYPE_CHECKING:
    from pathlib import Path

TASKS = """
import os

from job_orchestration import TaskBase


class Step(TaskBase):
    def __init__(self, config):
        self.config = config

    def run(self):
        with open(os.path.join(self.config["outputDir"], self.config["id"] + ".txt"), "w") as file:
            file.write("done\\n")
"""
CONFIG = """\
pathToTasks: {repository}
outputDir: {name}
modelType: Conv
epochs: 5
batchSize: 32
tasks:
"""
SETTLED = 2.2
"""Seconds after which a dropped file counts as whole."""
GIT = ("git", "-c", "user.name=Bench", "-c", "user.email=bench@example.org", "-c", "commit.gpgsign=false")


def make_repository(folder: Path, tasks: str) -> Path:
    """A repository of one commit with tasks in it."""
    folder.mkdir(parents=True)
    (folder / "Tasks.py").write_text(tasks)
    commands = (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=tasks"])
    for words in commands:
        subprocess.run([*GIT, "-C", str(folder), *words], check=True, timeout=60)
    return folder


def words(job: Job, *rest: str) -> list[str]:
    """A command of ours."""
    return [job.python, "-m", "job_orchestration", *rest, "--workspace", str(job.folder / "workspace")]


def drop(sources: Path, name: str, text: str) -> None:
    """Drop a config as whole: by a rename."""
    half = sources / f".{name}.tmp"
    half.write_text(text)
    half.rename(sources / f"{name}.yaml")


def make_workspace(job: Job, tasks: str = TASKS) -> Path:
    """A repository, and a workspace without any config; returns the repository."""
    repository = make_repository(job.folder / "repository", tasks)
    subprocess.run(words(job, "init"), check=True, stdout=subprocess.DEVNULL, timeout=60)
    return repository


def drop_all(job: Job, repository: Path) -> None:
    """Drop all configs of a job, and wait until they count as settled; the wait is not measured."""
    steps = "".join(f'  - {{id: "{number}", method: Step}}\n' for number in range(1, job.steps + 1))
    sources = job.folder / "workspace" / "ConfigSources"
    for name in job.names:
        drop(sources, name, CONFIG.format(repository=repository, name=name) + steps)
    time.sleep(SETTLED)


def phases(job: Job) -> list[Phase]:
    """Ready all, then work until idle."""
    drop_all(job, make_workspace(job))
    workers = ["--workers", str(job.workers)] if job.workers > 1 else []
    ready, work = words(job, "ready"), words(job, "work", "--until-idle", *workers)
    return [Phase("submit", [ready]), Phase("work", [work])]


PEERS = (Peer("job_orchestration", phases, process="run", durable=True, ours=True, out="workspace/Output"),)
