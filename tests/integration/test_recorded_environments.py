"""With `rerun --env recorded` tasks run with the packages of their original, from one environment."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from job_orchestration.workspace.layout import VARIABLE
from tests.conftest import LIMIT, ROOT
from tests.integration.wheelhouse import pack_installed, write_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

TASKS = """
import sys

import small
from job_orchestration import TaskBase


class Use(TaskBase):
    def __init__(self, config):
        self.config = config

    def run(self):
        import multiprocessing
        import yaml
        if "many" in self.context.run:
            return {"small": small.VERSION}
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            far = pool.map(small.version, [1])
        return {"small": small.VERSION, "far": far, "yaml": yaml.__version__, "prefix": sys.prefix}
"""
MANY = 97
"""Runs, besides the three that each test has: a hundred in all."""
NEEDED = (
    "PyYAML",
    "psutil",
    "watchdog",
    "rich",
    "GitPython",
    "gitdb",
    "smmap",
    "pygments",
    "markdown-it-py",
    "mdurl",
)
SMALL = "VERSION = {!r}\n\ndef version(_):\n    return VERSION\n"


class Lab:
    """A virtual environment with few packages, among them a small one whose version is changed."""

    def __init__(self, folder: Path, git: Callable[..., str]) -> None:
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        self.workspace = folder / "workspace"
        self._venv = folder / "lab"
        names = [name for name in NEEDED if _is_installed(name)]
        for name in names:
            pack_installed(self.wheels, name)
        for version in ("1.0", "2.0"):
            write_wheel(self.wheels, "small", version, SMALL.format(version))
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self._venv], check=True, timeout=LIMIT)
        (self._packages,) = (self._venv / "lib").glob("python*/site-packages")
        for wheel in self.wheels.glob("*.whl"):
            if not wheel.name.startswith("small"):
                zipfile.ZipFile(wheel).extractall(self._packages)
        self.install("1.0")
        self.project = project = folder / "project"
        project.mkdir()
        (project / "Tasks.py").write_text(TASKS)
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "tasks"]):
            git(project, *words)
        self.cli("init")
        for name in ("a", "b", "c"):
            self.drop(name, project)
        self.cli("ready")
        self.cli("work", "--until-idle")

    def drop(self, name: str, project: Path) -> None:
        text = (
            f"pathToTasks: {project}\noutputDir: {name}\ntasks: [{{id: use, method: Use}}]\nmaxAttempts: 1\n"
        )
        (self.workspace / "ConfigSources" / f"{name}.yaml").write_text(text)

    def install(self, version: str) -> None:
        for path in self._packages.glob("small*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        zipfile.ZipFile(self.wheels / f"small-{version}-py3-none-any.whl").extractall(self._packages)

    def command(self, *words: str) -> tuple[list[str], dict[str, str]]:
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("UV_")},
            VARIABLE: str(self.workspace),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "UV_NO_INDEX": "1",
            "UV_OFFLINE": "1",
            "UV_FIND_LINKS": str(self.wheels),
        }
        return [str(self._venv / "bin/python"), "-m", "job_orchestration", *words], environment

    def cli(self, *words: str, check: int = 0) -> subprocess.CompletedProcess[str]:
        command, environment = self.command(*words)
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT
        )
        assert done.returncode == check, (done.returncode, done.stdout, done.stderr)
        return done

    def used(self, run: str) -> Any:
        return json.loads(self.cli("show", run, "--json").stdout)["tasks"][0]["result"]


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


@pytest.fixture
def lab(tmp_path: Path, git: Callable[..., str]) -> Lab:
    return Lab(tmp_path, git)


def test_tasks_run_with_the_recorded_packages_from_one_environment(lab: Lab) -> None:
    assert lab.used("a")["small"] == "1.0"
    for number in range(MANY):
        lab.drop(f"many{number}", lab.project)
    lab.cli("ready")
    lab.cli("work", "--until-idle")
    lab.install("2.0")
    said = lab.cli("rerun", "a", "--here").stdout
    assert "package small 1.0 → 2.0" in said
    assert lab.used("a-rerun")["small"] == "2.0"
    said = lab.cli("rerun", "a", "--env", "recorded", "--here", "--strict")
    assert "Making an environment of" in said.stderr
    found = lab.used("a-rerun-2")
    assert (found["small"], found["far"]) == ("1.0", ["1.0"])
    (made,) = (lab.workspace / "Misc/envs").iterdir()
    assert found["prefix"] == str(made)
    shown = json.loads(lab.cli("show", "a-rerun-2", "--json").stdout)["provenance"]
    assert shown["packages"]["small"] == "1.0"
    shutil.rmtree(lab.wheels)  # from here on nothing could be installed
    said = lab.cli("rerun", "many*", "--env", "recorded")
    assert "Making" not in said.stderr
    lab.cli("work", "--until-idle")
    runs = [row for row in json.loads(lab.cli("results", "many*", "--json").stdout) if "rerun" in row["run"]]
    assert [row["use.small"] for row in runs] == ["1.0"] * MANY
    assert [path.name for path in (lab.workspace / "Misc/envs").iterdir()] == [made.name]
    gone = json.loads(lab.cli("gc", "--yes", "--json").stdout)
    assert f"Misc/envs/{made.name}" in json.dumps(gone)
    assert not made.exists()


def test_packages_that_cannot_be_found_are_named(lab: Lab) -> None:
    (lab.wheels / "small-1.0-py3-none-any.whl").unlink()
    said = lab.cli("rerun", "a", "--env", "recorded", check=3).stdout
    assert "The recorded packages cannot be installed" in said
    assert "small==1.0" in said
    assert not (lab.workspace / "Output/a-rerun").exists()
    assert not list((lab.workspace / "Misc/envs").iterdir())


def test_a_kill_leaves_no_environment_that_is_used(lab: Lab, eventually: Callable[..., object]) -> None:
    command, environment = lab.command("rerun", "a", "--env", "recorded")
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    eventually(lambda: list((lab.workspace / "Misc").glob(".making-*/env/lib")))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list((lab.workspace / "Misc/envs").iterdir())
    lab.cli("rerun", "a", "--env", "recorded", "--here")
    assert lab.used("a-rerun")["small"] == "1.0"


def test_two_workers_make_an_environment_once(lab: Lab) -> None:
    lab.cli("rerun", "a", "b", "--env", "recorded")
    shutil.rmtree(next((lab.workspace / "Misc/envs").iterdir()))
    command, environment = lab.command("work", "--until-idle")
    workers = [
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = "".join(worker.communicate(timeout=LIMIT)[1] for worker in workers)
    assert said.count("Making an environment of") == 1
    assert [lab.used(run)["small"] for run in ("a-rerun", "b-rerun")] == ["1.0", "1.0"]
