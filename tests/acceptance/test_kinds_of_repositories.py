"""Tasks in repositories with submodules, Git LFS or SHA-256 objects run with what the work tree shows."""

from __future__ import annotations

import json
import shutil

import pytest

TASKS = """
    import sys
    from pathlib import Path

    sys.path.insert(0, "lib")
    from job_orchestration import TaskBase

    try:
        from helper import NAME
    except ImportError:
        NAME = "alone"


    class Reads(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            data = Path(__file__).with_name("data.bin")
            return {"name": NAME, "bytes": data.stat().st_size if data.exists() else 0}
"""


def result_of(cli, run):
    cli("work", "--until-idle")
    return json.loads(cli("show", run, "--json").stdout)["tasks"][0]["result"]


def config(folder, run="a"):
    return {"pathToTasks": str(folder), "outputDir": run, "tasks": [{"id": "reads", "method": "Reads"}]}


@pytest.mark.slow
def test_a_task_imports_from_a_submodule_whose_dirt_is_dirt(cli, drop, repository, git, tmp_path):
    folder, lib = repository(TASKS), tmp_path / "lib"
    lib.mkdir()
    (lib / "helper.py").write_text("NAME = 'submodule'\n")
    git(lib, "init", "--quiet")
    git(lib, "add", ".")
    git(lib, "commit", "--quiet", "--message=lib")
    git(folder, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(lib), "lib")
    git(folder, "commit", "--quiet", "--message=with lib")
    drop("a", config(folder))
    cli("ready")
    (folder / "lib" / "helper.py").write_text("NAME = 'changed'\n")
    assert result_of(cli, "a") == {"name": "submodule", "bytes": 0}
    drop("b", config(folder, "b"))
    assert "You have uncommitted changes" in (said := cli("ready", check=3).stdout)
    assert "lib/helper.py" in said
    drop("b", {**config(folder, "b"), "UNSAFE_ignoreDirtyCheck": True})
    cli("ready")
    assert result_of(cli, "b")["name"] == "changed"
    git(folder, "submodule", "--quiet", "deinit", "--force", "lib")
    drop("c", config(folder, "c"))
    assert f"Bring it: git -C {folder} submodule update --init --recursive." in cli("ready", check=3).stdout


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("git-lfs") is None, reason="Git LFS is not installed: apt-get install git-lfs"
)
def test_a_task_reads_the_content_of_a_file_in_git_lfs(cli, drop, repository, git):
    folder = repository(TASKS)
    git(folder, "lfs", "install", "--local")
    git(folder, "lfs", "track", "*.bin")
    (folder / "data.bin").write_bytes(b"x" * 100_000)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=data")
    assert len(git(folder, "cat-file", "-p", "HEAD:data.bin")) < 200, "the commit holds a pointer"
    drop("a", config(folder))
    cli("ready")
    shutil.rmtree(folder)
    assert result_of(cli, "a") == {"name": "alone", "bytes": 100_000}


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("git-lfs") is None, reason="Git LFS is not installed: apt-get install git-lfs"
)
def test_a_commit_in_the_history_gets_its_files_in_git_lfs_or_is_refused(cli, drop, repository, git):
    folder = repository(TASKS)
    git(folder, "lfs", "install", "--local")
    git(folder, "lfs", "track", "*.bin")
    commits = []
    for run, size in (("a", 1000), (None, 1000), (None, 2000), ("b", 3000)):
        (folder / "data.bin").write_bytes(b"x" * size)
        with (folder / "Tasks.py").open("a") as file:
            file.write("# more\n")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message=data")
        commits.append(git(folder, "rev-parse", "HEAD"))
        if run:
            drop(run, config(folder, run))
            cli("ready")
    shutil.rmtree(folder)
    assert result_of(cli, "b")["bytes"] == 3000
    cli("rerun", "b", "--commit", commits[1])
    assert result_of(cli, "b-rerun")["bytes"] == 1000
    said = cli("rerun", "b", "--commit", commits[2], check=3).stdout
    assert "does not hold the content that Git LFS has for data.bin" in said


@pytest.mark.slow
def test_a_run_of_a_repository_with_sha_256_objects_completes_and_is_shown(
    cli, drop, repository, git, workspace
):
    folder = repository(TASKS)
    shutil.rmtree(folder / ".git")
    git(folder, "init", "--quiet", "--object-format=sha256")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=modern")
    drop("a", config(folder))
    head = git(folder, "rev-parse", "HEAD")
    assert json.loads(cli("ready", "--json").stdout)["queued"][0]["commit"] == head
    assert result_of(cli, "a") == {"name": "alone", "bytes": 0}
    shown = json.loads(cli("show", "a", "--json").stdout)
    assert shown["commit_details"]["subject"] == "modern"
    assert "is sound; 1 snapshots" in cli("doctor", check=None).stdout
    removed = cli("gc", "--yes").stdout
    assert not list((workspace / "Misc" / "snapshots").iterdir()), removed
    shutil.rmtree(folder)
    for name in (head, head[:12]):
        said = json.loads(cli("rerun", "a", "--commit", name, "--dry-run", "--json").stdout)
        assert [run["commit"] for run in said["runs"]] == [head]
    assert "has no commit" not in said
    refused = cli("rerun", "a", "--commit", "f" * 12, "--dry-run", check=3).stdout
    assert str(folder) in refused


def test_what_editors_leave_behind_is_no_uncommitted_change(cli, drop, repository, workspace):
    folder = repository()
    caches = (".ipynb_checkpoints", ".pytest_cache", ".mypy_cache", "__pycache__")
    for name in (".vscode", ".idea", ".venv", *caches):
        (folder / name).mkdir()
        (folder / name / "settings.json").write_text("{}")
    for name in (".DS_Store", ".Tasks.py.swp", "Tasks.py~", "Thumbs.db", ".nfs0001", "notes.bak"):
        (folder / name).write_text("x")
    drop("a", {"pathToTasks": str(folder)})
    assert "could not be run again: notes.bak. Commit them" in cli("check", check=3).stdout
    with (workspace / "workspace.yaml").open("a") as file:
        file.write('\nignoredFiles: "*.bak"\n')
    cli("check")
