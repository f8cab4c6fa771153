"""`code`: a clone of what a run executed, and its files, through the command line on real repositories."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from job_orchestration.workspace import locks
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]
    Git = Callable[..., str]

TASKS = """
    from job_orchestration import TaskBase


    class Quick(TaskBase):
        def run(self):
            return 1
"""


def content_of(folder: Path) -> dict[str, str]:
    """The hash of each file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def queued(cli: Cli, drop: Callable[..., Path], repository: Callable[..., Path]) -> Callable[..., Path]:
    """Queues a run of a repository; call it with a function that prepares the repository."""

    def make(prepare: Callable[[Path], object] = lambda _: None, run: str = "a", **values: object) -> Path:
        folder = repository(TASKS)
        prepare(folder)
        drop(run, {"pathToTasks": str(folder), "outputDir": run, **values})
        cli("ready")
        return folder

    return make


def test_a_clone_has_the_files_the_history_the_branch_and_the_remote(
    cli: Cli, queued: Callable[..., Path], git: Git, tmp_path: Path
) -> None:
    def prepare(folder: Path) -> None:
        git(folder, "switch", "--quiet", "--create", "feature/x")
        (folder / "more.txt").write_bytes(b"one\r\ntwo\n")
        (folder / ".gitattributes").write_text("*.txt text eol=crlf ident\n")
        git(folder, "add", ".")
        git(folder, "-c", "core.autocrlf=false", "commit", "--quiet", "--message=more")
        git(folder, "remote", "add", "origin", "https://me:secret@example.org/p.git")

    folder = queued(prepare)
    head, log = git(folder, "rev-parse", "HEAD"), git(folder, "log", "--format=%H %an %s")
    before = content_of(folder)
    cli("code", "a")
    assert content_of(folder) == before
    shutil.rmtree(folder)
    made = json.loads(cli("code", "a", "again", "--json").stdout)
    assert made == {
        "run": "a",
        "folder": str(tmp_path / "again"),
        "commit": head,
        "branch": "feature/x",
        "tasks": ".",
        "captured_on": None,
        "other_commits": {},
    }
    for clone in (tmp_path / "a-code", tmp_path / "again"):
        assert git(clone, "log", "--format=%H %an %s") == log
        assert git(clone, "status", "--porcelain", "--branch").splitlines() == ["## feature/x"]
        assert git(clone, "remote", "get-url", "origin") == "https://example.org/p.git"
        assert git(clone, "fsck", "--full") == ""
        assert (clone / "more.txt").read_bytes() == b"one\ntwo\n", "as the snapshot has it"
        (clone / "new.py").write_text("X = 1\n")
        git(clone, "add", ".")
        git(clone, "commit", "--quiet", "--message=work goes on")
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


@pytest.mark.slow
def test_what_a_killed_command_left_beside_its_folder_goes_with_the_next_one(
    cli: Cli, queued: Callable[..., Path], tmp_path: Path
) -> None:
    queued()
    cli("work", "--until-idle")
    killer = tmp_path / "killer"
    killer.mkdir()
    (killer / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "from job_orchestration.workspace import durable\n"
        "if {'code', 'export'} & set(sys.argv):\n"
        "    durable.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = {"PYTHONPATH": os.pathsep.join([str(killer), str(ROOT)])}

    def hidden() -> list[Path]:
        return sorted(path for path in tmp_path.iterdir() if path.name.startswith("."))

    cli("code", "a", "one", check=-9, env=killed)
    (left,) = hidden()
    assert left.name.startswith(".one.making-")
    mine = tmp_path / ".mine.making-abcdefgh"
    (mine / "clone").mkdir(parents=True)
    (mine / "notes.txt").write_text("of a person")
    with locks.folder_lock(str(left)):
        cli("code", "a", "one")
        assert left in hidden(), "somebody is making it"
    cli("export", "a", "--to", "a.zip", check=-9, env=killed)
    (left_by_export,) = [path for path in hidden() if path != mine]
    assert left_by_export.name.startswith(".a.zip.making-"), "that of the clone is gone"
    cli("code", "a", "two")
    assert hidden() == [mine]


def test_a_clone_of_uncommitted_changes_has_them_as_its_last_commit(
    cli: Cli, queued: Callable[..., Path], git: Git, tmp_path: Path
) -> None:
    def prepare(folder: Path) -> None:
        (folder / "Tasks.py").write_text((folder / "Tasks.py").read_text() + "# changed\n")
        (folder / "new.py").write_text("X = 1\n")

    folder = queued(prepare, UNSAFE_ignoreDirtyCheck=True)
    head = git(folder, "rev-parse", "HEAD")
    said = cli("code", "a").stdout
    assert f"The last commit holds what was not committed on {head[:12]}" in said
    clone = tmp_path / "a-code"
    assert git(clone, "rev-parse", "HEAD~") == head
    assert git(clone, "show", "--format=", "--name-only", "HEAD").split() == ["Tasks.py", "new.py"]
    assert (clone / "Tasks.py").read_bytes() == (folder / "Tasks.py").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("git-lfs") is None, reason="Git LFS is not installed: apt-get install git-lfs"
)
def test_submodules_and_files_of_git_lfs_are_in_their_places_and_clean(
    cli: Cli, queued: Callable[..., Path], git: Git, tmp_path: Path
) -> None:
    lib = tmp_path / "lib"

    def add_lib(folder: Path) -> None:
        lib.mkdir()
        git(lib, "init", "--quiet")
        git(lib, "lfs", "install", "--local")
        git(lib, "lfs", "track", "*.bin")
        (lib / "inner.bin").write_bytes(b"i" * 5000)
        (lib / "helper.py").write_text("NAME = 1\n")
        git(lib, "add", ".")
        git(lib, "commit", "--quiet", "--message=lib")
        git(folder, "lfs", "install", "--local")
        git(folder, "lfs", "track", "*.bin")
        (folder / "it's $(big).bin").write_bytes(b"x" * 100_000)
        git(folder, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(lib), "lib")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message=with lib and data")

    folder = queued(add_lib)
    shutil.rmtree(folder)
    shutil.rmtree(lib)
    cli("code", "a")
    clone = tmp_path / "a-code"
    assert (clone / "it's $(big).bin").read_bytes() == b"x" * 100_000
    assert (clone / "lib" / "inner.bin").read_bytes() == b"i" * 5000
    assert git(clone, "status", "--porcelain", "--ignore-submodules=none") == ""
    assert git(clone / "lib", "log", "--format=%s") == "lib"
    assert git(clone / "lib", "status", "--porcelain") == ""
    assert cli("code", "a", "--file", "it's $(big).bin").stdout == "x" * 100_000
    assert cli("code", "a", "--file", "lib/inner.bin").stdout == "i" * 5000
    assert cli("code", "a", "--file", "lib/helper.py").stdout == "NAME = 1\n"
    git(clone, "lfs", "install", "--local")
    (clone / "other.bin").write_bytes(b"y" * 1000)
    git(clone, "add", ".")
    assert git(clone, "cat-file", "-p", ":other.bin").startswith("version https://git-lfs"), "it goes on"


@pytest.mark.slow
def test_a_file_is_printed_byte_for_byte_by_its_path_from_the_top_or_from_the_tasks(
    cli: Cli, queued: Callable[..., Path], git: Git, tmp_path: Path, environment: dict[str, str]
) -> None:
    data = "ä;b\r\n".encode("latin-1")

    def prepare(folder: Path) -> None:
        (folder / "inner").mkdir()
        (folder / "Tasks.py").rename(folder / "inner" / "Tasks.py")
        (folder / "inner" / "data.csv").write_bytes(data)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message=inner")

    folder = queued(prepare, pathToTasks=str(tmp_path / "repository" / "inner"))
    (folder / "inner" / "data.csv").write_text("changed since")
    for path in ("inner/data.csv", "data.csv", "./inner//data.csv"):
        command = [sys.executable, "-m", "job_orchestration", "code", "a", "--file", path]
        assert subprocess.run(command, check=True, capture_output=True, env=environment).stdout == data
    assert not (tmp_path / "a-code").exists()
    assert "--file prints the file alone" in cli("code", "a", "x", "--file", "data.csv", check=2).stderr


@pytest.mark.slow
def test_what_cannot_be_taken_is_refused_with_a_sentence(
    cli: Cli, queued: Callable[..., Path], tmp_path: Path, workspace: Path
) -> None:
    folder = queued()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "empty").mkdir()
    os.symlink("empty", tmp_path / "link")
    for target, reason in {
        "full": "is there already",
        "link": "is there already",
        "none/below": "There is no folder",
        str(workspace / "Output" / "x"): "lies in a folder of the workspace",
        str(folder / "x"): "would be an uncommitted change",
    }.items():
        assert reason in cli("code", "a", target, check=2).stderr
    assert os.listdir(tmp_path / "full") == ["file"]
    cli("code", "a", "empty")
    assert (tmp_path / "empty" / "Tasks.py").is_file()
    said = cli("code", "a", "--file", "Task.py", check=2).stderr
    assert "The code of a has no file Task.py. Did you mean Tasks.py?" in said
