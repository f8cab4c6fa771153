"""Libraries that start processes or write at exit, in tasks: they end with their task, as in a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.harness import Sandbox
from tests.integration.test_process_end import seconds_of

pytest.importorskip("sklearn")
pytestmark = pytest.mark.slow

TASKS = r"""
    import os
    import time

    import joblib
    import numpy
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    from job_orchestration import TaskBase


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config


    class Scores(Base):
        def run(self):
            model = LogisticRegression(max_iter=1000)
            return len(cross_val_score(model, *load_iris(return_X_y=True), n_jobs=2, cv=4))


    class Memmaps(Base):
        def run(self):
            array = numpy.ones(300_000)  # large enough for a shared file
            found = joblib.Parallel(n_jobs=2, max_nbytes=1000)(
                joblib.delayed(where)(array, n) for n in range(4)
            )
            return [int(sum(total for total, _ in found)), found[0][1]]


    def where(array, number):
        return array.sum(), getattr(array, "filename", None) and str(array.filename)


    class Plots(Base):
        def run(self):
            import matplotlib

            matplotlib.use("Agg")
            from matplotlib import pyplot

            pyplot.plot([1, 2])
            pyplot.savefig(os.path.join(self.config["outputDir"], "plot.png"))


    class Bars(Base):
        def run(self):
            from tqdm import tqdm

            self.bar = tqdm(range(3), desc="bar")
            for _ in self.bar:
                break
            tables.append(self.bar)


    class Frames(Base):
        def run(self):
            import pandas

            tables.append(open(os.path.join(self.config["outputDir"], "table.csv"), "w"))
            pandas.DataFrame({"x": [1, 2]}).to_csv(tables[-1], index=False)


    tables = []
"""


RUNS = {
    "scores": (("Scores", "Scores"), "fork"),
    "memmaps": (("Memmaps",), "fork"),
    "spawned": (("Scores", "Memmaps"), "spawn"),
    "written": (("Plots", "Bars", "Frames"), "fork"),
}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """One worker has run them."""
    sandbox = Sandbox(tmp_path_factory.mktemp("libraries"), TASKS)
    for name, (methods, isolation) in RUNS.items():
        tasks = [{"id": f"{method.lower()}{n}", "method": method} for n, method in enumerate(methods)]
        sandbox.drop(name, tasks=tasks, isolation=isolation, graceTime=250)
    report = sandbox.ready()
    assert not report.refused, report.refused
    worker = sandbox.start("--until-idle")
    said, _ = worker.communicate(
        timeout=500
    )  # joblib's workers import everything anew: long on a busy machine
    assert worker.returncode == 0, said
    yield sandbox
    sandbox.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("run", ["scores", "memmaps", "spawned"])
def test_idle_workers_of_joblib_end_with_the_run(sandbox, run):
    results = sandbox.results(run)
    assert all(r == 4 for task, r in results.items() if task.startswith("scores"))
    assert all(r[0] == 1_200_000 for task, r in results.items() if task.startswith("memmaps"))
    assert seconds_of(sandbox, run) < 240, "it did not wait for them to be idle for 300 s"
    assert "did not end" not in sandbox.log(run)


@pytest.mark.parametrize("run", ["memmaps", "spawned"])
def test_the_files_that_joblib_shares_are_removed(sandbox, run):
    (path,) = (r[1] for task, r in sandbox.results(run).items() if task.startswith("memmaps"))
    assert path, "an array was shared by a file"
    assert not Path(path).exists()
    assert not Path(path).parent.exists()


def test_plots_bars_and_tables_are_written(sandbox):
    folder = sandbox.output("written")
    assert (folder / "plot.png").stat().st_size > 1000
    assert (folder / "table.csv").read_text() == "x\n1\n2\n"
    assert "bar" in sandbox.log("written")
