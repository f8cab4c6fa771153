"""dask.distributed: a scheduler and worker processes on this machine."""

from __future__ import annotations

from benchmarks.shape import Job, Peer, Phase

FLOW = """
from distributed import Client, LocalCluster, wait


def one(name, number, before):
    from steps import step
    step(name, number)
    return number


if __name__ == "__main__":
    with LocalCluster(
        n_workers={workers}, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster, Client(cluster) as client:
        futures = []
        for experiment in range({experiments}):
            name, last = "e%06d" % experiment, None
            for number in (1, 2, 3):
                last = client.submit(one, name, number, last, pure=False)
            futures.append(last)
        wait(futures)
"""


def phases(job: Job) -> list[Phase]:
    """Start a cluster here, submit all, wait."""
    job.write_steps()
    flow = str(job.write("run.py", FLOW.format(experiments=job.experiments, workers=job.workers)))
    return [Phase("work", [[job.python, flow]], {"PYTHONPATH": str(job.folder)})]


PEERS = (
    Peer(
        "dask.distributed",
        phases,
        lacks="no checkpoint: all is lost with its scheduler; no process of its own",
        packages=("distributed==2026.8.0",),
    ),
)
