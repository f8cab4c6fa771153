"""A storm: many runs, several workers, and kills at random, told afterwards by what really happened.

The tasks write down, outside the workspace and with one `write` each, that they begin, that they still run,
and that they end. `Storm.findings` compares that, and the raw lines of all journals, with what was promised;
it uses nothing of the product's own reading, so that a fold which hides a double cannot hide it here.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path

import psutil

TASKS = """
import os, subprocess, time
from job_orchestration import TaskBase

def note(*words):
    with open(os.environ["STORM_EVENTS"], "ab", buffering=0) as file:
        file.write((" ".join(map(str, words)) + "\\n").encode())

class Work(TaskBase):
    def __init__(self, config):
        self.config = config

    def run(self):
        me = f"{self.context.run} {self.config['id']} {self.context.attempt} {os.getpid()}"
        note("start", me, time.monotonic_ns())
        if self.config.get("litter"):
            subprocess.Popen(["setsid", "sleep", "1000"])
        end = time.monotonic() + self.config["seconds"]
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.02))
            note("tick", me, time.monotonic_ns())
        note("end", me, time.monotonic_ns())
        return {"pid": os.getpid()}
"""


class Storm:
    """One storm, from the empty workspace to the verdict."""

    def __init__(
        self, folder: Path, *, runs: int, seconds: float, package: Path | None = None, seed: int = 1
    ) -> None:
        self.folder = folder
        self.runs = runs
        self.seconds = seconds
        self.random = random.Random(seed)
        self.workspace = folder / "workspace"
        self.events = folder / "events"
        self.events.touch()
        self.kills: Counter[str] = Counter()
        self.workers: list[subprocess.Popen[bytes]] = []
        self.log = (folder / "workers.log").open("ab")
        self.environment = {
            **os.environ,
            "JOB_ORCHESTRATION_WORKSPACE": str(self.workspace),
            "STORM_EVENTS": str(self.events),
        }
        if package is not None:
            self.environment["PYTHONPATH"] = str(package)

    def prepare(self) -> None:
        """Make the repository and the configs, and ready them."""
        repository = self.folder / "repository"
        repository.mkdir()
        (repository / "Tasks.py").write_text(TASKS)
        commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one"]
        for command in (["init", "-q"], ["add", "."], commit):
            subprocess.run(["git", *command], cwd=repository, check=True, timeout=60)
        self.command("init")
        for n in range(self.runs):
            config = textwrap.dedent(f"""\
                pathToTasks: {repository}
                outputDir: storm/{n}
                maxAttempts: 1000
                maxInterruptions: 1000
                seconds: {self.seconds}
                litter: {"true" if n % 10 == 0 else "false"}
                tasks:
                - {{id: one, method: Work}}
                - {{id: two, method: Work}}
                - {{id: three, method: Work}}
                """)
            (self.workspace / "ConfigSources" / f"r{n}.yaml").write_text(config)
        self.command("ready")

    def command(self, *words: str) -> None:
        """One command of the product, to its end."""
        subprocess.run(
            [sys.executable, "-m", "job_orchestration", *words],
            env=self.environment,
            cwd=self.folder,
            check=True,
            timeout=300,
            stdout=self.log,
            stderr=self.log,
        )

    def start_worker(self) -> None:
        """One more worker."""
        command = [sys.executable, "-m", "job_orchestration", "work"]
        self.workers.append(
            subprocess.Popen(command, env=self.environment, cwd=self.folder, stdout=self.log, stderr=self.log)
        )

    def rage(self, *, workers: int, kills: int, limit: float) -> None:
        """Kill members of the workers' families at random until all runs are done; replace killed workers.

        The kills are spread over the runs, so that the storm lasts as long as the work does.
        """
        for _ in range(workers):
            self.start_worker()
        deadline = time.monotonic() + limit
        while (done := self.completed()) < self.runs:
            assert time.monotonic() < deadline, f"not done in time: {done} of {self.runs} runs"
            time.sleep(0.05)
            struck = sum(self.kills.values())
            if struck < kills and struck <= kills * 1.1 * done / self.runs + 2:
                self.strike()
            for n, worker in enumerate(self.workers):
                if worker.poll() is not None:
                    del self.workers[n]
                    self.start_worker()
                    break
        self.end()

    def strike(self) -> None:
        """Kill one member of one family; now and then its host sleeps through the death of the worker."""
        worker = self.random.choice(self.workers)
        family = members(worker.pid)
        kind = self.random.choice([k for k, found in family.items() if found] or ["worker"])
        found = family[kind] or [worker.pid]
        victim = self.random.choice(found)
        sleeper = None
        if kind == "worker" and family["host"] and self.random.random() < 0.5:
            sleeper = family["host"][-1]
        with suppress(ProcessLookupError):
            if sleeper is not None:
                os.kill(sleeper, signal.SIGSTOP)
            os.kill(victim, signal.SIGKILL)
            self.kills[kind] += 1
        if sleeper is not None:
            time.sleep(self.random.uniform(0.5, 1.5))
            with suppress(ProcessLookupError):
                os.kill(sleeper, signal.SIGCONT)

    def completed(self) -> int:
        """How many tokens lie in Completed."""
        return len(list((self.workspace / "Completed").iterdir()))

    def end(self) -> None:
        """Stop the workers politely."""
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait(timeout=60)
        self.log.close()

    # -- the verdict --------------------------------------------------------------------------------------

    def findings(self) -> list[str]:
        """Everything that was promised and did not hold; empty when all is well."""
        return [*self._lost(), *self._raw_journals(), *self._overlaps(), *self._left_behind()]

    def _lost(self) -> list[str]:
        found: Counter[str] = Counter()
        for folder in ("ConfigSources", "ConfigsToRun", "Running", "Completed", "Failed"):
            for path in (self.workspace / folder).glob("*.yaml"):
                found[path.name.partition("~")[0].removesuffix(".yaml")] += 1
        wanted = {f"r{n}" for n in range(self.runs)}
        wrong = [f"{name}: {found[name]} tokens" for name in wanted if found[name] != 1]
        done = {p.stem for p in (self.workspace / "Completed").glob("*.yaml")}
        return [*wrong, *(f"{name}: not in Completed" for name in wanted - done)]

    def _raw_journals(self) -> list[str]:
        wrong = []
        for n in range(self.runs):
            finished: Counter[str] = Counter()
            started_after: list[str] = []
            for path in sorted((self.workspace / "Output" / "storm" / str(n) / "journal").glob("*.jsonl")):
                for line in path.read_bytes().split(b"\n"):
                    with suppress(ValueError):
                        event = json.loads(line)
                        if event["event"] == "task_finished":
                            finished[event["task"]] += 1
                        elif event["event"] == "task_started" and finished[event["task"]]:
                            started_after.append(event["task"])
            tasks = ("one", "two", "three")
            wrong += [f"r{n}: {t} finished {finished[t]} times" for t in tasks if finished[t] != 1]
            wrong += [f"r{n}: {t} started again after it had finished" for t in started_after]
        return wrong

    def _overlaps(self) -> list[str]:
        """Executions of one run at the same time: each lasts from its first to its last sign of life."""
        seen: dict[str, dict[tuple[str, str, str], list[int]]] = defaultdict(lambda: defaultdict(list))
        for line in self.events.read_text().splitlines():
            _, run, task, attempt, pid, at = line.split()
            seen[run][task, attempt, pid].append(int(at))
        wrong = []
        for run, executions in seen.items():
            spans = sorted((min(t), max(t), who) for who, t in executions.items())
            for (_, end, first), (start, _, second) in itertools.pairwise(spans):
                if start < end:
                    wrong.append(f"{run}: {first} and {second} overlap by {(end - start) / 1e6:.1f} ms")
        return wrong

    def _left_behind(self) -> list[str]:
        """Processes of this storm that live on, two seconds after the last worker went."""
        deadline = time.monotonic() + 2
        while (left := self.alive()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return [f"left behind: {p}" for p in left]

    def alive(self) -> list[str]:
        """Processes that carry this workspace in their environment."""
        mark = f"JOB_ORCHESTRATION_WORKSPACE={self.workspace}".encode()
        found = []
        for name in os.listdir("/proc"):
            with suppress(OSError):
                if name.isdigit() and mark in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                    found.append(f"{name} {Path('/proc', name, 'cmdline').read_bytes()[:200]!r}")
        return found


def members(worker: int) -> dict[str, list[int]]:
    """The processes of a worker's family by what they are."""
    family: dict[str, list[int]] = {"worker": [worker], "host": [], "child": [], "grandchild": []}
    with suppress(psutil.Error):
        for host in psutil.Process(worker).children():
            family["host"].append(host.pid)
            for child in host.children():
                family["child"].append(child.pid)
                family["grandchild"] += [p.pid for p in child.children(recursive=True)]
    return family
