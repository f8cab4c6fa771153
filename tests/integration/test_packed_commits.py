"""Commits that travel: with submodules, with Git LFS, and those that only the workspace has."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import pytest

from job_orchestration.code import commits, packed_commits
from job_orchestration.code.snapshots import CodeStore
from job_orchestration.code.work_tree import inspect_work_tree
from tests.integration.harness import git

LARGE = b"large " * 1000


@pytest.fixture
def repository(tmp_path):
    """A repository with a submodule, a file of Git LFS, and two commits."""
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    for folder in (inner, outer):
        folder.mkdir()
        git(folder, "init", "--quiet", "--initial-branch=main")
    (inner / "inner.py").write_text("x = 1\n")
    (outer / "Tasks.py").write_text("old = 1\n")
    for folder in (inner, outer):
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message=first")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "sub")
    digest = hashlib.sha256(LARGE).hexdigest()
    kept = outer / ".git" / "lfs" / "objects" / digest[:2] / digest[2:4]
    kept.mkdir(parents=True)
    (kept / digest).write_bytes(LARGE)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(LARGE)}\n"
    (outer / "large.bin").write_text(pointer)
    (outer / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    (outer / "Tasks.py").write_text("new = 1\n")
    git(outer, "add", ".")
    git(outer, "commit", "--quiet", "--message=second")
    return outer


@pytest.fixture
def stores(tmp_path):
    """The stores of two workspaces."""
    made = [tmp_path / "a" / "Misc", tmp_path / "b" / "Misc"]
    for misc in made:
        misc.mkdir(parents=True)
    return [CodeStore(misc) for misc in made]


@pytest.mark.parametrize("is_dirty", [False, True])
def test_a_commit_comes_into_another_store_with_its_submodule_its_large_files_and_no_history(
    repository, stores, tmp_path, is_dirty
):
    here, there = stores
    if is_dirty:
        (repository / "Tasks.py").write_text("dirty = 1\n")
        (repository / "untracked.py").write_text("y = 2\n")
    tree = inspect_work_tree(repository, tmp_path / "a")
    commit = here.capture(tree) if is_dirty else here.pin(tree)
    folder = tmp_path / "packed"
    folder.mkdir()
    packed = packed_commits.write(here, commit, folder)
    assert len(packed.modules) == 1
    assert packed.is_well_formed
    packed_commits.read(there, packed, folder)
    packed_commits.read(there, packed, folder)  # once more changes nothing
    assert there.has(commit)
    assert there.fault(60) is None
    snapshot = there.snapshot(commit)
    assert (snapshot / "sub" / "inner.py").read_text() == "x = 1\n"
    assert (snapshot / "large.bin").read_bytes() == LARGE
    assert (snapshot / "untracked.py").exists() == is_dirty
    assert commits.files(there, commit) == commits.files(here, commit)
    assert commits.describe(there, commit) == commits.describe(here, commit)
    parents = git(Path(there.repository), "rev-list", commit).split()
    assert parents == [commit], "the history stays where it is"
    again = tmp_path / "again"
    again.mkdir()
    assert packed_commits.write(there, commit, again) == packed, "an imported run can be exported"


def test_a_commit_is_packed_onto_another_file_system_and_nothing_is_written_into_the_store(
    repository, stores
):
    store = stores[0]
    commit = store.pin(inspect_work_tree(repository, Path(os.devnull)))
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == store.repository.stat().st_dev:
        pytest.skip("there is no second file system")
    before = sorted(store.repository.rglob("*"))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        packed = packed_commits.write(store, commit, Path(folder))
        assert sorted(os.listdir(folder)) == sorted([packed_commits.PACK, packed_commits.LARGE])
        packed_commits.read(stores[1], packed, Path(folder))
    assert stores[1].has(commit)
    assert sorted(store.repository.rglob("*")) == before
