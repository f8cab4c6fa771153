"""Prefect: flows of tasks, reported to a server that it starts itself."""

from __future__ import annotations

from benchmarks.shape import Job, Peer, Phase

FLOW = """
from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner
from steps import step


@task
def one(name, number, before=None):
    step(name, number)
    return number


@flow(task_runner=ThreadPoolTaskRunner(max_workers={workers}))
def everything():
    found = []
    for experiment in range({experiments}):
        name, last = "e%06d" % experiment, None
        for number in (1, 2, 3):
            last = one.submit(name, number, last)
        found.append(last)
    for last in found:
        last.result()


if __name__ == "__main__":
    everything()
"""


def phases(job: Job) -> list[Phase]:
    """One flow with all steps."""
    job.write_steps()
    flow = str(job.write("flow.py", FLOW.format(experiments=job.experiments, workers=job.workers)))
    own = {
        "HOME": str(job.folder),
        "PREFECT_HOME": str(job.folder / "prefect"),
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": str(job.folder),
    }
    return [Phase("work", [[job.python, flow]], own)]


PEERS = (
    Peer(
        "prefect",
        phases,
        lacks="no fsync; no process of its own; no going on after a kill",
        packages=("prefect==3.8.8", "fastapi==0.139.*"),
        most=100,
    ),
)
