"""`make demo`: GenePlexus experiments from dropped YAML files to finished folders, with a kill in between.

Everything goes through the command line, as a user's would, in a folder of the demo's own; only a folder
that an earlier demo made is ever removed. Without ``GENEPLEXUS_DATA`` the data are SYNTHETIC, and it says so.

    python demo/run.py [FOLDER]
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesets import GeneSet, of_terms, planted
from git import Actor, Repo
from workers import Hunter, Killed, View, Workers, events, work_off

if TYPE_CHECKING:
    from collections.abc import Sequence

MARK = ".made_by_the_demo"
FIRST = 50
"""How many of the best new genes are looked through for those that were held out."""
REFUSED = 3
"""The exit code of a command that refused a config."""

TASKS = '''"""The tasks of the demo: those that come with job_orchestration, pinned with this repository."""

from job_orchestration.geneplexus import LoadGeneset, RunGenePlexus, SaveResults

__all__ = ["LoadGeneset", "RunGenePlexus", "SaveResults"]
'''
CONFIG = """\
# {title}: two thirds of its genes are given
pathToTasks: {project}
outputDir: "demo/{{name}}"
file_loc: {data}
genesetFile: {file}
gsc_trn: GO
gsc_res: GO
tasks:
  - {{id: load, method: LoadGeneset}}
  - {{id: run, method: RunGenePlexus}}
  - {{id: save, method: SaveResults}}
"""
BAD = """\
# wrong on purpose
pathToTasks: {project}
outputDir: "../elsewhere"
file_loc: {data}
geneset: [NOT_A_GENE]
maxAttempts: several
tasks:
  - {{id: load, method: LoadGenset}}
  - {{id: load, method: RunGenePlexus}}
"""


class Stage:
    """The folder of the demo, and what lies in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = root / "project"
        self.workspace = root / "workspace"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("GIT_")},
            "JOB_ORCHESTRATION_WORKSPACE": str(self.workspace),
        }

    def clear(self) -> None:
        """Make the folder anew.

        Raises:
            SystemExit: with a sentence, when it is not the demo's own.
        """
        if self.root.exists() and not (self.root / MARK).is_file():
            message = f"{self.root} was not made by this demo, so it is left alone. Move it, or name another."
            raise SystemExit(message)
        shutil.rmtree(self.root, ignore_errors=True)
        if self.root.exists():  # folders of snapshots are read-only
            subprocess.run(["chmod", "-R", "u+w", self.root], check=False)
            shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        (self.root / MARK).touch()

    def command(self, *words: str) -> list[str]:
        """The words of a command line."""
        return [sys.executable, "-m", "job_orchestration", *words]

    def show(self, *words: str, expected: int = 0) -> None:
        """Run a command for everybody to see."""
        print(f"$ job-orchestration {' '.join(words)}", flush=True)
        done = subprocess.run(self.command(*words), env=self.environment, cwd=self.root, check=False)
        if done.returncode != expected:
            raise SystemExit(f"It ended with exit code {done.returncode}, and not {expected}.")

    def data(self, *words: str) -> dict[str, Any]:
        """What a reading command says, as data."""
        command = self.command(*words, "--json")
        done = subprocess.run(
            command, env=self.environment, cwd=self.root, check=False, capture_output=True, text=True
        )
        if done.returncode:
            message = f"{words[0]} ended with exit code {done.returncode}: {done.stderr.strip()}"
            raise SystemExit(message)
        return dict(json.loads(done.stdout))

    def output(self, name: str) -> Path:
        """The folder of a run."""
        return self.workspace / "Output" / "demo" / name

    def commit(self, filename: str, message: str) -> None:
        """Make the project a git repository with one commit of one file, whatever its user has configured."""
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            del os.environ[name]  # a hook that calls us names its own repository
        repository = Repo.init(self.project, initial_branch="main")
        repository.index.add([filename])
        who = Actor("Demo", "demo@example.org")
        repository.index.commit(message, author=who, committer=who, skip_hooks=True)
        repository.close()


def near(path: Path) -> Path:
    """A path as it is typed here: relative when it lies below the working directory."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def heading(text: str) -> None:
    """A line that says what comes."""
    print(f"\n== {text}", flush=True)


def prepare(stage: Stage) -> tuple[Path, list[GeneSet]]:
    """Make the data or take those that are named, choose gene sets, and commit a ``Tasks.py``."""
    named = os.environ.get("GENEPLEXUS_DATA")
    heading("The data and the tasks")
    stage.clear()
    if named:
        data = Path(named).absolute()
        sets = of_terms(data, stage.root / "genesets")
        print(f"Data: {data}, which says of itself: {_said_of(data)}")
    else:
        data = stage.root / "data"
        sets = planted(data)
        print(f"SYNTHETIC data are made in {data}: genes, network and terms are made up.")
        print("To use real data: make demo GENEPLEXUS_DATA=DIR")
    stage.project.mkdir()
    (stage.project / "Tasks.py").write_text(TASKS)
    stage.commit("Tasks.py", "The tasks of the demo")
    print(f"Tasks.py is committed in {stage.project}; every run is pinned to that commit.")
    return data, sets


def _said_of(data: Path) -> str:
    try:
        said = json.loads((data / "DATA_VERSION.json").read_text())
        notes = [str(said["source"]), *(str(said[key]) for key in said if key.endswith("_note"))]
    except (OSError, ValueError, KeyError):
        return "nothing (there is no DATA_VERSION.json)"
    return "; ".join(notes)


def queue(stage: Stage, data: Path, sets: Sequence[GeneSet]) -> None:
    """Drop four configs, one of them bad, and ready them."""
    heading("Four YAML files are dropped into ConfigSources; one is wrong on purpose")
    print(f"$ export JOB_ORCHESTRATION_WORKSPACE={stage.workspace}", flush=True)
    stage.show("init")
    names = {"project": stage.project, "data": data}
    configs = {s.name: CONFIG.format(title=s.title, file=s.file, **names) for s in sets}
    for name, text in {**configs, "bad": BAD.format(**names)}.items():
        (stage.workspace / "ConfigSources" / f"{name}.yaml").write_text(text)
    print()
    stage.show("ready", expected=REFUSED)
    print("\nbad.yaml stays where it was, with bad.yaml.problems.txt beside it; the others are queued.")


def run(stage: Stage, runs: list[str]) -> None:
    """Let two workers run, kill one in the middle, and wait until all is done."""
    heading("Two workers; one of them will be killed (kill -9) in the middle of RunGenePlexus")
    command = stage.command("work", "--until-idle")
    print("$ job-orchestration work --until-idle &    (twice)", flush=True)
    with (
        (stage.root / "workers.log").open("wb") as log,
        Workers(command, stage.environment, log) as workers,
    ):
        hunter = Hunter(stage.workspace, runs, workers)
        view = View(stage.command("status", "--watch"), stage.environment)
        killed = work_off(workers, hunter, view, lambda: stage.data("status"), runs)
        if killed is None:
            raise SystemExit("No worker could be caught in the middle of a run. Run the demo again.")
        names = {e["attempt"]: workers.number(e["worker"]) for e in _claims(stage, killed.run)}
    tell_of_resume(stage, killed, names)


def _claims(stage: Stage, name: str) -> list[dict[str, Any]]:
    return [event for event in events(stage.output(name)) if event["event"] == "claimed"]


def tell_of_resume(stage: Stage, killed: Killed, workers: dict[int, int]) -> None:
    """Say, from the journal and the log of the run that was cut off, what was done again and what was not."""
    heading(f"What became of demo/{killed.run}, from its journal")
    journal = list(events(stage.output(killed.run)))
    for attempt, worker in workers.items():
        own = [event for event in journal if event["attempt"] == attempt]
        steps = [
            f"{e['task']} {e['event'][5:]}" for e in own if e["event"] in {"task_started", "task_finished"}
        ]
        end = "completed" if own[-1]["event"] == "completed" else "killed"
        print(f"  attempt {attempt}, worker {worker}: {', '.join([*steps, end])}")
    finished = {e["task"]: e["attempt"] for e in journal if e["event"] == "task_finished"}
    kept = [task for task, attempt in finished.items() if attempt < max(workers)]
    print(f"  Kept from before the kill, and not run again: {', '.join(kept) or 'nothing'}")
    log = (stage.output(killed.run) / "log.log").read_text(errors="replace").splitlines()
    for line in log:
        if "is taken from its checkpoint" in line:
            print(f"  log.log: {line.partition(']')[2].strip()}")


def results(stage: Stage, sets: Sequence[GeneSet]) -> None:
    """Print what was found, and where to look."""
    heading("Results")
    rows = [("gene set", "positives", "CV", "held-out found", "by chance", "best new genes", "nearest term")]
    synthetic = False
    for geneset in sets:
        shown = stage.data("show", f"demo/{geneset.name}")
        if shown["place"] != "completed":
            raise SystemExit(f"demo/{geneset.name} is {shown['place']}: {shown['error']}")
        headline = shown["tasks"][-1]["result"]
        synthetic |= bool(headline["synthetic_data"])
        found, chance = recovered(stage.output(geneset.name) / "save" / "df_probs.tsv", geneset)
        rows.append(
            (
                geneset.name,
                str(headline["positives"]),
                "" if headline["cv_median"] is None else f"{headline['cv_median']:.2f}",
                f"{found} of {len(geneset.held_out)}",
                f"{chance:.1f}",
                " ".join(headline["top_novel_genes"][:3]),
                (headline["top_similar_terms"] or [""])[0][:36],
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(
        f"\nCV: median of log2(auPRC/prior). Held-out genes are looked for among the best {FIRST} new ones."
    )
    if synthetic:
        print("The data are SYNTHETIC, and so are these results: they show that the machinery works.")
    print("\nTables and plots (PNG):")
    for geneset in sets:
        print(f"  {near(stage.output(geneset.name) / 'save')}/")


def recovered(table: Path, geneset: GeneSet) -> tuple[int, float]:
    """How many held-out genes are among the best new ones, and how many would be by chance."""
    with table.open(newline="") as file:
        rows = sorted(csv.DictReader(file, delimiter="\t"), key=lambda row: -float(row["Probability"]))
    new = [{row["Entrez"], row["Symbol"]} for row in rows if row["Class-Label"] != "P"]
    hits = [not names.isdisjoint(geneset.held_out) for names in new]
    return sum(hits[:FIRST]), FIRST * sum(hits) / len(hits)


def main() -> None:
    """Tell the whole story."""
    began = time.monotonic()
    default = Path(__file__).resolve().parents[1] / "demo_workspace"
    stage = Stage(Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else default)
    data, sets = prepare(stage)
    queue(stage, data, sets)
    run(stage, [geneset.name for geneset in sets])
    results(stage, sets)
    heading(f"Done in {time.monotonic() - began:.0f} s. Look around:")
    program = near(Path(sys.executable).parent / "job-orchestration")
    for words in ("status", f"show demo/{sets[0].name}", f"logs demo/{sets[0].name}"):
        print(f"  {program} --workspace {near(stage.workspace)} {words}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
