"""snakemake: rules that make files from files."""

from __future__ import annotations

from benchmarks.shape import Job, Peer, Phase

FLOW = """
NAMES = ["e%06d" % number for number in range({experiments})]

rule all:
    input: expand("out/{{name}}/3.txt", name=NAMES)

rule one:
    output: "out/{{name}}/1.txt"
    shell: "echo done > {{output}}"

rule two:
    input: "out/{{name}}/1.txt"
    output: "out/{{name}}/2.txt"
    shell: "echo done > {{output}}"

rule three:
    input: "out/{{name}}/2.txt"
    output: "out/{{name}}/3.txt"
    shell: "echo done > {{output}}"
"""


def phases(job: Job) -> list[Phase]:
    """Make all files; a step is a shell's `echo`, which is quicker than a Python of its own."""
    job.write("Snakefile", FLOW.format(experiments=job.experiments))
    run = [job.program("snakemake"), "-j", str(job.workers), "--quiet", "all"]
    own = {"HOME": str(job.folder)}
    return [Phase("work", [run], own)]


PEERS = (
    Peer(
        "snakemake",
        phases,
        process="task",
        lacks="no fsync; after a kill its folder is locked until somebody unlocks it",
        packages=("snakemake==9.27.1",),
        most=1000,
    ),
)
