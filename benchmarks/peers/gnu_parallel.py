"""GNU parallel: a command per experiment, with a log of what has ended."""

from __future__ import annotations

from benchmarks.shape import Job, Peer, Phase


def phases(job: Job) -> list[Phase]:
    """One Python, started as bare as it can be, does the three steps of an experiment."""
    job.write_steps()
    job.write("names", "\n".join(job.names) + "\n")
    one = [job.python, "-I", "-S", "alone.py", "{}"]
    run = [
        "perl",
        job.program("parallel"),
        "--will-cite",
        "-j",
        str(job.workers),
        "--joblog",
        "log",
        "-a",
        "names",
    ]
    return [Phase("work", [[*run, *one]], {"HOME": str(job.folder)})]


PEERS = (
    Peer(
        "GNU parallel",
        phases,
        process="run",
        lacks="no fsync; no checkpoint between the steps of a run",
        debian=("parallel",),
    ),
)
