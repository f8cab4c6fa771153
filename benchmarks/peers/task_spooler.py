"""task-spooler: a queue of commands, kept by a daemon."""

from __future__ import annotations

from benchmarks.shape import Job, Peer, Phase

SUBMIT = """
tsp=$1 python=$2 count=$3 workers=$4
"$tsp" -S "$workers"
number=0
while [ $number -lt "$count" ]; do
    "$tsp" -n "$python" -I -S alone.py "$(printf e%06d $number)"
    number=$((number + 1))
done
"""


def phases(job: Job) -> list[Phase]:
    """Hand all commands to the daemon, and wait for it."""
    job.write_steps()
    script = str(job.write("submit.sh", SUBMIT))
    own = {"TS_SOCKET": str(job.folder / "socket"), "TMPDIR": str(job.folder), "TS_MAXFINISHED": "10"}
    run = ["sh", script, job.program("tsp"), job.python, str(job.experiments), str(job.workers)]
    return [Phase("work", [run], own, stays=True)]


PEERS = (
    Peer(
        "task-spooler",
        phases,
        process="run",
        lacks="no fsync; its queue is lost with its daemon; no checkpoint between the steps of a run",
        debian=("task-spooler",),
    ),
)
