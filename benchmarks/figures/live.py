"""Workers that live: from a drop to its first task, a long queue, and going on after a kill."""

from __future__ import annotations

import random
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, Row, bound_row, size
from benchmarks.figures.stage import Stage, eventually, kill, stage

if TYPE_CHECKING:
    import psutil


def latency() -> list[Row]:
    """From the moment that a file is renamed in to the first line of its task, with a live `up`."""
    count, found = size("DROPS", 50), []
    with stage() as here, here.started("up"):
        for number in range(count + 2):
            dropped = here.drop(f"d{number}")
            eventually(partial(_ended, here, f"d{number}"))
            began = here.stamps()[f"d{number}"][0]
            if number >= 2:  # the first ones make the snapshot and start the fork server
                found.append((began - dropped) / 1e6)
            eventually(partial(_completed, here, number + 1))
            time.sleep(random.uniform(0.3, 1.5))
    found.sort()
    what = "drop → task starts, live `up`, file renamed in, snapshot warm"
    return [
        bound_row(f"{what}: p50 of {count}", found[len(found) // 2], 50, "ms"),
        bound_row(f"{what}: p95", found[int(len(found) * 0.95)], 200, "ms"),
    ]


def _ended(here: Stage, run: str) -> bool:
    return run in here.stamps("ended")


def _completed(here: Stage, runs: int) -> bool:
    return here.count("Completed") >= runs


def long_queue() -> list[Row]:
    """A worker that runs one long task while very many tokens wait."""
    waiting, seconds = size("WAITING", 100_000), size("SECONDS", 20)
    with stage() as here:
        here.drop("long", "Waits")
        here.settled()
        here.run("ready")
        _many_tokens(here, waiting)
        with here.started("work") as worker:
            eventually(lambda: "long" in here.stamps(), every=0.1)
            eventually(lambda: here.count("ConfigsToRun") == waiting, every=0.5)
            family = [
                worker,
                *worker.children(),
            ]  # the worker and its host; the task's own process is not ours
            time.sleep(2)
            before = sum(map(_cpu, family))
            time.sleep(seconds)
            used = (sum(map(_cpu, family)) - before) / seconds
            peak = _peak(worker)
            (here.folder / "gate").touch()
            kill(worker)
    what = f"worker with {waiting:,} tokens waiting"
    return [
        bound_row(f"{what}: peak memory", peak, 150, "MiB"),
        bound_row(f"{what}: CPU while a task runs, of a core", used * 100, 1, "%"),
    ]


def _many_tokens(here: Stage, count: int) -> None:
    """Copies of a token that waits, each a file of its own."""
    queue = here.workspace / "ConfigsToRun"
    data = (queue / "long.yaml").read_bytes()
    for number in range(count):
        (queue / f"w{number:06d}.yaml").write_bytes(data)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _peak(process: psutil.Process) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def resume() -> list[Row]:
    """From the start of a worker to its first task, in a workspace whose worker was killed half-way."""
    runs, found = size("RESUMED", 1000), []
    for _ in range(3):
        with stage("disk") as here:
            for number in range(runs):
                here.drop(f"r{number}", steps=3)
            here.settled()
            here.run("ready")
            with here.started("work", "--until-idle") as worker:
                eventually(partial(_completed, here, runs // 2))
                kill(worker)
            half = here.count("Completed")
            if half >= runs:
                raise RuntimeError("all runs had ended before the kill")
            started = time.time_ns()
            with here.started("work", "--until-idle") as worker:
                eventually(partial(_after, here, started))
                found.append((_after(here, started)[0] - started) / 1e9)
    what = f"resume of {runs:,} runs, half of them done, after kill -9: until the first task"
    return [bound_row(what, sorted(found)[1], 2, "s")]


def _after(here: Stage, moment: int) -> list[int]:
    return sorted(when for stamps in here.stamps().values() for when in stamps if when > moment)


FIGURES: dict[str, Figure] = {"latency": latency, "long_queue": long_queue, "resume": resume}
