"""`export` and `import`: runs leave a workspace, run without the package, and come into another workspace."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]
    Drop = Callable[..., Path]

TASKS = """
    import json, random
    from pathlib import Path

    from job_orchestration import TaskBase
    from helpers import double


    class Load(TaskBase):
        def run(self):
            data = json.loads(Path("data.json").read_text())
            self.context.store.save_json("loaded.json", {"numbers": data})
            return {"numbers": data, "nan": float("nan")}


    class Train(TaskBase):
        def run(self):
            numbers = self.context.result_of("load")["numbers"]
            assert self.context.load_json("load", "loaded.json") == {"numbers": numbers}
            Path("notes.txt").write_text("notes")
            Path(self.config["outputDir"], "direct.txt").write_text("direct")
            return {"score": double(sum(numbers)) * self.config["factor"], "draw": random.random()}


    class Fails(TaskBase):
        def run(self):
            raise ValueError("no")
"""


@pytest.fixture
def content(repository: Callable[..., Path], git: Callable[..., str]) -> dict[str, object]:
    folder = repository(TASKS)
    (folder / "helpers.py").write_text("def double(x):\n    return 2 * x\n")
    (folder / "data.json").write_text("[1, 2, 3]\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "helpers")
    return {"pathToTasks": str(folder), "factor": 10, "maxAttempts": 1}


@pytest.fixture
def done(cli: Cli, drop: Drop, content: dict[str, object]) -> str:
    """A completed run."""
    drop("a", content, tasks=["Load", "Train"])
    cli("ready")
    cli("work", "--until-idle")
    return "runs/a"


@pytest.fixture
def other(cli: Cli, tmp_path: Path) -> Path:
    """Another workspace."""
    root = tmp_path / "other"
    cli("init", "--workspace", str(root))
    return root


def shown(cli: Cli, run: str, workspace: Path | None = None) -> dict:
    where = ["--workspace", str(workspace)] if workspace else []
    return json.loads(cli("show", run, "--json", *where).stdout)


def results(found: dict) -> dict:
    return {task["id"]: task["result"] for task in found["tasks"]}


@pytest.mark.parametrize("to", [pytest.param("out", marks=pytest.mark.slow), "out.zip"])
def test_a_run_is_exported_imported_elsewhere_and_rerun_there_after_its_repository_is_gone(
    cli: Cli, done: str, content: dict[str, object], other: Path, tmp_path: Path, to: str, workspace: Path
) -> None:
    before = shown(cli, done)
    said = cli("export", done, "--to", to).stdout
    assert said.startswith(f"{tmp_path / to}: 1 run, ")
    shutil.rmtree(str(content["pathToTasks"]))
    shutil.rmtree(workspace)
    assert cli("import", to, "--workspace", str(other)).stdout == f"{done}: imported\n"
    after = shown(cli, done, other)
    assert results(after) == results(before)
    assert after["place"] == "completed"
    assert after["commit_details"] == before["commit_details"]
    assert after["environment"]["packages"] == before["environment"]["packages"]
    assert (other / "Output" / done / "direct.txt").read_text() == "direct"
    assert (other / "Output" / done / "working_directory" / "notes.txt").read_text() == "notes"
    assert cli("doctor", "--workspace", str(other)).returncode == 0
    cli("rerun", done, "--workspace", str(other))
    cli("work", "--until-idle", "--workspace", str(other))
    again = shown(cli, f"{done}-rerun", other)
    assert results(again) == results(before)


def standalone(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the export in an interpreter that has no packages at all."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(folder / "run.py"), *words],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        cwd=folder.parent,
        env={"PATH": os.environ["PATH"], "HOME": str(folder.parent)},
    )


@pytest.mark.slow
def test_an_export_runs_by_one_command_without_the_package_and_gives_the_same_results(
    cli: Cli, done: str, tmp_path: Path
) -> None:
    cli("export", done, "--to", "out")
    folder = tmp_path / "out"
    again = standalone(folder)
    assert again.returncode == 0, again.stderr
    assert "Every result is the same as recorded." in again.stdout
    made = json.loads((folder / "again" / done / "results.json").read_text())
    assert made["load"] == {"numbers": [1, 2, 3], "nan": {"$float": "nan"}}
    assert (folder / "again" / done / "load" / "loaded.json").is_file()
    assert (folder / "again" / done / "direct.txt").is_file()
    assert standalone(folder).returncode == 1, "nothing is overwritten"
    assert standalone(folder, "--check").stdout == "All files are as they were exported.\n"
    assert (folder / "code").is_dir()
    (tasks,) = folder.glob("code/*/files/helpers.py")
    tasks.write_text("def double(x):\n    return 3 * x\n")
    changed = standalone(folder, "--to", str(tmp_path / "changed"))
    assert "train: ANOTHER RESULT" in changed.stdout
    listed = folder / "export.json"
    listed.write_text(
        listed.read_text().replace('"Load"', '"job_orchestration.geneplexus.tasks:LoadGeneset"')
    )
    own = standalone(folder, "--to", str(tmp_path / "own"))
    assert own.returncode == 1
    assert "is a task of job_orchestration itself. Install it: " in own.stderr
    assert "pyyaml==" in (folder / "requirements.txt").read_text().lower()


@pytest.mark.slow
def test_a_name_that_is_taken_gets_a_number_and_the_same_run_is_not_imported_twice(
    cli: Cli, done: str, drop: Drop, content: dict[str, object], other: Path
) -> None:
    cli("export", done, "--to", "out.zip")
    dropped = drop("a", {**content, "factor": 1}, tasks=["Load", "Train"])
    dropped.rename(other / "ConfigSources" / "a.yaml")
    cli("ready", "--workspace", str(other))
    cli("work", "--until-idle", "--workspace", str(other))
    own = shown(cli, done, other)
    assert cli("import", "out.zip", "--workspace", str(other)).stdout == f"{done}: imported as {done}-2\n"
    found = shown(cli, f"{done}-2", other)
    assert results(found) == results(shown(cli, done))
    assert found["provenance"]["imported"]["run"] == done
    assert shown(cli, done, other) == own
    said = cli("import", "out.zip", "--workspace", str(other), check=3).stdout
    assert said == f"{done} is here already, as {done}-2. There is nothing to import.\n"
    cli("rerun", f"{done}-2", "--workspace", str(other))
    cli("work", "--until-idle", "--workspace", str(other))
    assert results(shown(cli, f"{done}-2-rerun", other)) == results(found)


@pytest.mark.slow
def test_a_failed_run_is_imported_and_retried_there(
    cli: Cli, drop: Drop, content: dict[str, object], other: Path
) -> None:
    drop("f", {**content, "outputDir": "runs/f"}, tasks=["Load", "Fails"])
    cli("ready")
    cli("work", "--until-idle", check=1)
    cli("export", "f", "--to", "out.zip")
    cli("import", "out.zip", "--workspace", str(other))
    assert shown(cli, "runs/f", other)["place"] == "failed"
    cli("retry", "f", "--workspace", str(other))
    cli("work", "--until-idle", "--workspace", str(other), check=1)
    assert shown(cli, "runs/f", other)["tasks"][1]["error"] == "ValueError: no"


@pytest.mark.slow
def test_only_ended_runs_are_exported_and_nothing_is_overwritten(
    cli: Cli, done: str, drop: Drop, content: dict[str, object], tmp_path: Path, workspace: Path
) -> None:
    drop("waits", content, tasks=["Load"])
    cli("ready")
    refusal = cli("export", "waits", "--to", "x", check=2).stderr
    assert refusal.startswith("waits has not ended: it is waiting"), "with the name of the run"
    (tmp_path / "there").mkdir()
    assert "is there already" in cli("export", done, "--to", "there", check=2).stderr
    inside = str(workspace / "Misc" / "x")
    assert "lies in a folder of the workspace" in cli("export", done, "--to", inside, check=2).stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_links_and_pipes_of_a_task_are_left_out_and_named(
    cli: Cli, done: str, tmp_path: Path, workspace: Path
) -> None:
    output = workspace / "Output" / done
    (output / "passwords").symlink_to("/etc/passwd")
    os.mkfifo(output / "pipe")
    found = json.loads(cli("export", done, "--to", "out", "--json").stdout)
    assert sorted(found["left_out"]) == [f"{done}/passwords", f"{done}/pipe"]
    assert not (tmp_path / "out" / "runs" / done / "passwords").exists()


@pytest.mark.slow
def test_an_export_is_an_ro_crate_that_the_library_reads_back(cli: Cli, done: str, tmp_path: Path) -> None:
    rocrate = pytest.importorskip("rocrate.rocrate")
    cli("export", done, "--to", "out", "--ro-crate")
    crate = rocrate.ROCrate(str(tmp_path / "out"))
    assert crate.root_dataset["conformsTo"].id == "https://w3id.org/ro/wfrun/process/0.5"
    assert crate.metadata.generate()["@context"] == "https://w3id.org/ro/crate/1.1/context"
    (made,) = crate.get_by_type("CreateAction")
    assert made["name"] == f"Run {done}"
    assert made["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert {e.id for e in made["result"]} >= {f"runs/{done}/log.log", f"runs/{done}/load/loaded.json"}
    files = [e for e in crate.data_entities if e.type == "File"]
    assert all((tmp_path / "out" / e.id).is_file() for e in files)
    assert len(files) > 8
    formats = {e.id: e["encodingFormat"] for e in files}
    assert formats["README.md"] == "text/markdown"
    assert formats[f"runs/{done}/load/loaded.json"] == "application/json"
    time = r"[0-9-]{10}T[0-9:]{8}\.[0-9]{3}\+00:00"
    assert all(re.fullmatch(time, made[key]) for key in ("startTime", "endTime")), "as validators take it"


@pytest.mark.slow
def test_what_is_printed_to_be_copied_works_with_spaces_and_names_a_run_of_several(
    cli: Cli, done: str, tmp_path: Path
) -> None:
    cli("rerun", done)
    cli("work", "--until-idle")
    said = cli("export", done, f"{done}-rerun", "--to", "with a space").stdout.splitlines()[-1]
    command = said.partition("job_orchestration: python ")[2]
    assert "run.py' runs/a" in command
    again = subprocess.run(
        f"{sys.executable} {command}", shell=True, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert again.returncode == 0, again.stderr
    made = cli("init", "--workspace", "another space").stdout
    assert f"--workspace '{tmp_path / 'another space'}'" in made
    lacking = cli("status", "--workspace", str(tmp_path / "no where"), check=4).stderr
    assert f"init --workspace '{tmp_path / 'no where'}'" in lacking
