"""Submodules, Git LFS, SHA-256 objects, partial clones: a snapshot holds what the work tree shows."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from job_orchestration.code import checkouts, commits
from job_orchestration.code.snapshots import CodeStore
from job_orchestration.code.work_tree import at_commit, inspect_work_tree
from job_orchestration.workspace.ignored_names import IGNORED
from tests.integration.pinning.repositories import commit, content, fingerprint, refusal, sh

HAS_LFS = shutil.which("git-lfs") is not None
needs_lfs = pytest.mark.skipif(not HAS_LFS, reason="Git LFS is not installed: apt-get install git-lfs")
ANY = ("-c", "protocol.file.allow=always")


def remove(folder):
    """Delete folders that are read-only."""
    checkouts.unlock_folders(str(folder))
    shutil.rmtree(folder)


def shown(folder):
    """What a work tree or a snapshot shows: the `.git` of submodules left out."""
    return {path: what for path, what in content(folder).items() if ".git" not in path.split("/")}


# -- submodules --------------------------------------------------------------------------------------------


@pytest.fixture
def lib(tmp_path):
    """A repository with a submodule of its own."""
    for name in ("deep", "lib"):
        (tmp_path / name).mkdir()
        sh(tmp_path / name, "init", "-q")
        (tmp_path / name / "code.py").write_text(f"NAME = '{name}'\n")
        commit(tmp_path / name)
    sh(tmp_path / "lib", *ANY, "submodule", "add", "-q", str(tmp_path / "deep"), "de ep")
    commit(tmp_path / "lib")
    return tmp_path / "lib"


@pytest.fixture
def parent(repo, lib):
    """A repository with a submodule in a submodule, all checked out."""
    sh(repo, *ANY, "submodule", "add", "-q", str(lib), "exp/lib")
    sh(repo, *ANY, "submodule", "update", "-q", "--init", "--recursive")
    commit(repo)
    return repo


def test_a_snapshot_has_the_files_of_submodules_for_good(parent, lib, workspace, store):
    before = fingerprint(parent)
    tree = inspect_work_tree(parent / "exp", workspace)
    assert tree.dirty == ()
    pinned = store.pin(tree)
    assert fingerprint(parent) == before
    expected = shown(parent)
    assert {"exp/lib/code.py", "exp/lib/de ep/code.py"} <= expected.keys()
    for folder in (parent, lib, lib.parent / "deep"):
        shutil.rmtree(folder)
    assert shown(store.snapshot(pinned)) == expected
    assert {"exp/lib/de ep/code.py", "exp/Tasks.py"} <= commits.files(store, pinned).keys()
    remove(store.repository.parent / "snapshots")
    sh(store.repository, "gc", "-q", "--prune=now")
    assert shown(store.snapshot(pinned)) == expected, "a snapshot cannot be made again"


def test_dirt_in_a_submodule_is_dirt_and_can_be_captured(parent, workspace, store):
    (parent / "exp" / "lib" / "code.py").write_text("NAME = 'changed'\n")
    (parent / "exp" / "lib" / "de ep" / "new.py").write_text("1\n")
    (parent / "exp" / "lib" / "de ep" / ".DS_Store").write_text("1\n")
    (parent / "exp" / "Tasks.py").write_text("VALUE = 2\n")
    before = fingerprint(parent)
    tree = inspect_work_tree(parent, workspace)
    assert tree.dirty == ("exp/Tasks.py", "exp/lib/code.py", "exp/lib/de ep/new.py")
    captured = store.capture(tree)
    assert captured == store.capture(inspect_work_tree(parent, workspace)), "same content, same commit"
    assert fingerprint(parent) == before
    (parent / "exp" / "lib" / "de ep" / ".DS_Store").unlink()
    expected = shown(parent)
    shutil.rmtree(parent)
    sh(store.repository, "gc", "-q", "--prune=now")
    assert shown(store.snapshot(captured)) == expected
    assert shown(store.snapshot(tree.head))["exp/lib/code.py"] == (False, b"NAME = 'lib'\n")


def test_a_submodule_at_another_commit_is_dirt_and_can_be_captured(parent, workspace, store):
    (parent / "exp" / "lib" / "code.py").write_text("NAME = 'newer'\n")
    commit(parent / "exp" / "lib")
    tree = inspect_work_tree(parent, workspace)
    assert tree.dirty == ("exp/lib",)
    expected = shown(parent)
    assert "exp/lib of " in refusal(store.pin, tree), "the head is not what the work tree shows"
    captured = store.capture(tree)
    assert shown(store.snapshot(captured)) == expected
    commit(parent)
    tree = inspect_work_tree(parent, workspace)
    assert tree.dirty == ()
    assert shown(store.snapshot(store.pin(tree))) == expected
    assert commits.changes(store, store.pin(tree), captured) == ()


def test_an_absent_submodule_names_the_command_that_brings_it(parent, workspace, store, tmp_path):
    clone = tmp_path / "clone"
    sh(tmp_path, "clone", "-q", str(parent), str(clone))
    said = refusal(inspect_work_tree, clone, workspace)
    assert said.startswith(f"The submodule exp/lib of {clone} is not checked out. Bring it: git -C ")
    sh(clone, *ANY, *said.rstrip(".").partition(f"git -C {clone} ")[2].split())
    assert shown(store.snapshot(store.pin(inspect_work_tree(clone, workspace)))) == shown(clone)


def test_a_submodules_configuration_executes_nothing(parent, workspace, store, tmp_path):
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/executed\n")
    hook.chmod(0o755)
    for folder in (parent, parent / "exp" / "lib"):
        for name in ("core.fsmonitor", "filter.x.clean", "filter.x.smudge", "core.sshCommand"):
            sh(folder, "config", name, str(hook))
        (folder / "code.py").write_text("touched\n")
    store.capture(inspect_work_tree(parent, workspace))
    assert not (tmp_path / "executed").exists()


# -- Git LFS -----------------------------------------------------------------------------------------------


@pytest.fixture
def large(repo, tmp_path):
    """A repository with a file in Git LFS, and its remote."""
    sh(repo, "lfs", "install", "--local")
    sh(repo, "lfs", "track", "*.bin")
    (repo / "exp" / "data.bin").write_bytes(b"weights " * 1000)
    (repo / "exp" / "tool.bin").write_bytes(b"#!/bin/sh\n")
    (repo / "exp" / "tool.bin").chmod(0o755)
    commit(repo)
    sh(tmp_path, "clone", "-q", "--bare", str(repo), "remote.git", GIT_LFS_SKIP_SMUDGE="1")
    sh(repo, "remote", "add", "origin", f"file://{tmp_path}/remote.git")
    sh(repo, "lfs", "push", "--all", "origin")
    return repo


@needs_lfs
def test_a_snapshot_has_the_content_of_lfs_files_for_good(large, workspace, store):
    (large / "exp" / "data.bin").touch()  # git would take it for modified, its filters being off
    before = fingerprint(large)
    tree = inspect_work_tree(large / "exp", workspace)
    assert tree.dirty == ()
    pinned = store.pin(tree)
    assert fingerprint(large) == before
    expected = shown(large)
    shutil.rmtree(large)
    for _ in range(2):
        snapshot = store.snapshot(pinned)
        assert shown(snapshot) == expected
        assert not (snapshot / "exp" / "data.bin").stat().st_mode & 0o222
        remove(snapshot.parent)


@needs_lfs
def test_a_changed_lfs_file_is_dirt_and_is_captured_as_it_is(large, workspace, store):
    before = shown(large)
    (large / "exp" / "data.bin").write_bytes(b"other")
    tree = inspect_work_tree(large, workspace)
    assert tree.dirty == ("exp/data.bin",)
    assert shown(store.snapshot(store.capture(tree))) == shown(large)
    assert shown(store.snapshot(store.pin(tree))) == before


@needs_lfs
def test_a_content_that_the_store_lost_is_a_problem_until_the_next_pin_copies_it(large, workspace, store):
    tree = inspect_work_tree(large, workspace)
    pinned = store.pin(tree)
    expected = shown(large)
    shutil.rmtree(store.repository / "lfs" / "objects")
    assert "is gone from " in refusal(store.snapshot, pinned)
    assert shown(store.snapshot(store.pin(tree))) == expected


@pytest.mark.slow
@needs_lfs
def test_a_large_file_in_a_submodule_has_its_content(large, workspace, store, tmp_path):
    sh(tmp_path, "init", "-q", "outer")
    (tmp_path / "outer" / "Tasks.py").write_text("")
    sh(tmp_path / "outer", *ANY, "submodule", "add", "-q", f"file://{tmp_path}/remote.git", "inner")
    sh(tmp_path / "outer" / "inner", "lfs", "install", "--local")
    sh(tmp_path / "outer" / "inner", "lfs", "pull")
    commit(tmp_path / "outer")
    tree = inspect_work_tree(tmp_path / "outer", workspace)
    expected = shown(tmp_path / "outer")
    assert expected["inner/exp/data.bin"] == (False, b"weights " * 1000)
    assert shown(store.snapshot(store.pin(tree))) == expected
    (tmp_path / "outer" / "inner" / "exp" / "tool.bin").write_bytes(b"changed")
    expected = shown(tmp_path / "outer")
    tree = inspect_work_tree(tmp_path / "outer", workspace)
    assert shown(store.snapshot(store.capture(tree))) == expected


@needs_lfs
def test_an_absent_lfs_file_names_the_command_that_brings_it(large, workspace, store, tmp_path):
    clone = tmp_path / "clone"
    sh(tmp_path, "clone", "-q", f"file://{tmp_path}/remote.git", str(clone), GIT_LFS_SKIP_SMUDGE="1")
    said = refusal(inspect_work_tree, clone, workspace)
    assert said == (
        f"Git LFS has the content of exp/data.bin, exp/tool.bin of {clone} elsewhere, not on this machine. "
        f"Bring it: git -C {clone} lfs pull."
    )
    sh(clone, "lfs", "install", "--local")
    sh(clone, "lfs", "pull")
    assert shown(store.snapshot(store.pin(inspect_work_tree(clone, workspace)))) == shown(large)


def pointer(data):
    digest = (
        subprocess.run(["sha256sum"], input=data, capture_output=True, check=True).stdout.split()[0].decode()
    )
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(data)}\n"


def test_lfs_files_need_no_program_of_git_lfs(repo, workspace, store):
    """The pointers and the contents are what Git LFS writes; the program is not there."""
    data = b"content" * 100
    (repo / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    (repo / "a.bin").write_text(pointer(data))
    (repo / "plain.bin").write_bytes(b"no pointer, from before Git LFS was used")
    commit(repo)
    assert "Git LFS has the content of a.bin of " in refusal(inspect_work_tree, repo, workspace)
    (repo / "a.bin").write_bytes(data)
    tree = inspect_work_tree(repo, workspace)
    assert tree.dirty == ()
    assert shown(store.snapshot(store.pin(tree))) == shown(repo)


def test_a_damaged_lfs_content_is_refused(repo, workspace, store):
    data = b"content" * 100
    (repo / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    (repo / "a.bin").write_text(pointer(data))
    commit(repo)
    digest = pointer(data).partition("sha256:")[2][:64]
    kept = repo / ".git" / "lfs" / "objects" / digest[:2] / digest[2:4] / digest
    kept.parent.mkdir(parents=True)
    kept.write_bytes(data[::-1])
    tree = inspect_work_tree(repo, workspace)
    assert "is damaged: it is not what its name says. Run there: git lfs fsck" in refusal(store.pin, tree)
    assert not store.has(tree.head)


def test_an_older_commit_is_pinned_with_its_own_submodules_and_large_files(parent, workspace, store):
    (parent / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    contents = {}
    for n in (1, 2):
        data = b"content %d" % n * 100
        (parent / "a.bin").write_text(pointer(data))
        digest = pointer(data).partition("sha256:")[2][:64]
        kept = parent / ".git" / "lfs" / "objects" / digest[:2] / digest[2:4] / digest
        kept.parent.mkdir(parents=True)
        kept.write_bytes(data)
        (parent / "exp" / "lib" / "code.py").write_text(f"NAME = {n}\n")
        commit(parent / "exp" / "lib")
        contents[commit(parent)] = data
    older, newer = contents
    tree = inspect_work_tree(parent, workspace)
    for chosen in (older, newer):
        snapshot = store.snapshot(store.pin(at_commit(tree, chosen)))
        assert (snapshot / "a.bin").read_bytes() == contents[chosen]
    assert (store.snapshot(older) / "exp" / "lib" / "code.py").read_text() == "NAME = 1\n"


# -- SHA-256 objects ---------------------------------------------------------------------------------------


def test_a_repository_with_sha_256_objects_is_pinned_and_captured_like_any_other(tmp_path, workspace, store):
    repo = tmp_path / "modern"
    sh(tmp_path, "init", "-q", "--object-format=sha256", "modern")
    (repo / "Tasks.py").write_text("VALUE = 1\n")
    first = commit(repo)
    tree = inspect_work_tree(repo, workspace)
    assert len(first) == 64
    assert store.pin(tree) == first
    assert store.has(first)
    (repo / "Tasks.py").write_text("VALUE = 2\n")
    captured = store.capture(inspect_work_tree(repo, workspace))
    shutil.rmtree(repo)
    assert (store.snapshot(first) / "Tasks.py").read_text() == "VALUE = 1\n"
    assert (store.snapshot(captured) / "Tasks.py").read_text() == "VALUE = 2\n"
    assert commits.changes(store, first, captured) == ("Tasks.py",)
    assert commits.describe(store, first).subject == "x"
    assert CodeStore(store.repository.parent).fault(60) is None
    objects = next((store.repository.parent / "code-sha256.git" / "objects").glob("pack/*.pack"))
    objects.chmod(0o644)
    objects.write_bytes(objects.read_bytes()[:-30])
    assert CodeStore(store.repository.parent).fault(60) is not None


# -- partial clones ----------------------------------------------------------------------------------------


@pytest.fixture
def origin(repo):
    """A repository with history, of which partial clones can be made."""
    for name in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        sh(repo, "config", name, "true")
    for value in (2, 3):
        (repo / "exp" / "Tasks.py").write_text(f"VALUE = {value}\n")
        commit(repo)
    return repo


def test_a_partial_clone_is_pinned_from_what_it_has(origin, workspace, store, tmp_path):
    clone = tmp_path / "clone"
    sh(tmp_path, "clone", "-q", "--filter=blob:none", f"file://{origin}", str(clone))
    shutil.move(origin, tmp_path / "away")
    tree = inspect_work_tree(clone, workspace)
    assert shown(store.snapshot(store.pin(tree))) == shown(clone)


def test_a_partial_clone_that_lacks_files_names_a_command_that_brings_them(
    origin, workspace, store, tmp_path
):
    clone = tmp_path / "clone"
    (origin / "far").mkdir()
    (origin / "far" / "away.py").write_text("FAR = 1\n")
    commit(origin)
    sh(tmp_path, "clone", "-q", "--filter=blob:none", "--sparse", f"file://{origin}", str(clone))
    sh(clone, "sparse-checkout", "set", "exp")
    shutil.move(origin, tmp_path / "away")
    tree = inspect_work_tree(clone / "exp", workspace)
    said = refusal(store.pin, tree)
    command = f"git -C {clone} fetch --refetch --no-filter"
    assert f"gets what it lacks by `{command}`" in said
    shutil.move(tmp_path / "away", origin)
    sh(clone, *command.split()[3:])
    shutil.move(origin, tmp_path / "away")
    assert (store.snapshot(store.pin(tree)) / "far" / "away.py").read_text() == "FAR = 1\n"


# -- what editors and systems leave behind ------------------------------------------------------------------


def test_what_editors_and_systems_leave_behind_is_no_dirt_unless_it_is_tracked(repo, workspace):
    for pattern in IGNORED:
        name = pattern.rstrip("/").replace("[#]", "#").replace("*", "x")
        for folder in (repo, repo / "exp"):
            path = folder / name
            if pattern.endswith("/"):
                path.mkdir()
                path = path / "file.py"
            path.write_text("x")
    assert inspect_work_tree(repo, workspace).dirty == ()
    (repo / "exp" / "x.bak").write_text("x")
    (repo / "exp" / "scratch").mkdir()
    (repo / "exp" / "scratch" / "a.py").write_text("x")
    assert inspect_work_tree(repo, workspace).dirty == ("exp/scratch/a.py", "exp/x.bak")
    assert inspect_work_tree(repo, workspace, ("*.bak", "scratch/")).dirty == ()
    sh(repo, "add", "--force", "exp/.DS_Store")
    assert inspect_work_tree(repo, workspace).dirty[0] == "exp/.DS_Store"


def test_the_documentation_has_the_list_of_what_is_left_behind():
    text = Path(__file__).parents[3].joinpath("docs", "dropping.md").read_text()
    _, _, rest = text.partition("```text\n")
    assert tuple(rest.partition("```")[0].split()) == IGNORED
