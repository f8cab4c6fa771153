"""GenePlexus on its real data: many gene sets by one worker, and by as many calls of its own command."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, Row, ratio_row, size
from benchmarks.figures.full_size import full_size
from benchmarks.figures.stage import Stage, stage
from benchmarks.measuring import cost_of
from benchmarks.places import DATA

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """\
outputDir: {name}
file_loc: {data}
genesetFile: {genes}
net_type: STRING
gsc_trn: GO
figures: [png]
gsc_res: GO
tasks:
  - {{id: load, method: "job_orchestration.geneplexus.tasks:LoadGeneset"}}
  - {{id: run, method: "job_orchestration.geneplexus.tasks:RunGenePlexus"}}
  - {{id: save, method: "job_orchestration.geneplexus.tasks:SaveResults"}}
"""


def geneplexus() -> list[Row]:
    """CPU of many gene sets on the real data, and the figures of synthetic data at full size."""
    return [*_on_real_data(), *full_size()]


def _on_real_data() -> list[Row]:
    """CPU of all; empty when the data are not there: ``GENEPLEXUS_DATA`` names their folder."""
    if not (DATA / "GSC__Human__GO__STRING.json").is_file():
        print("   no GenePlexus data here: name their folder in GENEPLEXUS_DATA")
        return []
    sets = size("REAL_SETS", 50)
    with stage("disk") as here:
        files = _gene_sets(here.folder, sets)
        by_command = sum(_by_command(here, file) for file in files)
        for file in files:
            text = CONFIG.format(name=file.stem, data=DATA, genes=file)
            (here.workspace / "ConfigSources" / f"{file.stem}.yaml").write_text(text)
        here.settled()
        by_worker = here.run("ready").cpu + here.run("work", "--until-idle").cpu
        if here.count("Completed") != sets:
            raise RuntimeError(f"{here.count('Completed')} of {sets} gene sets were completed")
    what = f"GenePlexus, {sets} gene sets, 1 worker: CPU of ready and work"
    return [ratio_row(what, by_worker, by_command, "s", 0.5, f"{sets} x `geneplexus`")]


def _gene_sets(folder: Path, sets: int) -> list[Path]:
    """Genes of terms of the Gene Ontology, a file each."""
    ontology = json.loads((DATA / "GSC__Human__GO__STRING.json").read_text())
    fitting = [term for term in ontology["Term_Order"] if 30 <= len(ontology[term]["Genes"]) <= 120]
    files = []
    for number, term in enumerate(random.Random(1).sample(fitting, sets)):
        files.append(folder / f"set{number}.txt")
        files[-1].write_text("\n".join(ontology[term]["Genes"]) + "\n")
    return files


def _by_command(here: Stage, genes: Path) -> float:
    """CPU seconds of GenePlexus's own command for one gene set, with the settings that our tasks have."""
    words = [here.job.program("geneplexus"), "-i", str(genes), "-fl", str(DATA), "-n", "STRING"]
    words += ["-gt", "GO", "-gr", "GO", "-l", "CRITICAL", "-od", str(here.folder / f"{genes.stem}.out")]
    cost = cost_of([words], here.folder, here.environment)
    if cost.code:
        raise RuntimeError((here.folder / "printed").read_text()[-500:])
    return cost.cpu


FIGURES: dict[str, Figure] = {"geneplexus": geneplexus}
