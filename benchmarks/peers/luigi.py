"""luigi: a graph of tasks, finished when their targets exist."""

from __future__ import annotations

from benchmarks.shape import Job, Peer, Phase

FLOW = """
import luigi
from steps import OUT, step


class One(luigi.Task):
    name = luigi.Parameter()
    number = luigi.IntParameter()

    def requires(self):
        return One(self.name, self.number - 1) if self.number > 1 else []

    def output(self):
        return luigi.LocalTarget("%s/%s/%d.txt" % (OUT, self.name, self.number))

    def run(self):
        step(self.name, self.number)


luigi.build(
    [One("e%06d" % experiment, 3) for experiment in range({experiments})],
    local_scheduler=True, workers={workers}, log_level="ERROR",
)
"""


def phases(job: Job) -> list[Phase]:
    """Build its graph with the scheduler in the process."""
    job.write_steps()
    flow = str(job.write("flow.py", FLOW.format(experiments=job.experiments, workers=job.workers)))
    return [Phase("work", [[job.python, flow]])]


PEERS = (
    Peer(
        "luigi",
        phases,
        lacks="no fsync; no process of its own; a half-written target counts as done",
        packages=("luigi==3.8.1",),
    ),
)
