"""The demo's workers: started, watched, and one of them killed in the middle of a run.

The kill is not staged: no task sleeps for it. A thread waits for the first checkpoint that `RunGenePlexus`
makes for itself, finds in the name of the run's token which worker holds it, and sends SIGKILL at once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LIMIT = 900.0
"""Seconds after which the demo gives up; it needs less than a minute with its own data."""
_LOOK = 0.4
"""Seconds between two looks at the workspace."""
_HUNT = 0.001
_LAST_LOOK = 1.5
"""Seconds after which the live view has looked once more."""
_WIDTH = 12


class Killed(NamedTuple):
    """Who was killed, and in what."""

    run: str
    worker: int
    """Which of the demo's workers it was, from 1."""
    inside: bool
    """Whether it was in the middle of `RunGenePlexus`; otherwise it had gone on to the next task."""


class Workers:
    """Workers of one workspace. Whatever happens, none of them outlives the demo."""

    def __init__(self, command: list[str], environment: dict[str, str], log: IO[bytes]) -> None:
        self._command = command
        self._environment = environment
        self._log = log
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
            process.wait()

    def start(self) -> int:
        """Start one more; returns its number."""
        process = subprocess.Popen(
            self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        self.processes.append(process)
        return len(self.processes)

    def number(self, name: str | None) -> int:
        """Which of them a worker's name means (it holds the pid); 0 for none."""
        pid = (name or "").split(".")[-2:-1]
        pids = [str(process.pid) for process in self.processes]
        return pids.index(pid[0]) + 1 if pid and pid[0] in pids else 0

    @property
    def living(self) -> int:
        """How many still run."""
        return sum(process.poll() is None for process in self.processes)


class Hunter(threading.Thread):
    """Kills the worker of the first run that is seen in the middle of its task ``run``."""

    def __init__(self, workspace: Path, runs: list[str], workers: Workers) -> None:
        super().__init__(daemon=True)
        self._workspace = workspace
        self._runs = runs
        self._workers = workers
        self.killed: Killed | None = None
        self.over = False

    def run(self) -> None:
        """Hunt until there was a kill in the middle, or no run is left."""
        left = list(self._runs)
        while left and not self.over:
            for name in left:
                if (self._output(name) / ".resume/run/geneplexus.checkpoint").exists():
                    left.remove(name)
                    self._kill(name)
                    break
            if self.killed is not None and self.killed.inside:
                return
            time.sleep(_HUNT)

    def _kill(self, name: str) -> None:
        holders = [p.stem.rpartition("~")[2] for p in (self._workspace / "Running").glob(f"{name}~g*.yaml")]
        number = self._workers.number(holders[0]) if holders else 0
        if not number:
            return
        process = self._workers.processes[number - 1]
        process.kill()
        process.wait()
        inside = not any(
            e["event"] == "task_finished" and e["task"] == "run" for e in events(self._output(name))
        )
        self.killed = Killed(name, number, inside)

    def _output(self, name: str) -> Path:
        return self._workspace / "Output" / "demo" / name


def events(folder: Path) -> Iterator[dict[str, Any]]:
    """What the journal of a run says, each event with the number of its file as ``attempt``."""
    for file in sorted((folder / "journal").glob("*.jsonl")):
        for line in file.read_bytes().split(b"\n"):
            try:
                event = json.loads(line)
            except ValueError:  # the end of a file that was cut off by a kill, or nothing
                continue
            yield {**event, "attempt": int(file.stem)}


class View:
    """What is shown while the workers work: on a terminal the live view, elsewhere lines that have changed.

    The live view is `status --watch` in a process of its own, which ends for every word that is said.
    """

    def __init__(self, watch: list[str], environment: dict[str, str]) -> None:
        self._watch = watch
        self._environment = environment
        self._live = sys.stdout.isatty()
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: list[str] = []

    def show(self, lines: list[str]) -> None:
        """Show the present; where there is no live view, by these lines."""
        if self._live:
            if self._process is None:
                self._process = subprocess.Popen(self._watch, env=self._environment)
        elif lines != self._lines:
            print("\n".join(line for line in lines if line not in self._lines), flush=True)
        self._lines = lines

    def say(self, text: str) -> None:
        """Print something that stays."""
        self.end()
        self._lines = []
        print(text, flush=True)

    def end(self) -> None:
        """End the live view; its last frame stays."""
        if self._process is not None:
            time.sleep(_LAST_LOOK)
            self._process.terminate()
            self._process.wait()
            self._process = None


def work_off(
    workers: Workers, hunter: Hunter, view: View, look: Callable[[], dict[str, Any]], runs: list[str]
) -> Killed | None:
    """Show how two workers work until nothing is left; a third takes the place of one that was killed."""
    last, deadline = None, time.monotonic() + LIMIT
    workers.start()
    workers.start()
    hunter.start()
    try:
        while workers.living:
            if time.monotonic() > deadline:
                message = f"The runs did not end within {LIMIT:.0f} s. Look into workers.log."
                raise SystemExit(message)
            view.show(_lines(look(), workers, runs))
            if hunter.killed is not last:
                last = hunter.killed
                assert last is not None
                where = "in the middle of" if last.inside else "just after"
                view.say(
                    f"  ** kill -9: worker {last.worker} is dead, {where} RunGenePlexus of demo/{last.run}"
                )
                view.say(f"  ** worker {workers.start()} is started in its place")
            time.sleep(_LOOK)
        view.show(_lines(look(), workers, runs))
    finally:
        view.end()
        hunter.over = True
        hunter.join()
    return hunter.killed


def _lines(status: dict[str, Any], workers: Workers, runs: list[str]) -> list[str]:
    entries = {entry["config"]: entry for entry in status["runs"]}
    return [_line(entries[run], workers) for run in runs if run in entries]


def _line(entry: dict[str, Any], workers: Workers) -> str:
    count = entry["task_count"] or 0
    done = count if entry["task_index"] is None else entry["task_index"]
    part = entry["progress"] or 0.0
    filled = round(_WIDTH * (done + part) / count) if count else 0
    bar = "#" * filled + "." * (_WIDTH - filled)
    holder = workers.number(entry["held_by"])
    who = f"worker {holder}, try {entry['try'] or 1} of {entry['max_tries']}" if holder else ""
    place, task = entry["place"].replace("_", " "), entry["task"] or ""
    return f"  {entry['run']:<18} [{bar}] {done}/{count} {task:<5} {place:<12} {who}".rstrip()
