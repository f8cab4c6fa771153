"""jug: tasks as Python functions, workers that share a folder."""

from __future__ import annotations

from benchmarks.shape import Job, Peer, Phase

FILE = """
from jug import TaskGenerator
import steps


@TaskGenerator
def one(name, number, before):
    steps.step(name, number)
    return number


for experiment in range({experiments}):
    name = "e%06d" % experiment
    last = None
    for number in (1, 2, 3):
        last = one(name, number, last)
"""


def phases(job: Job) -> list[Phase]:
    """Run its workers side by side."""
    job.write_steps()
    job.write("jugfile.py", FILE.format(experiments=job.experiments))
    work = [job.program("jug"), "execute", "jugfile.py"]
    return [Phase("work", [work] * job.workers, {"PYTHONPATH": str(job.folder)})]


PEERS = (
    Peer(
        "jug",
        phases,
        durable=True,
        lacks="no process of its own; the lock of a killed worker stays",
        packages=("jug==2.7.0", "numpy"),
    ),
)
