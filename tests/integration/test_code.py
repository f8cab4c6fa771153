"""Pinning with real repositories: what was checked is what runs, and the person's repository is only read."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from job_orchestration.files import code as code_module
from job_orchestration.files import durable, git
from job_orchestration.files.code import CodeStore, look
from job_orchestration.files.worktree import without_credentials
from job_orchestration.model.errors import CodeError

HERE = {"GIT_CEILING_DIRECTORIES": tempfile.gettempdir(), "GIT_CONFIG_NOSYSTEM": "1"}
NAME = {f"GIT_{r}_{w}": "a@b" for r in ("AUTHOR", "COMMITTER") for w in ("NAME", "EMAIL")}


@pytest.fixture(autouse=True)
def own_configuration(tmp_path, monkeypatch):
    """A home folder of its own, so that the configuration of whoever runs the tests plays no part."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    for name, value in HERE.items():
        monkeypatch.setenv(name, value)


def sh(folder, *command, **environment):
    """Run git as a person does."""
    done = subprocess.run(
        ["git", *command],
        cwd=folder,
        env={**os.environ, **NAME, **environment},
        check=True,
        capture_output=True,
    )
    return os.fsdecode(done.stdout).rstrip("\n")


def commit(folder, message="x"):
    sh(folder, "add", "-A")
    sh(folder, "commit", "-q", "--allow-empty", "-m", message)
    return sh(folder, "rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path):
    folder = tmp_path / "repo"
    folder.mkdir()
    sh(folder, "init", "-q", "-b", "trunk")
    (folder / "exp").mkdir()
    (folder / "exp" / "Tasks.py").write_text("VALUE = 1\n")
    (folder / ".gitignore").write_text("data/\n*.log\n")
    commit(folder)
    return folder


@pytest.fixture
def workspace(tmp_path):
    return tmp_path / "workspace"


@pytest.fixture
def store(workspace):
    return CodeStore(workspace / "Misc")


def content(folder):
    """What a tree holds: each file's kind, whether it is executable, and its bytes; `.git` left out."""
    found = {}
    for parent, folders, files in os.walk(folder):
        if Path(parent) == Path(folder) and ".git" in folders:
            folders.remove(".git")
        for name in [*files, *(f for f in folders if os.path.islink(os.path.join(parent, f)))]:
            path = os.path.join(parent, name)
            shown = os.path.relpath(path, folder)
            if os.path.islink(path):
                found[shown] = ("link", os.readlink(path))
            else:
                found[shown] = (bool(os.stat(path).st_mode & stat.S_IXUSR), Path(path).read_bytes())
    return found


def fingerprint(folder):
    """Every name below a folder with its mode, its time of change and its bytes."""
    return {
        str(path): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in [folder, *folder.rglob("*")]
    }


def refusal(call, *arguments):
    with pytest.raises(CodeError) as caught:
        call(*arguments)
    assert caught.value.what
    assert caught.value.todo
    return str(caught.value)


# -- looking ----------------------------------------------------------------------------------------------


def test_looking_tells_where_the_tasks_are_and_at_which_commit(repo, workspace):
    sh(repo, "remote", "add", "origin", "https://me:secret@example.org/you/project.git")
    tree = look(repo / "exp", workspace)
    assert (tree.top, tree.folder, tree.branch, tree.dirty) == (repo.resolve(), "exp", "trunk", ())
    assert tree.head == sh(repo, "rev-parse", "HEAD")
    assert tree.origin == "https://example.org/you/project.git"
    assert look(repo, workspace).folder == "."


def test_a_detached_head_has_no_branch_and_no_remote_is_no_origin(repo, workspace):
    sh(repo, "checkout", "-q", "--detach")
    tree = look(repo, workspace)
    assert (tree.branch, tree.origin) == (None, None)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://token@example.org/a.git", "https://example.org/a.git"),
        ("ssh://git:word@example.org:22/a.git", "ssh://git@example.org:22/a.git"),
        ("git@example.org:a/b.git", "git@example.org:a/b.git"),
        ("/srv/a b.git", "/srv/a b.git"),
        ("https://me:word@[broken/a.git", "[broken/a.git"),
    ],
)
def test_an_origin_is_told_without_its_credentials(url, shown):
    assert without_credentials(url) == shown


def test_b_jo_22_every_kind_of_change_is_dirt_untracked_files_too(repo, workspace):
    for name in ("modified.py", "deleted.py", "staged.py", "unstaged deletion.py"):
        (repo / name).write_text("1")
    commit(repo)
    (repo / "modified.py").write_text("2")
    (repo / "deleted.py").unlink()
    (repo / "staged.py").write_text("2")
    sh(repo, "add", "staged.py")
    sh(repo, "rm", "-q", "--cached", "unstaged deletion.py")
    (repo / "sub").mkdir()
    (repo / "sub" / "new é\nline.py").write_text("1")
    assert look(repo / "exp", workspace).dirty == (
        "deleted.py",
        "modified.py",
        "staged.py",
        "sub/new é\nline.py",
        "unstaged deletion.py",
    )


def test_ignored_files_and_bytecode_are_no_dirt(repo, workspace):
    (repo / "data").mkdir()
    (repo / "data" / "x.npy").write_text("1")
    (repo / "x.log").write_text("1")
    (repo / "exp" / "__pycache__").mkdir()
    (repo / "exp" / "__pycache__" / "Tasks.cpython-311.pyc").write_text("1")
    (repo / "old.pyc").write_text("1")
    assert look(repo, workspace).dirty == ()


def test_a_workspace_inside_the_work_tree_is_no_dirt(repo):
    workspace = repo / "my workspace [1]"
    (workspace / "ConfigSources").mkdir(parents=True)
    (workspace / "ConfigSources" / "a.yaml").write_text("1")
    (repo / "my workspace 1").write_text("not the workspace")
    (repo / "exp" / "Tasks.pyc").write_text("1")
    assert look(repo / "exp", workspace).dirty == ("my workspace 1",)


def test_a_workspace_around_the_tasks_hides_only_its_own_folders(repo):
    for name in ("ConfigSources", "Misc", "lib"):
        (repo / name).mkdir()
        (repo / name / "x.py").write_text("1")
    (repo / "exp" / "Tasks.py").write_text("VALUE = 2\n")
    assert look(repo / "exp", repo).dirty == ("exp/Tasks.py", "lib/x.py")


def test_a_lock_on_the_index_does_not_matter(repo, workspace):
    (repo / ".git" / "index.lock").touch()
    (repo / "new.py").touch()
    assert look(repo, workspace).dirty == ("new.py",)


def test_a_path_through_a_symbolic_link_and_a_linked_work_tree_are_found(repo, workspace, store, tmp_path):
    (tmp_path / "link").symlink_to(repo / "exp")
    assert look(tmp_path / "link", workspace).folder == "exp"
    linked = tmp_path / "linked tree"
    sh(repo, "worktree", "add", "-q", "-b", "other", str(linked))
    (linked / "exp" / "Tasks.py").write_text("VALUE = 2\n")
    commit(linked)
    tree = look(linked / "exp", workspace)
    assert (tree.top, tree.folder, tree.branch) == (linked.resolve(), "exp", "other")
    assert (store.snapshot(store.pin(tree)) / "exp" / "Tasks.py").read_text() == "VALUE = 2\n"


def test_variables_that_point_git_elsewhere_are_not_heard(repo, workspace, store, monkeypatch, tmp_path):
    head = sh(repo, "rev-parse", "HEAD")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "not what git writes")
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    assert store.pin(look(repo, workspace)) == head
    assert not (tmp_path / "trace").exists()


def test_a_replaced_commit_is_still_the_commit_it_was(repo, workspace):
    (repo / "exp" / "Tasks.py").write_text("VALUE = 2\n")
    other = commit(repo)
    sh(repo, "reset", "-q", "--hard", "HEAD~1")
    sh(repo, "replace", "HEAD", other)
    sh(repo, "reset", "-q", "--hard")
    assert sh(repo, "status", "--porcelain") == ""
    assert look(repo, workspace).dirty == ("exp/Tasks.py",)


# -- sentences --------------------------------------------------------------------------------------------


def test_a_path_that_is_no_folder_is_refused(repo, workspace):
    assert "nope does not exist. Let pathToTasks" in refusal(look, repo / "nope", workspace)
    assert "Tasks.py is not a folder" in refusal(look, repo / "exp" / "Tasks.py", workspace)


def test_a_folder_outside_of_any_work_tree_is_refused(tmp_path, workspace):
    (tmp_path / "plain").mkdir()
    said = refusal(look, tmp_path / "plain", workspace)
    assert f"{tmp_path / 'plain'} is not in a git work tree. Run `git init` there and commit" in said


def test_a_bare_repository_and_a_git_folder_are_refused(repo, workspace, tmp_path):
    sh(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    assert "bare repository" in refusal(look, tmp_path / "bare.git", workspace)
    assert "bare repository" in refusal(look, repo / ".git", workspace)


def test_a_repository_without_a_commit_is_refused(tmp_path, workspace):
    sh(tmp_path, "init", "-q", "young")
    assert "has no commit yet. Commit the tasks there" in refusal(look, tmp_path / "young", workspace)


def test_a_work_tree_elsewhere_is_refused(repo, workspace, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    sh(repo, "config", "core.worktree", str(tmp_path / "elsewhere"))
    assert "core.worktree" in refusal(look, repo, workspace)


def test_somebody_elses_repository_is_read_once_the_person_trusts_it(repo, workspace, store, monkeypatch):
    monkeypatch.setitem(git._ENVIRONMENT, "GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    said = refusal(look, repo, workspace)
    assert f"git config --global --add safe.directory '{repo}'" in said
    sh(repo, "config", "--global", "--add", "safe.directory", str(repo))
    assert store.pin(look(repo, workspace)) == sh(repo, "rev-parse", "HEAD")


def test_a_damaged_repository_is_refused_in_gits_own_words(repo, workspace):
    (repo / ".git" / "index").write_bytes(b"not an index at all")
    assert "git status failed" in refusal(look, repo, workspace)


def test_no_git_is_one_sentence(repo, workspace, monkeypatch):
    look(repo, workspace)
    env = shutil.which("env")
    monkeypatch.setenv("PATH", str(repo))
    assert refusal(look, repo, workspace).startswith("git was not found.")
    (repo / "env").symlink_to(env)
    monkeypatch.setenv("GIT_DIR", "x")
    assert refusal(look, repo, workspace).startswith("git was not found.")
    assert git.version() is None


def test_a_process_that_starts_without_git_says_so(repo, workspace):
    script = (
        "import pathlib, sys\n"
        "from job_orchestration.files.code import look\n"
        "from job_orchestration.model.errors import CodeError\n"
        "for _ in range(2):\n"
        "    try: look(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[1]))\n"
        "    except CodeError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(repo)],
        env={"PATH": str(repo), "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (
        done.stdout.splitlines() == ["git was not found. Install git and make sure that it is on PATH."] * 2
    )


def test_submodules_are_refused_and_leave_no_pin(repo, workspace, store, tmp_path):
    sh(tmp_path, "clone", "-q", str(repo), "inner")
    sh(repo, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(tmp_path / "inner"), "in ner")
    commit(repo)
    tree = look(repo, workspace)
    for _ in range(2):
        assert "other repositories, which are not captured: in ner" in refusal(store.pin, tree)
    assert not store.has(tree.head)


def test_a_repository_inside_the_work_tree_is_not_captured(repo, workspace, store):
    commit(repo)
    sh(repo, "init", "-q", "nested")
    commit(repo / "nested")
    assert "not captured: nested/" in refusal(store.capture, look(repo, workspace))


@pytest.mark.parametrize("where", [".gitattributes", ".git/info/attributes"])
def test_files_in_lfs_are_refused(repo, workspace, where):
    for name in ("a.bin", "b.bin"):
        (repo / name).write_text("version https://git-lfs.github.com/spec/v1\n")
    (repo / where).write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    commit(repo)
    assert "Git LFS keeps a.bin, b.bin of " in refusal(look, repo, workspace)


def test_lfs_attributes_without_such_files_are_fine(repo, workspace):
    (repo / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    commit(repo)
    assert look(repo, workspace).dirty == ()


def test_files_that_git_rewrites_on_checkout_are_refused(repo, workspace):
    (repo / ".gitattributes").write_text("secret filter=a.crypt\nbook filter=strip\n")
    (repo / "secret").write_text("1")
    commit(repo)
    sh(repo, "config", "filter.strip.clean", "cat")
    sh(repo, "config", "filter.strip.smudge", "cat")
    assert look(repo, workspace).dirty == ()
    sh(repo, "config", "filter.a.crypt.smudge", "tr 1 2")
    assert "filter command of git rewrites secret" in refusal(look, repo, workspace)


def test_too_much_new_content_names_the_biggest_files(repo, workspace, store, monkeypatch):
    monkeypatch.setattr(code_module, "CAPTURE_LIMIT", 3_000_000)
    (repo / "small").write_bytes(b"1")
    (repo / "big").write_bytes(b"1" * 1_500_000)
    (repo / "bigger").write_bytes(b"1" * 1_700_000)
    said = refusal(store.capture, look(repo, workspace))
    assert "more than the 3 MB" in said
    assert "bigger (1.7 MB), big (1.5 MB), small" in said
    (repo / "big").unlink()
    store.capture(look(repo, workspace))


def test_a_file_that_cannot_be_captured_is_named(repo, workspace, store):
    (repo / "exp" / "new.py").write_text("1")
    tree = look(repo, workspace)
    (repo / "exp" / "new.py").unlink()
    os.mkfifo(repo / "exp" / "new.py")
    assert "exp/new.py" in refusal(store.capture, tree)


def test_a_commit_that_went_away_meanwhile_is_one_sentence(repo, workspace, store):
    tree = look(repo, workspace)
    shutil.rmtree(repo)
    assert f"Commit {tree.head} of {tree.top} cannot be copied" in refusal(store.pin, tree)
    assert not store.has(tree.head)


# -- pins and snapshots -----------------------------------------------------------------------------------


def test_a_pinned_commit_survives_everything_that_happens_to_its_repository(repo, workspace, store):
    commit(repo, "second")
    (repo / "exp" / "Tasks.py").write_text("VALUE = 2\n")
    commit(repo, "third")
    pinned = store.pin(look(repo / "exp", workspace))
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
    tree = look(repo, workspace)
    snapshot = store.snapshot(store.pin(tree))
    monkeypatch.setenv("PATH", "")
    assert store.pin(tree) == tree.head
    assert store.snapshot(tree.head) == snapshot
    assert CodeStore(workspace / "Misc").has(tree.head)


def test_a_pin_is_seen_after_somebody_packed_the_refs(repo, workspace, store):
    pinned = store.pin(look(repo, workspace))
    sh(workspace / "Misc" / "code.git", "gc", "-q", "--prune=now")
    assert not store._ref(pinned).exists()
    assert store.has(pinned)
    assert not store.has("0" * 40)


def test_a_snapshot_is_read_only_and_no_repository(repo, workspace, store):
    (repo / "run.sh").write_text("#!/bin/sh\n")
    (repo / "run.sh").chmod(0o755)
    (repo / "dangling").symlink_to("/nowhere at all")
    commit(repo)
    snapshot = store.snapshot(store.pin(look(repo, workspace)))
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
    snapshot = store.snapshot(store.pin(look(repo, workspace)))
    assert (snapshot / "a.txt").read_bytes() == b"one\ntwo $Id$\n"
    assert (snapshot / "b.txt").read_text("utf-8") == "é"


def test_only_a_pinned_commit_has_a_snapshot(repo, workspace, store):
    refusal(store.snapshot, "0" * 40)
    pinned = store.pin(look(repo, workspace))
    store.snapshot(pinned)
    (workspace / "Misc" / "other").mkdir()
    for strange in ("../other", "HEAD", "", "--help", pinned.upper() + "\n"):
        assert not store.has(strange)
        refusal(store.snapshot, strange)


def test_a_snapshot_that_was_not_finished_is_not_there(repo, workspace, store, monkeypatch):
    pinned = store.pin(look(repo, workspace))

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(durable, "rename_folder", fail)
        with pytest.raises(OSError, match="No space"):
            store.snapshot(pinned)
    assert os.listdir(workspace / "Misc" / "snapshots") == []
    assert (store.snapshot(pinned) / "exp" / "Tasks.py").exists()


def test_a_pin_is_only_written_after_its_objects_are_durable(repo, workspace, store, monkeypatch):
    tree, done = look(repo, workspace), []
    store._create()
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
    store._create()
    (store._repository / "shallow.lock").touch()  # what a kill in an earlier fetch leaves
    tree = look(tmp_path / "shallow", workspace)
    assert store.pin(tree) == sh(repo, "rev-parse", "HEAD")
    sh(store._repository, "fsck", "--full", "--strict")
    shutil.rmtree(tmp_path / "shallow")
    assert content(store.snapshot(tree.head)) == content(repo)
    commit(repo, "third")
    assert (store.snapshot(store.pin(look(repo, workspace))) / "exp" / "Tasks.py").exists()


# -- captures ---------------------------------------------------------------------------------------------


def test_a_clean_tree_is_captured_as_its_head(repo, workspace, store):
    assert store.capture(look(repo, workspace)) == sh(repo, "rev-parse", "HEAD")


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
    captured = store.capture(look(repo, workspace))
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
    snapshot = store.snapshot(store.capture(look(repo, workspace)))
    assert sorted(content(snapshot)) == [".gitignore", "exp/Tasks.py", "new.py"]


def test_the_same_content_is_the_same_commit(repo, workspace, store, tmp_path):
    long_ago = {"GIT_COMMITTER_DATE": "@1000000000 +0200", "GIT_AUTHOR_DATE": "@900000000 +0200"}
    sh(repo, "commit", "-q", "--allow-empty", "-m", "old", **long_ago)
    (repo / "new.py").write_text("1")
    first = store.capture(look(repo, workspace))
    os.utime(repo / "new.py", (1, 1))
    sh(repo, "add", "new.py")
    other = CodeStore(tmp_path / "other" / "Misc")
    assert store.capture(look(repo / "exp", workspace)) == other.capture(look(repo, workspace)) == first
    assert sh(store._repository, "log", "-1", "--format=%at %ct", first) == "1000000000 1000000000"
    (repo / "new.py").write_text("2")
    assert store.capture(look(repo, workspace)) != first


def test_a_capture_started_from_inside_the_work_tree_is_the_same(repo, workspace, store, monkeypatch):
    (repo / "new.py").write_text("1")
    monkeypatch.chdir(repo / "exp")
    snapshot = store.snapshot(store.capture(look(Path(), workspace)))
    assert "new.py" in content(snapshot)


def test_a_folder_that_became_a_link_to_itself_is_captured(repo, workspace, store):
    shutil.rmtree(repo / "exp")
    (repo / "exp").symlink_to("exp")
    assert content(store.snapshot(store.capture(look(repo, workspace)))) == content(repo)


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
        tree = look(folder, Path(scratch))
        assert bool(tree.dirty) == (before != after)
        assert content(store.snapshot(store.capture(tree))) == after == content(folder)


# -- only reading, executing nothing ----------------------------------------------------------------------


def test_the_repository_is_byte_for_byte_as_it_was(repo, workspace, store):
    (repo / "staged.py").write_text("1")
    sh(repo, "add", "staged.py")
    (repo / "new.py").write_text("1")
    os.utime(repo / "exp" / "Tasks.py", (1, 1))  # what tempts git to refresh its index
    before = fingerprint(repo)
    tree = look(repo / "exp", workspace)
    store.snapshot(store.pin(tree))
    store.snapshot(store.capture(tree))
    assert fingerprint(repo) == before


def booby_trap(repo, mark):
    """Let every piece of configuration that may name a command name one that leaves a mark."""
    trap = repo.parent / "trap"
    trap.write_text(f"#!/bin/sh\necho $0 $@ >> {mark}\ncat\n")
    trap.chmod(0o755)
    (repo / ".gitattributes").write_text(
        "* filter=evil diff=evil merge=evil\n.gitignore filter=e=vil\nexp/* filter=e.vil\n"
    )
    (repo / "exp" / "More.py").write_text("1")
    commit(repo)
    for name in (
        *("core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "core.askPass", "core.gitProxy"),
        *("core.alternateRefsCommand", "pager.status", "pager.log", "diff.external", "diff.evil.command"),
        *(
            "diff.evil.textconv",
            "merge.evil.driver",
            "credential.helper",
            "gpg.program",
            "uploadpack.packObjectsHook",
        ),
        *("remote.origin.uploadpack", "filter.evil.clean", "filter.e=vil.clean", "filter.e.vil.clean"),
    ):
        sh(repo, "config", name, str(trap))
    for name in ("status", "rev-parse", "config", "ls-files", "upload-pack", "fetch"):
        sh(repo, "config", f"alias.{name}", f"!{trap}")
    sh(repo, "config", "filter.evil.required", "true")
    sh(repo, "config", "protocol.ext.allow", "always")
    sh(repo, "config", "log.showSignature", "true")
    hooks = repo / ".git" / "hooks"
    for name in ("post-index-change", "reference-transaction", "post-checkout", "pre-auto-gc", "post-commit"):
        hooks.mkdir(exist_ok=True)
        shutil.copy(trap, hooks / name)
    for path in (repo / "exp" / "Tasks.py", repo / "exp" / "More.py", repo / ".gitignore"):
        os.utime(path, (1, 1))  # a file whose time changed is read again, through its filter


def test_a_repository_executes_nothing_of_its_own(repo, workspace, store):
    mark = repo.parent / "mark"
    booby_trap(repo, mark)
    tree = look(repo / "exp", workspace)
    store.snapshot(store.pin(tree))
    (repo / "exp" / "new.py").write_text("1")
    (repo / "exp" / "More.py").write_text("2")
    tree = look(repo / "exp", workspace)
    assert tree.dirty == ("exp/More.py", "exp/new.py")
    store.snapshot(store.capture(tree))
    assert not mark.exists(), mark.read_text()
    sh(repo, "status")
    assert mark.exists(), "the traps are no traps"


def test_a_smudging_filter_is_refused_without_being_executed(repo, workspace):
    mark = repo.parent / "mark"
    booby_trap(repo, mark)
    for kind in ("smudge", "process"):
        sh(repo, "config", f"filter.evil.{kind}", str(repo.parent / "trap"))
    assert "rewrites" in refusal(look, repo, workspace)
    assert not mark.exists(), mark.read_text()


def test_a_persons_own_filters_leave_the_repository_alone_too(repo, workspace, store):
    mark = repo.parent / "mark"
    (repo / ".gitattributes").write_text("*.py filter=mine\n")
    commit(repo)
    sh(repo, "config", "--global", "filter.mine.clean", f"touch {mark}; cat")
    os.utime(repo / "exp" / "Tasks.py", (1, 1))
    store.snapshot(store.pin(look(repo, workspace)))
    (repo / "exp" / "Tasks.py").write_text("VALUE = 2\n")
    store.snapshot(store.capture(look(repo, workspace)))
    assert not mark.exists()


def test_a_submodules_own_configuration_is_not_executed(repo, workspace, tmp_path):
    mark = tmp_path / "mark"
    (repo / ".gitattributes").write_text("*.py filter=evil\n")
    commit(repo)
    sh(tmp_path, "clone", "-q", str(repo), "inner")
    sh(repo, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(tmp_path / "inner"), "sub")
    commit(repo)
    sh(repo / "sub", "config", "filter.evil.clean", f"touch {mark}; cat")
    os.utime(repo / "sub" / "exp" / "Tasks.py", (1, 1))
    look(repo, workspace)
    assert not mark.exists()
    sh(repo, "status")
    assert mark.exists(), "the trap is no trap"


def test_a_partial_clone_fetches_nothing(repo, workspace, tmp_path):
    (repo / ".gitattributes").write_text("* text\n")
    commit(repo)
    sh(repo, "config", "uploadpack.allowFilter", "true")
    sh(tmp_path, "clone", "-q", "--filter=blob:none", "--no-checkout", repo.as_uri(), "partial")
    partial, mark = tmp_path / "partial", tmp_path / "mark"
    sh(partial, "config", "remote.origin.uploadpack", f"touch {mark}; git-upload-pack")
    sh(partial, "read-tree", "HEAD")
    with contextlib.suppress(CodeError):  # git may or may not do without the attributes that are not there
        look(partial, workspace)
    assert not mark.exists()
    sh(partial, "ls-files", ":(exclude,attr:filter)")
    assert mark.exists(), "the trap is no trap"


def test_a_persons_configuration_does_not_change_what_is_captured(repo, workspace, store, monkeypatch):
    for name, value in (("COUNT", "1"), ("KEY_0", "core.fileMode"), ("VALUE_0", "false")):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    sh(repo, "config", "--global", "core.fileMode", "false")
    (repo / "run.sh").write_text("1")
    (repo / "run.sh").chmod(0o755)
    assert content(store.snapshot(store.capture(look(repo, workspace)))) == content(repo)


def test_settings_of_a_command_come_after_those_of_the_environment(repo, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "a.b")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "environment")
    said = git.run("config", "--get-regexp", "^[ax]\\.", folder=str(repo), settings=[("x.y=z.k", "command")])
    assert said.splitlines() == [b"a.b environment", b"x.y=z.k command"]


# -- processes --------------------------------------------------------------------------------------------

RACER = """
import sys
from pathlib import Path
from job_orchestration.files.code import CodeStore, look
tree = look(Path(sys.argv[1]), Path(sys.argv[2]))
store = CodeStore(Path(sys.argv[2]) / "Misc")
print("ready", flush=True)
sys.stdin.readline()
for commit in (store.pin(tree), store.capture(tree)):
    snapshot = store.snapshot(commit)
    print(len(list(snapshot.glob("many/*"))), flush=True)
"""


def test_racing_processes_all_get_the_whole_snapshot(repo, workspace):
    (repo / "many").mkdir()
    for i in range(60):
        (repo / "many" / str(i)).write_text(str(i))
    commit(repo)
    (repo / "many" / "new").write_text("1")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(repo), str(workspace)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        out, err = racer.communicate(timeout=60)
        assert (racer.returncode, err, out.split()) == (0, "", ["60", "61"])
    assert sorted(os.listdir(workspace / "Misc")) == ["code.git", "snapshots"]
    assert len(os.listdir(workspace / "Misc" / "snapshots")) == 2


def test_who_comes_second_takes_what_the_first_one_made(repo, workspace, store, monkeypatch):
    """Both find nothing and make it: forced by letting another store be first in between."""
    tree, other = look(repo, workspace), CodeStore(workspace / "Misc")
    in_place, firsts = code_module._put_in_place, [lambda: other.pin(tree), lambda: other.snapshot(tree.head)]

    def late(made, target):
        monkeypatch.setattr(code_module, "_put_in_place", in_place)
        firsts.pop(0)()
        in_place(made, target)

    for step in (store.pin, lambda t: store.snapshot(t.head)):
        monkeypatch.setattr(code_module, "_put_in_place", late)
        step(tree)
    assert not firsts
    assert (store.snapshot(tree.head) / "exp" / "Tasks.py").exists()
    assert sorted(os.listdir(workspace / "Misc")) == ["code.git", "snapshots"]


def test_the_store_is_written_by_one_process_at_a_time(repo, workspace, store, monkeypatch):
    keep, locked = store._keep, []

    def kept(commit):
        other = os.open(store._repository, os.O_RDONLY)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            locked.append(commit)
        finally:
            os.close(other)
        keep(commit)

    monkeypatch.setattr(store, "_keep", kept)
    (repo / "new.py").write_text("1")
    tree = look(repo, workspace)
    captured = store.capture(tree)
    assert locked == [tree.head, captured]


@pytest.fixture
def slow(tmp_path):
    """A file that git waits for until somebody writes it."""
    path = tmp_path / "slow"
    os.mkfifo(path)
    return path


def test_the_lock_of_the_store_lasts_as_long_as_its_git(repo, workspace, store, slow):
    store.pin(look(repo, workspace))
    with store._writing() as lock:
        held = os.dup(lock)  # our own copy, closed below as a kill would close it
    thread = threading.Thread(
        target=git.run, args=("hash-object", str(slow)), kwargs={"folder": str(repo), "hold": held}
    )
    fcntl.flock(held, fcntl.LOCK_EX)
    thread.start()
    writer = os.open(slow, os.O_WRONLY)  # opens when git has opened the other end
    os.close(held)
    other = os.open(store._repository, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(writer)
    thread.join()
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_a_git_that_hangs_is_ended_with_a_sentence(repo, slow):
    with pytest.raises(CodeError, match=r"git hash-object failed: it did not finish in 0.3 seconds\."):
        git.run("hash-object", str(slow), folder=str(repo), limit=0.3)
