"""Pinning with real repositories: what was checked is what runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from job_orchestration.code.snapshots import CodeStore
from job_orchestration.code.work_tree import inspect_work_tree
from job_orchestration.workspace import durable
from tests.integration.pinning.repositories import commit, content, refusal, sh

# -- pins and snapshots -------------------------------------------------------------------------------------


def test_a_pinned_commit_survives_everything_that_happens_to_its_repository(repo, workspace, store):
    commit(repo, "second")
    (repo / "exp" / "Tasks.py").write_text("VALUE = 2\n")
    commit(repo, "third")
    pinned = store.pin(inspect_work_tree(repo / "exp", workspace))
    (repo / "exp" / "Tasks.py").write_text("VALUE = 3\n")
    sh(repo, "commit", "-q", "-a", "--amend", "-m", "amended")
    sh(repo, "rebase", "-q", "--onto", "HEAD~2", "HEAD~1")
    sh(repo, "reflog", "expire", "--expire=now", "--all")
    sh(repo, "gc", "-q", "--prune=now")
    assert subprocess.run(["git", "cat-file", "-e", pinned], cwd=repo, check=False).returncode
    shutil.rmtree(repo)
    assert store.has(pinned)
    assert (store.snapshot(pinned) / "exp" / "Tasks.py").read_text() == "VALUE = 2\n"
    sh(workspace / "Misc" / "code.git", "fsck", "--full", "--strict")


def test_a_second_pin_and_a_second_snapshot_run_no_git(repo, workspace, store, monkeypatch):
    tree = inspect_work_tree(repo, workspace)
    snapshot = store.snapshot(store.pin(tree))
    monkeypatch.setenv("PATH", "")
    assert store.pin(tree) == tree.head
    assert store.snapshot(tree.head) == snapshot
    assert CodeStore(workspace / "Misc").has(tree.head)


def test_a_pin_is_seen_after_the_refs_were_packed(repo, workspace, store):
    pinned = store.pin(inspect_work_tree(repo, workspace))
    sh(workspace / "Misc" / "code.git", "gc", "-q", "--prune=now")
    assert not store._ref(pinned).exists()
    assert store.has(pinned)
    assert not store.has("0" * 40)


def test_a_snapshot_is_read_only_and_no_repository(repo, workspace, store):
    (repo / "run.sh").write_text("#!/bin/sh\n")
    (repo / "run.sh").chmod(0o755)
    (repo / "dangling").symlink_to("/nowhere at all")
    commit(repo)
    snapshot = store.snapshot(store.pin(inspect_work_tree(repo, workspace)))
    assert snapshot == workspace / "Misc" / "snapshots" / sh(repo, "rev-parse", "HEAD")
    assert not (snapshot / ".git").exists()
    assert content(snapshot) == content(repo)
    modes = [p.stat().st_mode for p in snapshot.rglob("*") if p.is_file()]
    assert not any(mode & 0o222 for mode in modes)
    assert sorted(os.listdir(workspace / "Misc")) == ["code.git", "snapshots"]


def test_a_snapshot_holds_the_bytes_of_the_commit_whatever_its_attributes_ask_for(repo, workspace, store):
    (repo / "a.txt").write_bytes(b"one\ntwo $Id$\n")
    (repo / "b.txt").write_text("é", "utf-16")
    (repo / ".gitattributes").write_text(
        "a.txt text eol=crlf ident\nb.txt working-tree-encoding=UTF-16 text\na.txt export-ignore\n"
    )
    commit(repo)
    sh(repo, "config", "--global", "core.autocrlf", "true")
    snapshot = store.snapshot(store.pin(inspect_work_tree(repo, workspace)))
    assert (snapshot / "a.txt").read_bytes() == b"one\ntwo $Id$\n"
    assert (snapshot / "b.txt").read_text("utf-8") == "é"


def test_only_a_pinned_commit_has_a_snapshot(repo, workspace, store):
    refusal(store.snapshot, "0" * 40)
    pinned = store.pin(inspect_work_tree(repo, workspace))
    store.snapshot(pinned)
    (workspace / "Misc" / "other").mkdir()
    for strange in ("../other", "HEAD", "", "--help", pinned.upper() + "\n"):
        assert not store.has(strange)
        refusal(store.snapshot, strange)


def test_a_snapshot_that_was_not_finished_is_not_there(repo, workspace, store, monkeypatch):
    pinned = store.pin(inspect_work_tree(repo, workspace))

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(durable, "rename_folder", fail)
        with pytest.raises(OSError, match="No space"):
            store.snapshot(pinned)
    assert os.listdir(workspace / "Misc" / "snapshots") == []
    assert (store.snapshot(pinned) / "exp" / "Tasks.py").exists()


def test_a_pin_is_only_written_after_its_objects_are_durable(repo, workspace, store, monkeypatch):
    tree, done = inspect_work_tree(repo, workspace), []
    store.create()
    monkeypatch.setattr(durable, "intercept", lambda operation, call: (done.append(operation), call())[1])
    store.pin(tree)
    ref = [i for i, o in enumerate(done) if o.name == "rename" and o.path.endswith(f"pins/{tree.head}")]
    packs = [i for i, o in enumerate(done) if o.name == "fsync_folder" and o.path.endswith("objects/pack")]
    assert len(ref) == 1
    assert packs
    assert packs[0] < ref[0]
    assert (done[-1].name, done[-1].path) == ("fsync_folder", str(store._repository / "refs" / "pins"))


def test_a_shallow_clone_is_pinned_as_far_as_it_goes(repo, workspace, store, tmp_path):
    commit(repo, "second")
    sh(tmp_path, "clone", "-q", "--depth", "1", repo.as_uri(), "shallow")
    store.create()
    (store._repository / "shallow.lock").touch()  # what a kill in an earlier fetch leaves
    tree = inspect_work_tree(tmp_path / "shallow", workspace)
    assert store.pin(tree) == sh(repo, "rev-parse", "HEAD")
    sh(store._repository, "fsck", "--full", "--strict")
    shutil.rmtree(tmp_path / "shallow")
    assert content(store.snapshot(tree.head)) == content(repo)
    commit(repo, "third")
    assert (store.snapshot(store.pin(inspect_work_tree(repo, workspace))) / "exp" / "Tasks.py").exists()


# -- captures -----------------------------------------------------------------------------------------------


def test_a_clean_tree_is_captured_as_its_head(repo, workspace, store):
    assert store.capture(inspect_work_tree(repo, workspace)) == sh(repo, "rev-parse", "HEAD")


def test_a_capture_is_exact_and_survives_its_repository(repo, workspace, store):
    for name in ("gone.py", "becomes a folder", "was link"):
        (repo / name).write_text("1")
    (repo / "was folder").mkdir()
    (repo / "was folder" / "x").write_text("1")
    commit(repo)
    (repo / "gone.py").unlink()
    (repo / "becomes a folder").unlink()
    (repo / "becomes a folder").mkdir()
    (repo / "becomes a folder" / "é ü.py").write_bytes(b"a\r\nb\n\0")
    shutil.rmtree(repo / "was folder")
    (repo / "was folder").symlink_to("exp")
    (repo / "was link").unlink()
    (repo / "was link").symlink_to("nowhere")
    (repo / "exp" / "Tasks.py").chmod(0o755)
    (repo / os.fsdecode(b"not utf-8 \xff")).write_text("1")
    (repo / "line\nbreak\ttab").write_text("1")
    (repo / "staged, then changed").write_text("1")
    sh(repo, "add", "staged, then changed")
    (repo / "staged, then changed").write_text("2")
    expected = content(repo)
    (repo / "x.log").write_text("ignored")
    (repo / "exp" / "__pycache__").mkdir()
    (repo / "exp" / "__pycache__" / "x.pyc").write_text("1")
    head = sh(repo, "rev-parse", "HEAD")
    captured = store.capture(inspect_work_tree(repo, workspace))
    shutil.rmtree(repo)
    assert captured != head
    assert store.has(captured)
    assert store.has(head)
    assert content(store.snapshot(captured)) == expected
    assert sh(store._repository, "rev-parse", f"{captured}^") == head
    sh(store._repository, "fsck", "--full", "--strict")


def test_a_capture_leaves_the_workspace_out(repo, tmp_path):
    workspace = repo / "ws"
    store = CodeStore(workspace / "Misc")
    (repo / "new.py").write_text("1")
    snapshot = store.snapshot(store.capture(inspect_work_tree(repo, workspace)))
    assert sorted(content(snapshot)) == [".gitignore", "exp/Tasks.py", "new.py"]


def test_the_same_content_is_the_same_commit(repo, workspace, store, tmp_path):
    long_ago = {"GIT_COMMITTER_DATE": "@1000000000 +0200", "GIT_AUTHOR_DATE": "@900000000 +0200"}
    sh(repo, "commit", "-q", "--allow-empty", "-m", "old", **long_ago)
    (repo / "new.py").write_text("1")
    first = store.capture(inspect_work_tree(repo, workspace))
    os.utime(repo / "new.py", (1, 1))
    sh(repo, "add", "new.py")
    other = CodeStore(tmp_path / "other" / "Misc")
    assert (
        store.capture(inspect_work_tree(repo / "exp", workspace))
        == other.capture(inspect_work_tree(repo, workspace))
        == first
    )
    assert sh(store._repository, "log", "-1", "--format=%at %ct", first) == "1000000000 1000000000"
    (repo / "new.py").write_text("2")
    assert store.capture(inspect_work_tree(repo, workspace)) != first


def test_a_capture_started_from_inside_the_work_tree_is_the_same(repo, workspace, store, monkeypatch):
    (repo / "new.py").write_text("1")
    monkeypatch.chdir(repo / "exp")
    snapshot = store.snapshot(store.capture(inspect_work_tree(Path(), workspace)))
    assert "new.py" in content(snapshot)


def test_a_folder_that_became_a_link_to_itself_is_captured(repo, workspace, store):
    shutil.rmtree(repo / "exp")
    (repo / "exp").symlink_to("exp")
    assert content(store.snapshot(store.capture(inspect_work_tree(repo, workspace)))) == content(repo)


NAMES = st.sampled_from(["a", "a/x", "a/y z", "b", "b/é", "c/d/e", "c/d", "-n", ":(top)q", "w\nl"])
FILES = st.tuples(st.booleans(), st.sampled_from([b"", b"1\n", b"2\r\n", b"\0\xff"]))
LINKS = st.tuples(st.just("link"), st.sampled_from(["a", "nowhere", "c/d"]))
TREES = st.dictionaries(NAMES, FILES | LINKS, max_size=6).filter(
    lambda tree: not any(other.startswith(f"{name}/") for name in tree for other in tree)
)


def grow(folder, tree):
    for entry in folder.iterdir():
        if entry.name == ".git":
            continue
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for name, (kind, value) in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "link":
            path.symlink_to(value)
        else:
            path.write_bytes(value)
            path.chmod(0o755 if kind else 0o644)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=TREES, after=TREES)
def test_whatever_changed_a_snapshot_of_the_capture_is_the_tree(before, after):
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "repo"
        sh(scratch, "init", "-q", str(folder))
        grow(folder, before)
        commit(folder)
        grow(folder, after)
        store = CodeStore(Path(scratch) / "Misc")
        tree = inspect_work_tree(folder, Path(scratch))
        assert bool(tree.dirty) == (before != after)
        assert content(store.snapshot(store.capture(tree))) == after == content(folder)
