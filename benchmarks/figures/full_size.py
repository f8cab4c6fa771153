"""GenePlexus on synthetic data of the size of human STRING, and with ten times its edges.

``SETS=4 ROUNDS=1 LARGE=0`` make it smaller; ``LARGE`` is the number of gene sets with ten times the edges.
"""

from __future__ import annotations

import json
import os
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import full_size_data
from benchmarks.figures import Row, bound_row, ratio_row, size
from benchmarks.figures.stage import Stage, eventually, stage
from benchmarks.measuring import cost_of
from benchmarks.places import CACHE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psutil

    from benchmarks.measuring import Cost

CONFIG = """\
outputDir: {name}
file_loc: {data}
geneset: {genes}
gsc_trn: GO
gsc_res: GO
figures: {figures}
tasks:
  - {{id: load, method: "job_orchestration.geneplexus.tasks:LoadGeneset"}}
  - {{id: run, method: "job_orchestration.geneplexus.tasks:RunGenePlexus"}}
  - {{id: save, method: "job_orchestration.geneplexus.tasks:SaveResults"}}
"""
PLOTS, NONE = ["png"], list[str]()
LONGEST = 3600.0
TABLES = ("df_probs", "df_sim", "df_edge", "df_edge_sym")


def full_size() -> list[Row]:
    """CPU a gene set beside that of GenePlexus's own command, memory of two workers, and time of one run."""
    data, sets = _data(1), size("SETS", 20)
    rounds = [_round(data, sets) for _ in range(size("ROUNDS", 1))]
    rows = [
        _row(f"{sets} gene sets at full size, plots included", [r[0] for r in rounds], 0.3),
        _row(f"{sets} gene sets at full size, no plots", [r[1] for r in rounds], 0.25),
    ]
    if large := size("LARGE", 5):
        rows.append(
            _row(
                f"{large} gene sets, ten times the edges, plots included", [_round(_data(10), large)[0]], 0.12
            )
        )
    return [*rows, _memory(data), *_live(data)]


def _data(factor: int) -> Path:
    edges = factor * full_size_data.EDGES
    return full_size_data.make(CACHE / f"geneplexus_{factor}", edges=edges)


def _row(what: str, found: Sequence[tuple[float, float]], most: float) -> Row:
    ours, theirs = (median(pair[which] for pair in found) for which in (0, 1))
    what = f"GenePlexus, {what}, 1 worker: CPU a gene set, `ready` and starts included"
    return ratio_row(what, ours, theirs, "s", most, "`geneplexus`")


def _round(data: Path, sets: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """CPU a gene set: ours with plots and theirs, ours without plots and theirs; tables are compared."""
    genes = full_size_data.gene_sets(data, sets)
    with stage("disk") as here:
        half = sets // 2
        theirs = sum(_command(here, data, number, genes[number]).cpu for number in range(half))
        ours = [
            _ours(here, data, genes, name, figures) for name, figures in (("plots", PLOTS), ("none", NONE))
        ]
        theirs += sum(_command(here, data, number, genes[number]).cpu for number in range(half, sets))
        for number in range(sets):
            _compare(here, f"plots{number}", number)
    return (ours[0] / sets, theirs / sets), (ours[1] / sets, theirs / sets)


def _ours(here: Stage, data: Path, genes: Sequence[list[str]], name: str, figures: list[str]) -> float:
    before = here.count("Completed")
    for number, one in enumerate(genes):
        _drop(here, data, f"{name}{number}", one, figures)
    here.settled()
    cpu = here.run("ready").cpu + here.run("work", "--until-idle").cpu
    if here.count("Completed") != before + len(genes):
        raise RuntimeError(f"{here.count('Completed') - before} of {len(genes)} gene sets were completed")
    return cpu


def _drop(here: Stage, data: Path, name: str, genes: list[str], figures: list[str]) -> None:
    half = here.folder / "half"
    half.write_text(CONFIG.format(name=name, data=data, genes=json.dumps(genes), figures=json.dumps(figures)))
    half.rename(here.workspace / "ConfigSources" / f"{name}.yaml")


def _command(here: Stage, data: Path, number: int, genes: list[str]) -> Cost:
    """GenePlexus's own command for one gene set, with the settings that our tasks have."""
    given = here.folder / f"genes{number}.txt"
    given.write_text("\n".join(genes))
    words = [here.job.program("geneplexus"), "-i", str(given), "-fl", str(data), "-gt", "GO", "-gr", "GO"]
    words += ["-l", "CRITICAL", "-od", str(here.folder / f"made{number}")]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    cost = cost_of([words], here.folder, {**here.environment, **one_thread}, limit=LONGEST)
    if cost.code:
        raise RuntimeError((here.folder / "printed").read_text()[-500:])
    return cost


def _compare(here: Stage, run: str, number: int) -> None:
    for table in TABLES:
        ours = here.workspace / "Output" / run / "save" / f"{table}.tsv"
        theirs = here.folder / f"made{number}" / "All-Genes" / "Human-GO" / f"{table}.tsv"
        if ours.read_bytes() != theirs.read_bytes():
            raise RuntimeError(f"{table} of {run} is not that of the command")


# -- memory and time --


def _memory(data: Path) -> Row:
    """The most memory of two workers and all their processes, by shares, beside that of one."""
    peaks = [_peak(data, workers) for workers in (1, 2)]
    return ratio_row("GenePlexus at full size: PSS of 2 workers", peaks[1], peaks[0], "MiB", 1.3, "1 worker")


def _peak(data: Path, workers: int) -> float:
    sets = 3 * workers
    with stage("disk") as here:
        for number, one in enumerate(full_size_data.gene_sets(data, sets)):
            _drop(here, data, f"run{number}", one, PLOTS)
        here.settled()
        here.run("ready")
        most = 0.0
        with here.started("work", "--workers", str(workers), "--until-idle") as process:
            deadline = time.monotonic() + LONGEST
            while here.count("Completed") < sets and time.monotonic() < deadline:
                most = max(most, _pss_of(process))
                time.sleep(0.05)
    return most


def _pss_of(process: psutil.Process) -> float:
    """MiB of a process and its descendants; of shared memory each has its share."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            text = Path(f"/proc/{one.pid}/smaps_rollup").read_text()
        except OSError:
            continue  # it has ended
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total / 1024


def _live(data: Path) -> list[Row]:
    """From a drop to `Completed` on a live `up` that has the data, beside the time of the command."""
    count = size("DROPS", 10)
    genes, found, walls = full_size_data.gene_sets(data, count + 1), [], []
    with stage("disk") as here, here.started("up"):
        for number, one in enumerate(genes):
            began = time.monotonic()
            _drop(here, data, f"run{number}", one, PLOTS)
            completed = here.workspace / "Completed" / f"run{number}.yaml"
            eventually(partial(os.path.exists, completed), every=0.01)
            if number:  # the first one loads the data
                found.append(time.monotonic() - began)
                walls.append(_command(here, data, number, one).wall)
    what = f"GenePlexus at full size: drop → Completed, live `up`, warm: p50 of {count}"
    against = f"{median(walls):.3g} s (`geneplexus`)"
    return [bound_row(what, median(found), 2.5 / 6 * median(walls), "s", against)]
