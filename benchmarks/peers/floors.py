"""The floors: what a loop costs that does the work and nothing else, and what each promise adds to it."""

from __future__ import annotations

from benchmarks.shape import Job, Peer, Phase

LOOP = """
import os
import sys
sys.path.insert(0, {folder!r})
from steps import step
{before}
for number in range(int(sys.argv[1]), {experiments}, int(sys.argv[2])):
    name = "e%06d" % number
{loop}
"""
BARE = """
    for number in range(1, {steps} + 1):
        step(name, number)
"""
OPEN = """
import json
journal = os.open("journal" + sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def note(event, name, number=None):
    line = {"event": event, "at": "2026-01-01T00:00:00.000000+00:00", "run": name, "task": number}
    os.write(journal, json.dumps(line).encode() + b"\\n")
    os.fdatasync(journal)
"""
JOURNAL = """
    for number in range(1, {steps} + 1):
        step(name, number)
        note("task_finished", name, number)
    note("completed", name)
"""
IMPORTS = """
import yaml
from job_orchestration.executor import fork_server, task_runner
"""
FORK = """
    child = os.fork()
    if child == 0:
        for number in range(1, {steps} + 1):
            step(name, number)
            note("task_finished", name, number)
        os._exit(0)
    os.waitpid(child, 0)
    note("completed", name)
"""
REPLACE = """
    for number in range(1, {steps} + 1):
        step(name, number)
        with open("status.tmp" + sys.argv[1], "w") as file:
            file.write('{{"done": %d}}' % number)
            file.flush()
            os.fsync(file.fileno())
        os.rename("status.tmp" + sys.argv[1], "out/" + name + ".json")
"""


def floor(name: str, before: str, loop: str, *, lacks: str, process: str = "no", ours: bool = False) -> Peer:
    """A floor made of a loop and what comes before it."""

    def phases(job: Job) -> list[Phase]:
        job.write_steps()
        body = loop.format(steps=job.steps)
        text = LOOP.format(folder=str(job.folder), experiments=job.experiments, before=before, loop=body)
        script = str(job.write("floor.py", text))
        commands = [[job.python, script, str(part), str(job.workers)] for part in range(job.workers)]
        return [Phase("work", commands)]

    durable = name != "bare loop"
    return Peer(name, phases, process=process, durable=durable, lacks=lacks, ours=ours, floor=True)


PEERS = (
    floor("bare loop", "", BARE, lacks="everything else"),
    floor("loop + journal", OPEN, JOURNAL, lacks="no queue, no claim, no resume"),
    floor("loop + journal + fork", IMPORTS + OPEN, FORK, lacks="the same", process="run", ours=True),
    floor("loop + replaced file", "", REPLACE, lacks="no queue, no claim, no resume"),
)
