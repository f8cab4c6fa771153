"""doit: a build tool with Python actions."""

from __future__ import annotations

from benchmarks.shape import Job, Peer, Phase

DODO = """
from doit.tools import run_once
from steps import OUT, step

DOIT_CONFIG = {{"reporter": "error-only", "verbosity": 0}}


def task_step():
    for experiment in range({experiments}):
        name = "e%06d" % experiment
        for number in (1, 2, 3):
            yield {{
                "name": "%s.%d" % (name, number),
                "actions": [(step, [name, number])],
                "task_dep": ["step:%s.%d" % (name, number - 1)] if number > 1 else [],
                "targets": ["%s/%s/%d.txt" % (OUT, name, number)],
                "uptodate": [run_once],
            }}
"""


def phases(job: Job) -> list[Phase]:
    """Run its graph."""
    job.write_steps()
    job.write("dodo.py", DODO.format(experiments=job.experiments))
    parallel = ["-n", str(job.workers)] if job.workers > 1 else []
    return [Phase("work", [[job.program("doit"), "run", *parallel]])]


PEERS = (
    Peer(
        "doit",
        phases,
        lacks="no fsync; no process of its own; writes its state only at the end of all",
        packages=("doit==0.37.0",),
    ),
)
