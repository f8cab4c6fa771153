"""A surprise is found, explained, confirmed, located and handed on, although its repository is gone."""

from __future__ import annotations

import json
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]
    Git = Callable[..., str]

TASKS = """
import sys
from pathlib import Path

from job_orchestration import TaskBase

sys.path.insert(0, "lib")
try:
    from helper import SCALE
except ImportError:
    SCALE = 1
try:
    from untracked import OFFSET
except ImportError:
    OFFSET = 0


class Train(TaskBase):
    def run(self):
        with open(self.config["started"], "a") as file:
            file.write(f"{NUMBER}\\n")
        data = Path("data.bin")
        size = data.stat().st_size if data.exists() else 5000
        lr = self.config["lr"]
        loss = round(SCALE * lr * size / 5000 * (10 if MOVED and lr == 0.07 else 1) + OFFSET, 9)
        self.context.store.save_json("curve.json", {"loss": [loss, loss / 2]})
        return {"loss": loss}
"""
RATES = [round(0.01 * n, 2) for n in range(1, 21)]


class Project:
    """A repository that lives through a month."""

    def __init__(self, folder: Path, git: Git, kind: str) -> None:
        self.top = folder / "project"
        self.top.mkdir()
        self.started = folder / "started"
        self._git = git
        self._number = 0
        self.git("init", "--quiet", "--initial-branch=main")
        if kind == "lfs":
            self.git("lfs", "install", "--local")
            self.git("lfs", "track", "*.bin")
            (self.top / "data.bin").write_bytes(b"x" * 5000)
        if kind == "submodules":
            lib = folder / "lib"
            lib.mkdir()
            (lib / "helper.py").write_text("SCALE = 1\n")
            for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message=lib")):
                git(lib, *words)
            self.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(lib), "lib")
            shutil.rmtree(lib)

    def git(self, *words: str) -> str:
        return self._git(self.top, *words)

    def commit(self, *, moved: bool) -> str:
        (self.top / "Tasks.py").write_text(f"NUMBER, MOVED = {self._number}, {moved}\n{TASKS}")
        self._number += 1
        self.git("add", "--all")
        self.git("commit", "--quiet", f"--message=step {self._number}")
        return self.git("rev-parse", "HEAD")

    def force_push_and_prune(self, first: str) -> None:
        """Leave nothing of the later commits in the repository."""
        self.git("reset", "--quiet", "--hard", first)
        self.git("reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all")
        self.git("gc", "--quiet", "--prune=now")


def rows(cli: Cli, *words: str) -> list[dict[str, Any]]:
    return json.loads(cli("results", *words, "--json").stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "commits", "rates"),
    [
        ("plain", 32, RATES),
        ("dirty", 8, [0.01, 0.07]),
        ("submodules", 8, [0.01, 0.07]),
        pytest.param(
            *("lfs", 8, [0.01, 0.07]),
            marks=pytest.mark.skipif(
                shutil.which("git-lfs") is None, reason="Git LFS is not installed: apt-get install git-lfs"
            ),
        ),
    ],
)
def test_a_surprising_result_is_found_explained_confirmed_located_and_handed_on(
    kind: str,
    commits: int,
    rates: list[float],
    tmp_path: Path,
    workspace: Path,
    git: Git,
    cli: Cli,
    drop: Callable[..., Path],
    start: Callable[..., Any],
    eventually: Callable[..., object],
) -> None:
    project = Project(tmp_path, git, kind)

    def queue(version: str, **more: object) -> None:
        values = {"pathToTasks": str(project.top), "outputDir": version, "seed": 7, **more}
        tasks = [{"id": "train", "method": "Train"}]
        sweep = {"grid": {"lr": rates}}
        drop(version, {**values, "started": str(project.started), "tasks": tasks, "sweep": sweep})
        cli("ready")

    # three versions of the code, and the runs of each
    first = project.commit(moved=False)
    queue("v1")
    project.commit(moved=False)
    queue("v2")
    steps = [project.commit(moved=n >= commits * 5 // 8) for n in range(commits)]
    culprit = steps[commits * 5 // 8]
    if kind == "dirty":
        (project.top / "untracked.py").write_text("OFFSET = 0\n")
    queue("v3", **({"UNSAFE_ignoreDirtyCheck": True} if kind == "dirty" else {}))
    cli("work", "--until-idle")
    assert len(rows(cli)) == 3 * len(rates)
    project.started.unlink()
    project.force_push_and_prune(first)

    # found
    (surprise,) = rows(cli, "--best", "loss", "--top", "1")
    bad = surprise["run"]
    (good,) = [row["run"] for row in rows(cli, "--filter", "lr == 0.07") if row["run"].startswith("v2/")]
    assert bad.startswith("v3/")
    assert (surprise["lr"], surprise["train.loss"]) == (0.07, 0.7)

    # explained
    explained = json.loads(cli("diff", good, bad, "--json").stdout)
    assert explained["only"]["kind"] == "code"
    assert explained["results"][0]["relative"] == pytest.approx(9)

    # confirmed
    assert "identical" in cli("rerun", bad, "--verify", "--here").stdout
    project.started.unlink()

    # located, with a kill in the middle, and without the repository
    words = ("bisect", good, bad, "--metric", "loss", "--here", "--json")
    killed = start(*words)
    eventually(project.started.exists)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    shutil.rmtree(project.top)
    found = json.loads(cli(*words).stdout)
    assert found["commit"] == culprit
    assert len(found["tested"]) <= (6 if commits > 8 else 5)
    assert "+NUMBER, MOVED" in found["code"]["files"][0]["patch"]

    # handed on, and run there
    other = tmp_path / "other"
    cli("export", good, bad, "--to", "runs.zip")
    cli("init", "--workspace", str(other))
    cli("import", "runs.zip", "--workspace", str(other))
    assert "identical" in cli("rerun", bad, "--verify", "--here", "--workspace", str(other)).stdout
    again = json.loads(cli("diff", good, bad, "--json", "--workspace", str(other)).stdout)
    assert again["verdict"] == explained["verdict"]
