"""submitit with its local executor: a pickled call per experiment, a process for each."""

from __future__ import annotations

from benchmarks.shape import Job, Peer, Phase

FLOW = """
import submitit
from steps import step


def experiment(name):
    for number in (1, 2, 3):
        step(name, number)


if __name__ == "__main__":
    executor = submitit.LocalExecutor(folder="logs")
    executor.update_parameters(timeout_min=60)
    waiting = ["e%06d" % number for number in range({experiments})]
    running = []
    while waiting or running:
        while waiting and len(running) < {workers}:
            running.append(executor.submit(experiment, waiting.pop(0)))
        running.pop(0).result()
"""


def phases(job: Job) -> list[Phase]:
    """Submit as many at a time as there are workers: its local executor has no queue."""
    job.write_steps()
    flow = str(job.write("flow.py", FLOW.format(experiments=job.experiments, workers=job.workers)))
    return [Phase("work", [[job.python, flow]], {"PYTHONPATH": str(job.folder)})]


PEERS = (
    Peer(
        "submitit, local",
        phases,
        process="run",
        lacks="no fsync; no checkpoint between the steps of a run; no queue",
        packages=("submitit==1.5.4",),
        most=1000,
    ),
)
