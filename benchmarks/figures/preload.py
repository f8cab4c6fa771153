"""Many small trainings on the same data: loaded once by `preload`, and loaded by each run."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, Row, ratio_row, size
from benchmarks.figures.stage import Stage, stage

if TYPE_CHECKING:
    from pathlib import Path

TASKS = """
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from job_orchestration import TaskBase


def read(path):
    if path.endswith(".npz"):
        return np.load(path)["features"]
    return pd.read_csv(path, sep="\\t", header=None).to_numpy()


def trained(config, features):
    chosen = np.random.default_rng(config["number"]).choice(len(features), 200, replace=False)
    labels = np.arange(200) % 2
    model = LogisticRegression(max_iter=50).fit(features[chosen], labels)
    return float(model.score(features[chosen], labels))


class Loads(TaskBase):
    def run(self):
        return trained(self.config, read(self.config["data"]))


class Preloads(TaskBase):
    preload_keys = ("data",)

    @classmethod
    def preload(cls, config):
        return read(config["data"])

    def run(self):
        return trained(self.config, self.context.preloaded)
"""
MAKE = """
import sys
import numpy as np
features = np.random.default_rng(1).random((17352, 512)).round(3)
if sys.argv[1].endswith(".npz"):
    np.savez_compressed(sys.argv[1], features=features)
else:
    np.savetxt(sys.argv[1], features, fmt="%.3f", delimiter="\\t")
"""
CONFIG = """\
outputDir: {name}
pathToTasks: {repository}
data: {data}
number: {number}
resources: {{cpus: 1}}
tasks: [{{id: train, method: {method}}}]
"""


def preload() -> list[Row]:
    """CPU of `work` for the runs that preload, beside that of the same runs that load for themselves."""
    most = size("RUNS", 200)
    return [_row("features.npz", most), _row("features.tsv", max(most // 4, 1))]


def _row(file: str, runs: int) -> Row:
    costs = {}
    with stage("disk", TASKS) as here:
        data = here.folder / file
        subprocess.run([sys.executable, "-c", MAKE, str(data)], check=True)
        for method in ("Preloads", "Loads"):
            costs[method] = _cost(here, method, data, runs)
    what = f"{runs} trainings of scikit-learn on one array of 71 MB in a {data.suffix} file: CPU of work"
    return ratio_row(what, costs["Preloads"], costs["Loads"], "s", 0.35, "each run loads it")


def _cost(here: Stage, method: str, data: Path, runs: int) -> float:
    for number in range(runs):
        name = f"{method.lower()}{number}"
        text = CONFIG.format(name=name, repository=here.repository, data=data, number=number, method=method)
        (here.workspace / "ConfigSources" / f"{name}.yaml").write_text(text)
    here.settled()
    here.run("ready")
    before = here.count("Completed")
    cost = here.run("work", "--until-idle").cpu
    if here.count("Completed") - before != runs:
        raise RuntimeError(f"{here.count('Completed') - before} of {runs} runs were completed")
    return cost


FIGURES: dict[str, Figure] = {"preload": preload}
