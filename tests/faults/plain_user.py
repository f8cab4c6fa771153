"""Commands by a plain user, from whom files can be kept, also where the tests run as root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from typing import TYPE_CHECKING

import pytest

from job_orchestration.config.yaml_writer import to_yaml
from job_orchestration.workspace.layout import VARIABLE
from tests.conftest import LIMIT, ROOT, TASKS
from tests.variants import PLAIN_USER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IS_ROOT = os.geteuid() == 0
USER = 65534 if IS_ROOT else os.geteuid()
PYTHONS = (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
"""Interpreters, of which the first may lie in root's home."""


class PlainUser:
    """A workspace and a repository of a plain user.

    Args:
        folder: where everything is made; all folders above it must be open to everybody.
    """

    def __init__(self, folder: Path) -> None:
        if IS_ROOT and not shutil.which("setpriv"):
            pytest.skip("setpriv is not installed")
        self.folder = folder
        folder.chmod(0o755)
        self.own(folder)
        self.prefix = PLAIN_USER if IS_ROOT else ()
        self.python = next(filter(self._can_run, PYTHONS), "")
        if not self.python:
            pytest.skip(f"a plain user may not run {os.path.realpath(sys.executable)}")
        self.workspace = folder / "workspace"
        self.run("init", "--workspace", str(self.workspace))
        self.sources = self.workspace / "ConfigSources"
        self.output = self.workspace / "Output"

    def _can_run(self, python: str) -> bool:
        """Return whether the user's programs may start an interpreter, with the packages of this one."""
        return self.call("env", python, "-c", "import psutil, yaml", check=None).returncode == 0

    def own(self, path: Path) -> Path:
        """Give a file or folder to the plain user."""
        os.chown(path, USER, -1, follow_symlinks=False)
        return path

    def others(self, path: Path, mode: int = 0o555) -> Path:
        """Make a folder in which the plain user can make nothing."""
        path.mkdir(parents=True)
        path.chmod(mode)
        return path

    def repository(self, name: str, tasks: str = TASKS) -> Path:
        """A repository with one commit."""
        folder = self.own_folder(self.folder / name)
        path = folder / "Tasks.py"
        path.write_text(textwrap.dedent(tasks))
        self.own(path)
        who = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
        for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "tasks")):
            self.call("git", "-C", str(folder), *who, *words)
        return folder

    def own_folder(self, path: Path) -> Path:
        """Make a folder of the plain user."""
        path.mkdir()
        return self.own(path)

    def drop(self, name: str, repository: Path, method: str = "Quick", **values: object) -> Path:
        """Drop a config, whole at once."""
        content = {
            "pathToTasks": str(repository),
            "outputDir": f"runs/{name}",
            "tasks": [{"id": "one", "method": method}],
            **values,
        }
        temporary = self.folder / name
        temporary.write_bytes(to_yaml(content))  # type: ignore[arg-type]  # tests drop what JSON can say
        return self.own(temporary.rename(self.sources / f"{name}.yaml"))

    def environment(self) -> dict[str, str]:
        """The environment of the plain user's programs."""
        kept = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}}
        path = os.pathsep.join(
            [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")]), sysconfig.get_path("purelib")]
        )
        more = {"HOME": str(self.folder), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        return {**kept, VARIABLE: str(self.folder / "workspace"), **more}

    def call(self, *words: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a program as the plain user, to its end."""
        done = subprocess.run(
            [*self.prefix, *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env=self.environment(),
        )
        assert check is None or done.returncode == check, (done.returncode, done.stdout, done.stderr)
        return done

    def run(self, *words: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command of ours as the plain user."""
        done = self.call(self.python, "-m", "job_orchestration", *words, check=check)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command of ours as the plain user; the caller ends it."""
        return subprocess.Popen(
            [*self.prefix, self.python, "-m", "job_orchestration", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=self.environment(),
        )

    def tokens(self) -> list[str]:
        """The configs that are queued."""
        return sorted(p.stem for p in (self.workspace / "ConfigsToRun").glob("*.yaml"))

    def problems(self) -> dict[str, str]:
        """What is written beside each refused config."""
        suffix = ".yaml.problems.txt"
        return {p.name.removesuffix(suffix): p.read_text() for p in self.sources.glob(f"*{suffix}")}


def ended(process: subprocess.Popen[str], stop: Callable[[], object] = lambda: None) -> str:
    """What a started command printed, after it has ended."""
    stop()
    try:
        printed, _ = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    assert "Traceback" not in printed, printed
    return printed
