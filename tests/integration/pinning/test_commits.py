"""Reading commits of the workspace's own store with GitPython."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from job_orchestration.code import commits
from job_orchestration.code.work_tree import inspect_work_tree
from job_orchestration.diagnostics.errors import CodeError
from tests.integration.pinning.repositories import sh

DATE = "2024-05-06T07:08:09+02:00"


@pytest.fixture
def pinned(repo, workspace, store, monkeypatch):
    first = store.pin(inspect_work_tree(repo, workspace))
    (repo / "exp" / "Tasks.py").write_text("VALUE = 2\n")
    (repo / "new é.txt").write_text("new\n")
    (repo / ".gitignore").unlink()
    sh(repo, "add", "-A")
    monkeypatch.setenv("GIT_AUTHOR_DATE", DATE)
    sh(repo, "commit", "-q", "-m", "Add a file é\n\nand a body")
    monkeypatch.delenv("GIT_AUTHOR_DATE")
    second = store.pin(inspect_work_tree(repo, workspace))
    shutil.rmtree(repo)
    return first, second


def test_a_commit_is_described_without_its_repository(store, pinned):
    found = commits.describe(store, pinned[1])
    assert found is not None
    assert (found.author, found.date, found.subject) == ("a@b", DATE, "Add a file é")


def test_files_and_changes_name_what_differs(store, pinned):
    first, second = pinned
    assert set(commits.files(store, first)) == {".gitignore", "exp/Tasks.py"}
    assert set(commits.files(store, second)) == {"exp/Tasks.py", "new é.txt"}
    assert commits.changes(store, first, second) == (".gitignore", "exp/Tasks.py", "new é.txt")
    assert commits.changes(store, first, first) == ()


def test_a_commit_is_read_from_packs_as_well(store, workspace, pinned):
    sh(workspace / "Misc" / "code.git", "gc", "-q", "--prune=now")
    found = commits.describe(store, pinned[1])
    assert found is not None
    assert found.subject == "Add a file é"
    assert len(commits.changes(store, *pinned)) == 3


def test_a_hostile_environment_points_nowhere_else(store, workspace, pinned, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    expected = commits.describe(store, pinned[1]), commits.changes(store, *pinned)
    hostile = {
        "GIT_DIR": str(other / ".git"),
        "GIT_WORK_TREE": str(other),
        "GIT_COMMON_DIR": str(other / ".git"),
        "GIT_INDEX_FILE": str(other / "index"),
        "GIT_OBJECT_DIRECTORY": str(other / ".git" / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(other / ".git" / "objects"),
        "GIT_PYTHON_GIT_EXECUTABLE": "/nowhere/git",
    }
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    assert (commits.describe(store, pinned[1]), commits.changes(store, *pinned)) == expected
    assert dict(os.environ) == before


def test_what_the_store_does_not_hold_is_not_described(store, pinned):
    assert commits.describe(store, "0" * 40) is None
    assert commits.describe(store, "HEAD") is None
    with pytest.raises(CodeError, match="cannot be read"):
        commits.files(store, "0" * 40)


def test_a_damaged_commit_is_not_described(store, workspace, pinned):
    objects = workspace / "Misc" / "code.git" / "objects"
    shutil.rmtree(objects)
    objects.mkdir()
    assert commits.describe(store, pinned[1]) is None
