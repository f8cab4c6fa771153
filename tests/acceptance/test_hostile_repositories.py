"""A repository executes and writes nothing through the commands that look back, and none of it is changed."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]
    Git = Callable[..., str]

TASKS = """
from job_orchestration import TaskBase


class Train(TaskBase):
    def run(self):
        return {"loss": LOSS}
"""
STRANGE = "a\nb \x1b[31m'$(touch sprung)'.py"
"""A path with a line end, an escape sequence, quotes and a command."""
COMMANDS = (
    *("core.fsmonitor", "core.pager", "core.editor", "core.sshCommand", "core.askPass", "core.gitProxy"),
    *("diff.external", "diff.x.textconv", "diff.x.command", "merge.x.driver", "gpg.program", "pager.diff"),
    *("filter.x.clean", "filter.x.smudge", "filter.x.process", "uploadpack.packObjectsHook"),
    *("credential.helper", "interactive.diffFilter", "sequence.editor", "alias.log", "alias.diff"),
)
"""Settings that name a command."""


def digest_of(folder: Path) -> str:
    """A hash of everything below a folder: names, kinds, rights, times and contents."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=os.fsencode):
        status = path.lstat()
        found.update(os.fsencode(path) + f" {status.st_mode} {status.st_mtime_ns} {status.st_ino}".encode())
        if stat.S_ISLNK(status.st_mode):
            found.update(os.fsencode(path.readlink()))
        elif stat.S_ISREG(status.st_mode):
            found.update(path.read_bytes())
    return found.hexdigest()


class Project:
    """A repository that turns hostile after its runs have ended."""

    def __init__(self, folder: Path, git: Git) -> None:
        self.top = folder / "project"
        self.top.mkdir()
        self.trap = folder / "trap.sh"
        self.sprung = folder / "sprung"
        self.git: Git = lambda *words: git(self.top, *words)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "remote.origin.url", f"ext::{self.trap}")
        (self.top / ".gitattributes").write_text("* diff=x merge=x filter=x ident\n")
        (self.top / STRANGE).write_text("X = '\x1b[31m<b>'\n")

    def commit(self, loss: float) -> None:
        (self.top / "Tasks.py").write_text(f"LOSS = {loss}\n{TASKS}")
        self.git("add", "--all")
        self.git("commit", "--quiet", f"--message=\x1b[31mloss {loss}")

    def turn_hostile(self) -> None:
        """Name the trap wherever git would start a command, and leave names that look like options."""
        self.trap.write_text(f"#!/bin/sh\ntouch '{self.sprung}'\nexec cat\n")
        self.trap.chmod(0o755)
        for key in COMMANDS:
            self.git("config", key, str(self.trap))
        self.git("config", "remote.origin.uploadpack", str(self.trap))
        hooks = self.top / ".git" / "hooks"
        hooks.mkdir(exist_ok=True)
        for name in (
            "post-checkout",
            "pre-commit",
            "reference-transaction",
            "post-index-change",
            "fsmonitor",
        ):
            (hooks / name).symlink_to(self.trap)
        head = (self.top / ".git" / "refs" / "heads" / "main").read_text()
        (self.top / ".git" / "refs" / "heads" / "--output=written").write_text(head)


@pytest.fixture
def project(tmp_path: Path, git: Git, cli: Cli, drop: Callable[..., Path]) -> Project:
    """The project after two runs of its first and last commit, hostile since."""
    found = Project(tmp_path, git)
    tasks = [{"id": "train", "method": "Train"}]
    values = {"pathToTasks": str(found.top), "seed": 1, "reuse": True, "tasks": tasks}
    for name, losses in (("good", (0.4,)), ("bad", (0.41, 0.7, 0.71))):
        for loss in losses:
            found.commit(loss)
        drop(name, {**values, "outputDir": name})
        cli("ready")
    cli("work", "--until-idle")
    found.turn_hostile()
    return found


@pytest.mark.slow
def test_no_command_that_looks_back_executes_or_changes_anything_of_a_repository(
    cli: Cli, project: Project, tmp_path: Path, workspace: Path
) -> None:
    before = digest_of(project.top)
    names = sorted(os.listdir(tmp_path))
    calls = [
        *(["diff", "good", "bad"], ["diff", "good", "bad", "--html"], ["diff", "good", "bad", "--json"]),
        *(["diff", "good"], ["diff", "good", "--html"], ["diff", "good", "bad", "good"], ["show", "bad"]),
        *(
            ["code", "bad", "clone"],
            ["code", "bad", "--file", STRANGE],
            ["code", "bad", "--file", "--output=x"],
        ),
        *(
            ["rerun", "good"],
            ["rerun", "bad", "--commit", "HEAD"],
            ["rerun", "bad", "--commit=--output=written"],
        ),
        *(["rerun", "bad", "--commit=--output=other"], ["work", "--until-idle"]),
        *(
            ["rerun", "good", "--verify", "--here"],
            ["verify", "good-rerun"],
            ["export", "bad", "--to", "out.zip"],
        ),
        ["bisect", "good", "bad", "--metric", "loss", "--here", "--json"],
    ]
    said = {" ".join(words): cli(*words, check=None) for words in calls}
    assert not project.sprung.exists()
    assert digest_of(project.top) == before
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "clone", "out.zip"])
    assert not [path for name in ("written", "sprung", "other") for path in tmp_path.rglob(name)]
    printed = "".join(f"{one.stdout}{one.stderr}" for words, one in said.items() if "--file" not in words)
    assert "\x1b" not in printed
    assert said["diff good bad"].returncode == 0
    assert said[f"code bad --file {STRANGE}"].stdout == "X = '\x1b[31m<b>'\n"
    assert [
        said[words].returncode for words in ("rerun good", "verify good-rerun", "export bad --to out.zip")
    ] == [0] * 3
    found = json.loads(said["bisect good bad --metric loss --here --json"].stdout)
    assert found["verdict"].endswith("moved train.loss (0.4 → 0.71)")


def test_a_clone_of_hostile_code_obeys_nothing_either(
    cli: Cli, project: Project, tmp_path: Path, git: Git
) -> None:
    cli("code", "bad", "clone")
    clone = tmp_path / "clone"
    assert (clone / STRANGE).read_bytes() == b"X = '\x1b[31m<b>'\n"
    assert not list((clone / ".git").glob("hooks/*"))
    settings = git(clone, "config", "--local", "--name-only", "--list").split()
    assert all(name.startswith("core.") for name in settings), "no remote: the address is no plain one"
    assert git(clone, "status", "--porcelain") == ""
    assert not project.sprung.exists()
