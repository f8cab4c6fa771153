"""DVC: a queue of experiments, each in a copy of the repository."""

from __future__ import annotations

import os
import subprocess

from benchmarks.peers.ours import GIT
from benchmarks.shape import Job, Peer, Phase

PIPELINE = """
stages:
  one:
    cmd: {python} -I -S one.py 1
    params: [name]
    outs: [one.txt: {{cache: false}}]
  two:
    cmd: {python} -I -S one.py 2
    deps: [one.txt]
    params: [name]
    outs: [two.txt: {{cache: false}}]
  three:
    cmd: {python} -I -S one.py 3
    deps: [two.txt]
    params: [name]
    outs: [three.txt: {{cache: false}}]
"""
ONE = """
import sys
sys.path.insert(0, {folder!r})
from steps import step
number = int(sys.argv[1])
name = [line for line in open("params.yaml") if line.startswith("name:")][0].split()[1]
step(name, number)
with open(["one", "two", "three"][number - 1] + ".txt", "w") as file:
    file.write(name + "\\n")
"""
SUBMIT = """
dvc=$1 count=$2
number=0
while [ $number -lt "$count" ]; do
    "$dvc" exp run --quiet --queue --name "x$number" -S "name=$(printf e%06d $number)" || exit 1
    number=$((number + 1))
done
"""


def phases(job: Job) -> list[Phase]:
    """Queue all experiments, then start its workers."""
    job.write_steps()
    repository = job.folder / "repository"
    own = {"HOME": str(job.folder), "DVC_NO_ANALYTICS": "1"}
    job.write("repository/dvc.yaml", PIPELINE.format(python=job.python))
    job.write("repository/one.py", ONE.format(folder=str(job.folder)))
    job.write("repository/params.yaml", "name: none\n")
    job.write("repository/.gitignore", "one.txt\ntwo.txt\nthree.txt\n")
    job.write(".gitconfig", "[user]\n name = Bench\n email = bench@example.org\n")
    dvc = job.program("dvc")
    full = {**os.environ, **own}
    for words in ([*GIT, "init", "--quiet"], [dvc, "init", "--quiet"], [*GIT, "add", "."]):
        subprocess.run(words, cwd=repository, env=full, check=True, timeout=120)
    subprocess.run(
        [*GIT, "commit", "--quiet", "-m", "flow"], cwd=repository, env=full, check=True, timeout=60
    )
    script = str(job.write("submit.sh", SUBMIT))
    inside = ["sh", "-c", 'cd repository && exec "$@"', "sh"]
    submit = [*inside, "sh", script, dvc, str(job.experiments)]
    start = [*inside, dvc, "queue", "start", "--quiet", "-j", str(job.workers)]
    return [Phase("submit", [submit], own), Phase("work", [start], own, stays=True)]


PEERS = (
    Peer(
        "DVC queue",
        phases,
        process="task",
        lacks="no fsync; no checkpoint between the steps of a run",
        packages=("dvc==3.67.1",),
        most=10,
    ),
)
