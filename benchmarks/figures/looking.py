"""What is not work: making ready, looking, and starting."""

from __future__ import annotations

import json
import shutil
import sys
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, Row, bound_row, ratio_row, size
from benchmarks.figures.stage import Stage, stage
from benchmarks.measuring import cost_of
from job_orchestration.runs import cache_maintenance

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 3
FLOOR_OF_READY = '''
"""Parse every drop, and write durably what a queued run needs; nothing is checked and nothing is pinned."""
import os
import sys
import yaml
from job_orchestration.commands import ready
from job_orchestration.workspace import durable

source, target = sys.argv[1], sys.argv[2]
queue = os.path.join(target, "queue")
os.mkdir(queue)
for name in sorted(os.listdir(source)):
    path = os.path.join(source, name)
    with open(path, "rb") as file:
        data = file.read()
    for event in yaml.parse(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        pass
    folder = os.path.join(target, name)
    os.mkdir(folder)
    os.mkdir(os.path.join(folder, "journal"))
    for made in ("config.yaml", "provenance.json", "journal/000000.jsonl", "token"):
        durable.write_new(os.path.join(folder, made), data)
    durable.sync_folder(os.path.join(folder, "journal"))
    durable.sync_folder(folder)
    os.rename(os.path.join(folder, "token"), os.path.join(queue, name))
    os.unlink(path)
durable.sync_folder(target)
durable.sync_folder(queue)
durable.sync_folder(source)
'''
COUNTING_GIT = """#!/bin/sh
echo "$@" >> {log}
exec {git} "$@"
"""


def ready() -> list[Row]:
    """Making many configs of one commit ready, over parsing them and writing durably what they need."""
    configs = size("READY", 3000)
    costs, floors, first, later = [], [], 0, 0
    for _ in range(ROUNDS):
        with stage() as here:
            for number in range(configs):
                here.drop(f"c{number}", steps=3)
            floors.append(_floor_of_ready(here))
            here.settled()
            log = here.folder / "git.log"
            counting = _counting_git(here, log)
            costs.append(here.run("ready", path=counting).cpu)
            queued = here.count("ConfigsToRun")
            if queued != configs:
                raise RuntimeError(f"{queued} of {configs} were queued")
            first = len(log.read_text().splitlines())
            log.unlink()
            for number in range(configs // 10):
                here.drop(f"d{number}", steps=3)
            here.settled()
            here.run("ready", path=counting)
            later = len(log.read_text().splitlines())
    each, floor = (median(found) / configs * 1000 for found in (costs, floors))
    whole = f"{each:.2f} ms each in all, {floor:.2f} of it the floor"
    return [
        bound_row(
            f"ready of {configs:,} configs of one commit: CPU each over parsing and the durable writes",
            each - floor,
            1,
            "ms",
            whole,
        ),
        bound_row(
            "git commands for all of them, the first of their workspace",
            first,
            5,
            "",
            f"{later} look at the work tree",
            "4 are for what is made once in a workspace, or once for a commit: they make the store, copy the"
            " commit, look for submodules in it and check it out",
        ),
        bound_row("git commands for all of them, the commit's snapshot being there", later, 5, ""),
    ]


def _floor_of_ready(here: Stage) -> float:
    copy, target = here.folder / "copy", here.folder / "opened"
    shutil.copytree(here.workspace / "ConfigSources", copy)
    target.mkdir()
    script = here.folder / "floor.py"
    script.write_text(FLOOR_OF_READY)
    words = [sys.executable, str(script), str(copy), str(target)]
    return cost_of([words], here.folder, here.environment).cpu


def _counting_git(here: Stage, log: Path) -> str:
    """A folder for PATH with a git that notes what it is called with."""
    folder = here.folder / "counting"
    folder.mkdir()
    program = folder / "git"
    program.write_text(COUNTING_GIT.format(log=log, git=shutil.which("git")))
    program.chmod(0o755)
    return str(folder)


def status() -> list[Row]:
    """`status` in a workspace with very many runs, before `ready` has seen them and after.

    Workers note what they complete; these runs were copied, so `ready` has to read them all, some at a time.
    """
    rows = []
    for runs, cold, warm in ((size("STATUS", 10_000), 2.0, 0.3), (size("STATUS_MANY", 100_000), None, 2.0)):
        with stage() as here:
            _complete(here, runs)
            without = here.run("status")
            # each `ready` summarizes at most MOST_FOLDS runs that have no summary yet
            for _ in range(1 + runs // cache_maintenance.MOST_FOLDS):
                here.run("ready")
            after = median(here.run("status").wall for _ in range(ROUNDS))
        what = f"status with {runs:,} runs"
        if cold is not None:
            rows.append(bound_row(f"{what}, no cache", without.wall, cold, "s", f"{without.rss:.0f} MiB"))
        rows.append(bound_row(f"{what}, warm cache", after, warm, "s"))
    return rows


def _complete(here: Stage, runs: int) -> None:
    """Many completed runs, made after the pattern of one that was really run."""
    here.drop("pattern", steps=3)
    here.settled()
    here.run("ready")
    here.run("work", "--until-idle")
    token = (here.workspace / "Completed" / "pattern.yaml").read_text()
    journal = here.workspace / "Output" / "pattern" / "journal"
    lines = {path.name: path.read_text() for path in journal.iterdir()}
    for number in range(runs - 1):
        name = f"r{number:06d}"
        folder = here.workspace / "Output" / name / "journal"
        folder.mkdir(parents=True)
        for file, text in lines.items():
            (folder / file).write_text(text.replace("pattern", name))
        (here.workspace / "Completed" / f"{name}.yaml").write_text(token.replace("pattern", name))
    found = json.loads(_printed(here, "status", "--json"))
    if found["counts"]["completed"] != runs:
        raise RuntimeError(f"status counts {found['counts']} and not {runs}")


def _printed(here: Stage, *words: str) -> str:
    (here.folder / "printed").unlink(missing_ok=True)
    here.run(*words)
    return (here.folder / "printed").read_text()


def start() -> list[Row]:
    """What `--help` costs, beside a Python that imports the parser of command lines and nothing else."""
    rounds, found, bare = size("STARTS", 21), [], []
    with stage() as here:
        program = [str(here.job.programs / "job-orchestration")]
        for _ in range(rounds):
            found.append(cost_of([[*program, "--help"]], here.folder, here.environment).cpu)
            words = [here.job.python, "-c", "import argparse"]
            bare.append(cost_of([words], here.folder, here.environment).cpu)
    what = "`job-orchestration --help`: CPU"
    return [
        ratio_row(what, median(found) * 1000, median(bare) * 1000, "ms", 2, 'python -c "import argparse"')
    ]


FIGURES: dict[str, Figure] = {"ready": ready, "status": status, "start": start}
