"""Other shapes of work: one config with very many tasks, and two workers beside each other."""

from __future__ import annotations

from statistics import median

from benchmarks.figures import Figure, Row, ratio_row, size
from benchmarks.figures.stage import stage
from benchmarks.measuring import measure
from benchmarks.peers import everybody

ROUNDS, MORE_ROUNDS = 3, 7
"""A task's own cost is a small difference of large numbers, and takes more of them."""


def _work(experiments: int, steps: int, number: int) -> float:
    """CPU milliseconds of the work alone."""
    one = measure(everybody()["job_orchestration"], "tmpfs", experiments, 1, number, limit=600, steps=steps)
    if one.trouble:
        raise RuntimeError(one.trouble)
    return one.phases["work"].cpu * 1000


def long_config() -> list[Row]:
    """A task of a config with 1,000, against one of configs with 10; what a run costs besides is left out."""
    many = size("TASKS", 1000)
    short, long = [], []
    for number in range(MORE_ROUNDS):
        most, few = (_work(1, steps, number) for steps in (many, 10))
        long.append((most - few) / (many - 10))
        runs = many // 4
        most, few = (_work(runs, steps, number) for steps in (20, 10))
        short.append((most - few) / (runs * 10))
    what = f"one config with {many:,} tasks: CPU a task"
    return [ratio_row(what, median(long), median(short), "ms", 1.1, "configs with 10 tasks")]


def two_workers() -> list[Row]:
    """How much more two workers get done than one, when a task takes 50 ms."""
    runs = size("RUNS", 60)
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(ROUNDS):
        for workers, found in rates.items():
            with stage() as here:
                for number in range(runs):
                    here.drop(f"r{number}", steps=3, seconds=0.05)
                here.settled()
                here.run("ready")
                here.run("work", "--until-idle", "--workers", str(workers))
                began = min(when for stamps in here.stamps("began").values() for when in stamps)
                ended = max(when for stamps in here.stamps("ended").values() for when in stamps)
                found.append(runs * 3 / (ended - began) * 1e9)
    one, two = median(rates[1]), median(rates[2])
    what = "throughput of 2 workers, tasks of 50 ms, first start to last end"
    return [
        Row(
            what,
            f"{two:.1f} tasks/s",
            f"{one:.1f} tasks/s (1 worker)",
            "≥ 1.9 x",
            two / one,
            two / one >= 1.9,
        )
    ]


FIGURES: dict[str, Figure] = {"long_config": long_config, "two_workers": two_workers}
