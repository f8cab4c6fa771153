"""Files that were submitted with a run are found wherever the run lies: imported, renamed, or moved."""

from __future__ import annotations

import subprocess
import sys

import pytest

from job_orchestration import UsageError, Workspace
from tests.conftest import LIMIT

TASKS = """
    from pathlib import Path

    from job_orchestration import TaskBase


    class Count(TaskBase):
        preload_keys = ("genes",)

        @classmethod
        def preload(cls, config):
            return Path(config["genes"]).read_text().split()

        def validate(self):
            return [] if Path(self.config["genes"]).is_file() else ["genes is missing"]

        def run(self):
            own = Path(self.config["genes"]).read_text().split()
            assert own == self.context.preloaded
            if self.config.get("fails"):
                raise ValueError("no")
            return {"count": len(own)}
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.delenv("JOB_ORCHESTRATION_WORKSPACE", raising=False)
    return Workspace.create(tmp_path / "lab")


@pytest.fixture
def config(repository):
    folder = repository(TASKS)
    task = {"id": "count", "method": "Count"}
    return {"pathToTasks": folder, "outputDir": "x", "maxAttempts": 1, "tasks": [task]}


@pytest.mark.slow
def test_a_rerun_of_an_imported_run_reads_its_own_files_not_those_at_the_old_place(lab, config, tmp_path):
    run = lab.submit(config, name="day/one", inputs={"genes": ["a", "b", "c"]})
    assert lab.work()
    lab.export(run, to=tmp_path / "out")
    other = Workspace.create(tmp_path / "other")
    own = other.submit(config, name="day/one", inputs={"genes": ["d"]})
    assert other.work()
    run.path("genes.txt").unlink()  # a file of a task and its run's are links to the same content
    (run.folder / "inputs/genes.txt").write_text("another file by now")
    (imported,) = other.import_runs(tmp_path / "out")
    assert imported.name == "day/one-2"
    assert imported.config["genes"] == str(imported.folder / "inputs/genes.txt")
    again = imported.rerun()
    assert other.work()
    assert again.results["count.count"] == 3
    assert again.config["genes"] == str(again.folder / "inputs/genes.txt")
    assert own.rerun().config["genes"].endswith("/day/one-rerun/inputs/genes.txt")


@pytest.mark.slow
def test_a_workspace_that_was_moved_has_the_files_of_its_waiting_and_failed_runs(lab, config, tmp_path):
    failed = lab.submit({**config, "fails": True}, name="failed", inputs={"genes": ["a"]})
    assert not lab.work()
    lab.submit(config, name="waits", inputs={"genes": ["a", "b"]})
    lab.path.rename(tmp_path / "moved")
    moved = Workspace(tmp_path / "moved")
    moved.run(failed.name).retry(set={"fails": False})
    assert moved.work()
    assert [moved.run(name).results["count.count"] for name in ("failed", "waits")] == [1, 2]
    assert moved.run("wai*").name == "waits", "a glob that only one run fits"
    with pytest.raises(
        UsageError, match=r"may mean 2 runs: failed, waits\. Name one by its output folder\.$"
    ):
        moved.run("*")
    with pytest.raises(UsageError, match="of a list of runs"):
        moved.cancel(moved.runs())


@pytest.mark.slow
def test_an_exported_run_preloads_and_finds_its_files_without_the_package(lab, config, tmp_path):
    run = lab.submit(config, name="day/one", inputs={"genes": ["a", "b", "c"]})
    assert lab.work()
    lab.export(run, to=tmp_path / "out")
    lab.path.rename(tmp_path / "moved")
    words = [sys.executable, "-I", "-S", str(tmp_path / "out/run.py")]
    said = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert said.returncode == 0, said.stderr
    assert "Every result is the same as recorded." in said.stdout
