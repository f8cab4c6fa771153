"""huey: a task queue in SQLite."""

from __future__ import annotations

from benchmarks.shape import Job, Peer, Phase

APP = """
from huey import SqliteHuey
from steps import step

huey = SqliteHuey(filename={filename!r}, fsync={durable})


@huey.task()
def one(name, number, *_):
    step(name, number)
    return number + 1
"""
SUBMIT = """
from app import huey, one

for experiment in range({experiments}):
    name = "e%06d" % experiment
    huey.enqueue(one.s(name, 1).then(one, name, 2).then(one, name, 3))
"""


def peer(name: str, lacks: str, *, durable: bool) -> Peer:
    """huey as it comes, or with its option that syncs."""

    def phases(job: Job) -> list[Phase]:
        job.write_steps()
        job.write("app.py", APP.format(filename=str(job.folder / "huey.db"), durable=durable))
        submit = str(job.write("submit.py", SUBMIT.format(experiments=job.experiments)))
        own = {"PYTHONPATH": str(job.folder)}
        consumer = [job.program("huey_consumer"), "app.huey", "-k", "process", "-w", str(job.workers), "-q"]
        return [
            Phase("submit", [[job.python, submit]], own),
            Phase("work", [[job.python, *consumer]], own, stays=True),
        ]

    return Peer(name, phases, durable=durable, lacks=lacks, packages=("huey==3.5.4",))


PEERS = (
    peer("huey", "no fsync; no process of its own; a step in flight is lost by a kill", durable=False),
    peer("huey, fsync", "no process of its own; a step in flight is lost by a kill", durable=True),
)
