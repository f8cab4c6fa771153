"""A storm: many runs, several workers, and blows at random; judged afterwards by what really happened.

The tasks write down, outside the workspace, that they begin, that they still run, and that they end.
`Storm.violations` has `history_checker` judge that together with the raw lines of all journals, and looks
itself for lost configs and for processes that were left behind.
"""

from __future__ import annotations

import heapq
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults import history_checker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TASKS = (
    history_checker.NOTE
    + """
import subprocess
from job_orchestration import TaskBase

class Work(TaskBase):
    def __init__(self, config):
        self.config = config

    def run(self):
        note("start", self.context, self.config["id"])
        if self.config.get("orphans"):
            subprocess.Popen(["setsid", "sleep", "1000"])
        end = time.monotonic() + self.config["seconds"]
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.02))
            note("tick", self.context, self.config["id"])
        note("end", self.context, self.config["id"])
        return {"pid": os.getpid()}
"""
)
IDS = ("one", "two", "three")
KILLS = {"one": 1.0}
"""Single members are killed, of whatever kind."""
GROUPS = {"one": 6.0, "sleeper": 1.0, "group": 1.0}
"""The same; and now and then a worker while its host sleeps, or worker, host and child at once."""
STOPS = {"stop": 5.0, "one": 1.0}
"""Members are stopped for a while, and sometimes one is killed."""


class Storm:
    """One storm, from the empty workspace to the verdict.

    Args:
        folder: where everything is made.
        runs: how many, of three tasks each.
        seconds: how long a task takes; those after the first no more than one.
        package: the folder of another `job_orchestration`, to be used instead of the installed one.
        seed: of the blows.
        orphans: one run in so many starts a program that leaves its session and never ends.
        values: more keys for each config.
    """

    def __init__(
        self,
        folder: Path,
        *,
        runs: int,
        seconds: float,
        package: Path | None = None,
        seed: int = 1,
        orphans: int = 10,
        values: Mapping[str, object] | None = None,
    ) -> None:
        self.folder = folder
        self.runs = runs
        self.seconds = seconds
        self.orphans = orphans
        self.tasks = TASKS
        self.values = {"maxAttempts": 1000, "maxInterruptions": 1000, **(values or {})}
        self.random = random.Random(seed)
        self.workspace = folder / "workspace"
        self.events = folder / "events"
        self.events.touch()
        self.kills: Counter[str] = Counter()
        """What was killed, by kind; a group counts for each of its members."""
        self.stops = 0
        self.struck_children: list[int] = []
        """Children that were killed alone."""
        self.workers: list[subprocess.Popen[bytes]] = []
        self._sleeping: list[tuple[float, int]] = []
        self.log = (folder / "workers.log").open("ab")
        self.environment = {
            **os.environ,
            "JOB_ORCHESTRATION_WORKSPACE": str(self.workspace),
            "STORM_EVENTS": str(self.events),
        }
        if package is not None:
            self.environment["PYTHONPATH"] = str(package)

    @property
    def blows(self) -> int:
        """How often somebody was killed or stopped."""
        return sum(self.kills.values()) + self.stops

    def prepare(self) -> None:
        """Make the repository and the configs, and ready them."""
        repository = self.folder / "repository"
        repository.mkdir()
        (repository / "Tasks.py").write_text(self.tasks)
        subprocess.run(["git", "init", "-q"], cwd=repository, check=True, timeout=60)
        self.commit("Tasks.py")
        self.command("init")
        later = min(self.seconds, 1)
        more = "".join(f"{key}: {value}\n" for key, value in self.values.items())
        for n in range(self.runs):
            config = textwrap.dedent(f"""\
                pathToTasks: {repository}
                outputDir: storm/{n}
                seconds: {self.seconds}
                orphans: {"true" if n % self.orphans == 0 else "false"}
                tasks:
                - {{id: one, method: Work}}
                - {{id: two, method: Work, seconds: {later}}}
                - {{id: three, method: Work, seconds: {later}}}
                """)
            (self.workspace / "ConfigSources" / f"r{n}.yaml").write_text(config + more)
        self.command("ready")

    def commit(self, name: str) -> None:
        """Commit a file of the repository."""
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        for command in (["add", name], [*who, "commit", "-qm", "work"]):
            subprocess.run(["git", *command], cwd=self.folder / "repository", check=True, timeout=60)

    def failed(self) -> int:
        """How many tokens lie in Failed."""
        return len(list((self.workspace / "Failed").glob("*.yaml")))

    def mend(self, *, kills: int, limit: float) -> int:
        """Have the failed runs continue in the newest commit until all are done, and strike all the while.

        Args:
            kills: how many retries are killed: three in the midst of the runs, then one some time after its
                start, and so on; and how many members of the workers' families.
            limit: seconds until it must be over.

        Returns:
            How many retries were killed.
        """
        deadline = time.monotonic() + limit
        retry: subprocess.Popen[bytes] | None = None
        struck, there, due = 0, self.failed(), 0.0
        while self.completed() < self.runs:
            assert time.monotonic() < deadline, f"not done in time: {self.completed()} of {self.runs} runs"
            time.sleep(0.01)
            self.replace()
            if self.blows < kills and self.random.random() < 0.02:
                self.strike()
            if retry is None or retry.poll() is not None:
                there = self.failed()
                if there:
                    command = [sys.executable, "-m", "job_orchestration", "retry", "--commit", "HEAD"]
                    retry = subprocess.Popen(
                        command, env=self.environment, cwd=self.folder, stdout=self.log, stderr=self.log
                    )
                    due = time.monotonic() + self.random.uniform(0.1, 2)
            elif struck < kills:
                is_due = time.monotonic() > due if struck % 4 == 3 else self.failed() < there
                if is_due:
                    retry.kill()
                    retry.wait()
                    struck += 1
        if retry is not None:
            retry.wait(timeout=60)
        self.end()
        return struck

    def command(self, *words: str) -> None:
        """One command of the product, to its end."""
        subprocess.run(
            [sys.executable, "-m", "job_orchestration", *words],
            env=self.environment,
            cwd=self.folder,
            check=True,
            timeout=600,
            stdout=self.log,
            stderr=self.log,
        )

    def start_worker(self) -> None:
        """One more worker."""
        command = [sys.executable, "-m", "job_orchestration", "work"]
        self.workers.append(
            subprocess.Popen(command, env=self.environment, cwd=self.folder, stdout=self.log, stderr=self.log)
        )

    # -- the weather --------------------------------------------------------------------------------------

    def rage(
        self,
        *,
        workers: int,
        blows: int,
        limit: float,
        weather: Mapping[str, float] = KILLS,
        between: float = 0.05,
    ) -> None:
        """Strike until all runs are done, and so often at least; replace the workers that were killed.

        The blows are spread over the runs, so that the storm lasts as long as the work does.

        Args:
            workers: how many there are at any time.
            blows: how many at least.
            limit: seconds until it must be over.
            weather: the kinds of blows, and how likely each is.
            between: seconds between two blows, at the least.
        """
        for _ in range(workers):
            self.start_worker()
        deadline = time.monotonic() + limit
        while (done := self.completed()) < self.runs:
            assert time.monotonic() < deadline, f"not done in time: {done} of {self.runs} runs"
            time.sleep(between)
            for _ in range(3):
                if self.blows < blows and self.blows <= blows * 1.1 * done / self.runs + workers:
                    self.strike(weather)
            self.wake()
            self.replace()
        self.end()

    def replace(self) -> None:
        """Start a worker for each that is gone."""
        for worker in [w for w in self.workers if w.poll() is not None]:
            self.workers.remove(worker)
            self.start_worker()

    def wake(self, *, all_of_them: bool = False) -> None:
        """Continue the stopped whose time has come."""
        while self._sleeping and (all_of_them or self._sleeping[0][0] <= time.monotonic()):
            _, pid = heapq.heappop(self._sleeping)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def strike(self, weather: Mapping[str, float] = KILLS) -> None:
        """Strike one family, as the weather is."""
        family = members(self.random.choice(self.workers).pid)
        kinds = [kind for kind, found in family.items() if found]
        kind = self.random.choice(kinds)
        victim = self.random.choice(family[kind])
        (blow,) = self.random.choices(list(weather), list(weather.values()))
        if blow == "one":
            self.kill(kind, victim)
            if kind == "child":
                self.struck_children.append(victim)
        elif blow == "group":
            for kind in ("worker", "host", "child"):
                for pid in family[kind]:
                    self.kill(kind, pid)
        elif blow == "sleeper":
            for pid in family["host"][-1:]:
                self.stop(pid)
            self.kill("worker", family["worker"][0])
        else:
            self.stop(victim)
            self.stops += 1

    def kill(self, kind: str, pid: int) -> None:
        """End a process, and count it."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.kills[kind] += 1

    def stop(self, pid: int) -> None:
        """Stop a process for a while; `wake` has it go on."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            heapq.heappush(self._sleeping, (time.monotonic() + self.random.uniform(0.2, 3), pid))

    def completed(self) -> int:
        """How many tokens lie in Completed."""
        return len(os.listdir(self.workspace / "Completed"))

    def end(self) -> None:
        """Stop the workers politely."""
        self.wake(all_of_them=True)
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait(timeout=60)
        self.log.close()

    # -- the verdict --------------------------------------------------------------------------------------

    def evidence(self) -> history_checker.Evidence:
        """What there is to be judged."""
        return history_checker.read(self.workspace, self.events, [f"storm/{n}" for n in range(self.runs)])

    def violations(self) -> list[str]:
        """Everything that was promised and did not hold; empty when all is well."""
        return [*self._lost(), *history_checker.violations(self.evidence(), IDS), *left_behind(self.alive)]

    def _lost(self) -> list[str]:
        found: Counter[str] = Counter()
        for folder in ("ConfigSources", "ConfigsToRun", "Running", "Completed", "Failed"):
            for path in (self.workspace / folder).glob("*.yaml"):
                found[path.name.partition("~")[0].removesuffix(".yaml")] += 1
        wanted = {f"r{n}" for n in range(self.runs)}
        wrong = [f"{name}: {found[name]} tokens" for name in wanted if found[name] != 1]
        done = {p.stem for p in (self.workspace / "Completed").glob("*.yaml")}
        return [*wrong, *(f"{name}: not in Completed" for name in wanted - done)]

    def alive(self) -> list[str]:
        """Processes that carry this workspace in their environment."""
        mark = f"JOB_ORCHESTRATION_WORKSPACE={self.workspace}".encode()
        found = []
        for name in os.listdir("/proc"):
            with suppress(OSError):
                if name.isdigit() and mark in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                    found.append(f"{name} {Path('/proc', name, 'cmdline').read_bytes()[:200]!r}")
        return found


def left_behind(alive: Callable[[], list[str]], seconds: float = 2.0) -> list[str]:
    """Who is still there after so many seconds, in sleeps: a machine that stands still sleeps not."""
    for _ in range(round(seconds / 0.02)):
        if not alive():
            return []
        time.sleep(0.02)
    return [f"left behind: {who}" for who in alive()]


def members(worker: int) -> dict[str, list[int]]:
    """The processes of a worker's family by what they are; the worker itself always counts as one."""
    servers = children(worker)
    found = [child for server in servers for child in children(server)]
    below = [pid for child in found for pid in _descendants(child)]
    return {"worker": [worker], "host": servers, "child": found, "grandchild": below}


def children(pid: int) -> list[int]:
    """The children that a process's main thread has."""
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _descendants(pid: int) -> list[int]:
    direct = children(pid)
    return [*direct, *(far for near in direct for far in _descendants(near))]
