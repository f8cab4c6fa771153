"""redun: a workflow as lazy Python calls, remembered in SQLite."""

from __future__ import annotations

from benchmarks.shape import Job, Peer, Phase

FLOW = """
from redun import task
import steps

redun_namespace = "bench"


@task()
def one(name: str, number: int, before=None) -> int:
    steps.step(name, number)
    return number


@task()
def main(experiments: int):
    found = []
    for experiment in range(experiments):
        name, last = "e%06d" % experiment, None
        for number in (1, 2, 3):
            last = one(name, number, last)
        found.append(last)
    return found
"""
SETTINGS = """
[backend]
db_uri = sqlite:///redun.db

[executors.default]
type = local
max_workers = {workers}
"""


def phases(job: Job) -> list[Phase]:
    """Run its main task."""
    job.write_steps()
    job.write("flow.py", FLOW)
    job.write(".redun/redun.ini", SETTINGS.format(workers=job.workers))
    run = [job.program("redun"), "run", "flow.py", "main", "--experiments", str(job.experiments)]
    return [Phase("work", [run], {"PYTHONPATH": str(job.folder)})]


PEERS = (
    Peer(
        "redun", phases, durable=True, lacks="no process of its own", packages=("redun==0.44.1",), most=1000
    ),
)
