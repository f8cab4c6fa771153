"""Power cuts: `watch` and two workers at work on a disk whose power goes again and again.

What was reported before a cut must still be so after it. The reports are kept on another disk: the
dropper notes what it has made durable, the watch prints what it queued, the workers print what is completed,
and each task notes which one before it was finished. `Chain.cut` compares them with what the disk held, with
nothing but raw files; `Chain.end` lets the work be done and looks once more.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil

from job_orchestration.runs import opening
from tests.conftest import ROOT, run_git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.disks import Disk

LIMIT = 120.0
PLACES = ("ConfigSources", "ConfigsToRun", "Running", "Completed", "Failed")
STEPS = 3

TASKS = """
import hashlib, os, time
from pathlib import Path
from job_orchestration import TaskBase

def note(*words):
    with open(os.environ["CUT_NOTES"], "ab", buffering=0) as file:
        file.write((" ".join(words) + "\\n").encode())

class Step(TaskBase):
    def __init__(self, config):
        self.config = config

    def run(self):
        code = hashlib.sha256(Path("data.bin").read_bytes()).hexdigest()
        assert code == Path("digest.txt").read_text(), "a torn snapshot"
        run, number = self.context.run, int(self.config["id"][1:])
        if number:
            before = f"t{number - 1}"
            note("finished", run, before)
            saved = (self.context.folder_of(before) / "out.bin").read_bytes()
            assert hashlib.sha256(saved).hexdigest() == self.context.result_of(before), "a torn output"
        note("started", run, self.config["id"])
        time.sleep(0.02)
        made = os.urandom(20_000)
        self.context.store.save_bytes("out.bin", made)
        return hashlib.sha256(made).hexdigest()
"""

NO_SYNC = """
import os
os.fsync = os.fdatasync = lambda descriptor: None
from job_orchestration.workspace import durable
durable._syncfs = lambda descriptor: None
"""
"""A ``sitecustomize`` under which nothing that Python writes is synced."""


class Chain:
    """One disk from its making to its end, with many power cuts between.

    Args:
        disk: a disk that has been made.
        ram: a folder on another disk: the repositories, and what was reported.
        seed: of the moments of the cuts.
        sync: whether the product may sync; without, it must lose things.
    """

    def __init__(self, disk: Disk, ram: Path, seed: int, *, sync: bool = True) -> None:
        self.disk = disk
        self.ram = ram
        self.random = random.Random(seed)
        self.workspace = disk.top / "workspace"
        self.dropped: set[str] = set()
        self.cuts = 0
        self._processes: list[subprocess.Popen[bytes]] = []
        self._notes = ram / "notes"
        self._notes.touch()
        self._said = ram / "said"
        self._said.touch()
        path = [str(ROOT)]
        if not sync:
            (ram / "patch").mkdir()
            (ram / "patch" / "sitecustomize.py").write_text(NO_SYNC)
            path.insert(0, str(ram / "patch"))
        self._environment = {
            **os.environ,
            "JOB_ORCHESTRATION_WORKSPACE": str(self.workspace),
            "PYTHONPATH": os.pathsep.join(path),
            "CUT_NOTES": str(self._notes),
        }
        self._repository = ram
        self._command("init")
        os.sync()  # making the workspace is not what is tested here

    # -- the work -------------------------------------------------------------------------------------------

    def drop(self, count: int) -> None:
        """Drop some configs whose code is a new repository's, and make them durable."""
        self._repository = self.ram / f"repository{len(self.dropped)}"
        self._repository.mkdir()
        data = os.urandom(60_000)
        (self._repository / "Tasks.py").write_text(TASKS)
        (self._repository / "data.bin").write_bytes(data)
        (self._repository / "digest.txt").write_text(hashlib.sha256(data).hexdigest())
        run_git(self._repository, "init", "--quiet")
        run_git(self._repository, "add", ".")
        run_git(self._repository, "commit", "--quiet", "--message=one")
        for _ in range(count):
            self._drop_one(f"c{len(self.dropped)}")

    def _drop_one(self, name: str) -> None:
        tasks = "".join(f"- {{id: t{n}, method: Step}}\n" for n in range(STEPS))
        config = (
            f"pathToTasks: {self._repository}\noutputDir: runs/{name}\nmaxAttempts: 1\n"
            f"maxInterruptions: 1000\ntasks:\n{tasks}"
        )
        folder = self.workspace / "ConfigSources"
        part = folder / f".{name}"
        with part.open("w") as file:
            file.write(config)
            file.flush()
            os.fsync(file.fileno())
        part.rename(folder / f"{name}.yaml")
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        self.dropped.add(name)

    def work(self) -> None:
        """Have it worked at until something more was reported; how much more is a matter of luck."""
        left = len(self.dropped) - len(self._reported("completed"))
        if left < 12:
            self.drop(self.random.choice((4, opening.MANY + 2)))
        for words in (["watch", "--json"], ["work"], ["work"]):
            self._start(*words)
        tellings = self._tellings() + self.random.randint(1, 14)
        deadline = time.monotonic() + LIMIT
        while self._tellings() < tellings:
            assert time.monotonic() < deadline, f"nothing is done any more: {self._said.read_text()[-2000:]}"
            for process in self._processes:
                assert process.poll() is None, self._said.read_text()[-2000:]
            time.sleep(0.01)
        time.sleep(self.random.uniform(0, 0.06))  # anywhere between two tellings

    def _start(self, *words: str) -> None:
        command = [sys.executable, "-m", "job_orchestration", *words]
        with self._said.open("ab") as said:
            self._processes.append(
                subprocess.Popen(command, env=self._environment, cwd=self.ram, stdout=said, stderr=said)
            )

    def _command(self, *words: str) -> None:
        with self._said.open("ab") as said:
            command = [sys.executable, "-m", "job_orchestration", *words]
            subprocess.run(
                command,
                env=self._environment,
                cwd=self.ram,
                stdout=said,
                stderr=said,
                check=True,
                timeout=300,
            )

    # -- what was reported ----------------------------------------------------------------------------------

    def _tellings(self) -> int:
        return self._notes.read_bytes().count(b"\n") + self._said.read_bytes().count(b": completed\n")

    def _reported(self, what: str) -> set[str]:
        """The runs of which the watch (``queued``) or a worker (``completed``) said so."""
        found = set()
        for line in self._said.read_text(errors="replace").split("\n")[:-1]:
            if what == "completed" and line.endswith(": completed"):
                found.add(line.removesuffix(": completed"))
            elif what == "queued" and line.startswith("{"):
                found |= {q["run"] for q in json.loads(line)["queued"]}
        return found

    def _finished(self) -> set[tuple[str, str]]:
        """The tasks that a task after them saw as finished."""
        lines = self._notes.read_text().split("\n")[:-1]
        return {(run, task) for kind, run, task in map(str.split, lines) if kind == "finished"}

    # -- the cut --------------------------------------------------------------------------------------------

    def cut(self) -> list[str]:
        """Cut the power at this moment and switch it on again; returns what was reported and is not so."""
        members = self._freeze()
        queued, completed, finished = self._reported("queued"), self._reported("completed"), self._finished()
        copy = self.disk.copy()
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self._processes:
            process.wait(timeout=30)
        self._processes.clear()
        self.disk.become(copy)
        self.cuts += 1
        return [*self._missing(queued, completed), *self._undone(finished), *self._torn()]

    def _freeze(self) -> set[int]:
        members: set[int] = set()
        while True:
            found = {p.pid for p in self._processes}
            for process in self._processes:
                with suppress(psutil.Error):
                    found |= {p.pid for p in psutil.Process(process.pid).children(recursive=True)}
            if found <= members:
                return members
            for pid in found - members:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            members |= found

    # -- the verdict ----------------------------------------------------------------------------------------

    def _places(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {name: [] for name in self.dropped}
        for place in PLACES:
            for path in (self.workspace / place).glob("*.yaml"):
                found.setdefault(path.name.partition("~")[0].removesuffix(".yaml"), []).append(place)
        return found

    def _missing(self, queued: set[str], completed: set[str]) -> list[str]:
        places = self._places()
        wrong = [f"{name} is nowhere" for name, found in places.items() if not found]
        wrong += [
            f"{run} was queued and is only in {places[run.removeprefix('runs/')]}"
            for run in queued
            if not {"ConfigsToRun", "Running", "Completed"} & set(places[run.removeprefix("runs/")])
        ]
        return wrong + [
            f"{run} was completed and is in {places[run.removeprefix('runs/')]}"
            for run in completed
            if "Completed" not in places[run.removeprefix("runs/")]
        ]

    def _events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for folder in sorted((self.workspace / "Output" / "runs").glob("c*")):
            for path in sorted((folder / "journal").glob("*.jsonl")):
                for line in path.read_bytes().split(b"\n")[:-1]:
                    with suppress(ValueError):
                        yield f"runs/{folder.name}", json.loads(line)

    def _undone(self, finished: set[tuple[str, str]]) -> list[str]:
        there = {(run, e["task"]) for run, e in self._events() if e["event"] == "task_finished"}
        return [f"{task} of {run} was finished and is not" for run, task in sorted(finished - there)]

    def _torn(self) -> list[str]:
        """What is named as whole and is not: outputs by their checkpoint, tokens by their place."""
        wrong = []
        for run, event in self._events():
            for output in event.get("outputs", ()):
                path = self.workspace / "Output" / run / output["path"]
                data = path.read_bytes() if path.exists() else b""
                if hashlib.sha256(data).hexdigest() != output["sha256"]:
                    wrong.append(f"{output['path']} of {run} is torn")
        for place in PLACES[1:]:
            for path in (self.workspace / place).glob("*.yaml"):
                data = path.read_bytes()
                run = data.partition(b"\n")[0].removeprefix(b"# job_orchestration run: ").decode()
                frozen = self.workspace / "Output" / run / "config.yaml"
                if not run or not frozen.exists() or frozen.read_bytes() != data:
                    wrong.append(f"{place}/{path.name} is torn")
                elif run != f"runs/{path.name.partition('~')[0].removesuffix('.yaml')}":
                    wrong.append(f"{place}/{path.name} is of {run}: one token too many")
        return wrong

    def end(self) -> list[str]:
        """Have all of it done; returns what is wrong then."""
        self._command("ready")
        done = subprocess.run(
            [sys.executable, "-m", "job_orchestration", "work", "--until-idle", "--workers", "2"],
            env=self._environment, cwd=self.ram, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        places = self._places()
        wrong = [f"{name} is in {found}" for name, found in places.items() if found != ["Completed"]]
        counts = Counter((run, e["task"]) for run, e in self._events() if e["event"] == "task_finished")
        wrong += [
            f"t{n} of {name} finished {found} times"
            for name in self.dropped
            for n in range(STEPS)
            if (found := counts[f"runs/{name}", f"t{n}"]) != 1
        ]
        wrong += (
            [f"the workers ended with {done.returncode}: {done.stdout[-500:]}"] if done.returncode else []
        )
        return wrong + self._redone() + self._torn()

    def _redone(self) -> list[str]:
        finished: set[str] = set()
        wrong = []
        for line in self._notes.read_text().splitlines():
            kind, _, what = line.partition(" ")
            if kind == "finished":
                finished.add(what)
            elif what in finished:
                wrong.append(f"{what} was finished and began again")
        return wrong

    def close(self) -> None:
        """End whatever still works."""
        for pid in self._freeze():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self._processes:
            process.wait(timeout=30)
