"""The release that this project grew from, after the one repair without which it does not start."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from benchmarks.peers import ours
from benchmarks.shape import Job, Peer, Phase

if TYPE_CHECKING:
    from pathlib import Path

BROKEN = "from collections import defaultdict, Callable"
WHOLE = "from collections import defaultdict\nfrom typing import Callable"
DROP = """
import sys
from job_orchestration.clientUtils import saveConfigs

repository, count, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
tasks = [{"id": str(number), "method": "Step"} for number in range(1, steps + 1)]
saveConfigs({
    "e%06d.yaml" % n: {
        "githubRepository": "https://example.org/project.git", "pathToTasks": repository,
        "outputDir": "e%06d" % n, "tasks": tasks, "modelType": "Conv", "epochs": n, "batchSize": 32,
    }
    for n in range(count)
})
"""


def repair(environment: Path) -> None:
    """Import `Callable` from where it has been since Python 3.10."""
    (utils,) = environment.glob("lib/python*/site-packages/job_orchestration/utils.py")
    utils.write_text(utils.read_text().replace(BROKEN, WHOLE))


def phases(job: Job) -> list[Phase]:
    """Drop with its own client, ready, work."""
    tasks = ours.TASKS.replace("from job_orchestration import", "from job_orchestration.TaskBase import")
    repository = ours.make_repository(job.folder / "repository", tasks)
    workspace = job.folder / "workspace"
    workspace.mkdir()
    own = {"JOB_ORCHESTRATION_WORKSPACE": str(workspace)}
    base = [job.python, "-W", "ignore", "-m", "job_orchestration"]
    drop = [job.python, "-c", DROP, str(repository), str(job.experiments), str(job.steps)]
    for words in (base, drop):
        subprocess.run(
            words,
            cwd=job.folder,
            env={**os.environ, **own},
            input=b"na\n",
            check=True,
            capture_output=True,
            timeout=120,
        )
    ready, work = [*base, "-action", "readyConfigs"], [*base, "-action", "newWorker"]
    return [Phase("submit", [ready], own, "na\n"), Phase("work", [work] * job.workers, own, "na\n")]


PEERS = (
    Peer(
        "first release (0.0.7)",
        phases,
        lacks="no fsync; no process of its own; a kill can block its runs for good",
        packages=(
            "job-orchestration==0.0.7",
            "fasteners==0.19",
            "python-dateutil==2.9.0.post0",
            "importlib-metadata==7.2.1",
            "PyYAML",
            "GitPython",
        ),
        repair=repair,
        out="workspace/Output",
    ),
)
