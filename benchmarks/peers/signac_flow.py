"""signac-flow: operations on a folder per experiment."""

from __future__ import annotations

from benchmarks.shape import Job, Peer, Phase

PROJECT = """
from flow import FlowProject
from steps import OUT, step
import os


class Project(FlowProject):
    pass


def made(number):
    def condition(job):
        return os.path.exists("%s/%s/%d.txt" % (OUT, job.sp.name, number))
    condition.__name__ = "made_%d" % number
    return condition


@Project.post(made(1))
@Project.operation
def one(job):
    step(job.sp.name, 1)


@Project.pre(made(1))
@Project.post(made(2))
@Project.operation
def two(job):
    step(job.sp.name, 2)


@Project.pre(made(2))
@Project.post(made(3))
@Project.operation
def three(job):
    step(job.sp.name, 3)


if __name__ == "__main__":
    Project().main()
"""
SUBMIT = """
import signac

project = signac.init_project()
for experiment in range({experiments}):
    project.open_job({{"name": "e%06d" % experiment}}).init()
"""


def phases(job: Job) -> list[Phase]:
    """Make its jobs, then run all operations that are due."""
    job.write_steps()
    project = str(job.write("project.py", PROJECT))
    submit = str(job.write("submit.py", SUBMIT.format(experiments=job.experiments)))
    parallel = ["--parallel", str(job.workers)] if job.workers > 1 else []
    run = [job.python, "-W", "ignore", project, "run", *parallel]
    return [Phase("submit", [[job.python, submit]]), Phase("work", [run])]


PEERS = (
    Peer(
        "signac-flow",
        phases,
        lacks="no fsync; no process of its own; no claim: two of them do the same work",
        packages=("signac-flow==0.29.1",),
    ),
)
