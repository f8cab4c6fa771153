"""Looking at a work tree: where it is, what differs, and a sentence for all that cannot be pinned."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from job_orchestration.code import git, snapshots
from job_orchestration.code.work_tree import inspect_work_tree, without_credentials
from tests.integration.pinning.repositories import commit, refusal, sh

# -- looking ------------------------------------------------------------------------------------------------


def test_looking_tells_where_the_tasks_are_and_at_which_commit(repo, workspace):
    sh(repo, "remote", "add", "origin", "https://me:secret@example.org/you/project.git")
    tree = inspect_work_tree(repo / "exp", workspace)
    assert (tree.top, tree.folder, tree.branch, tree.dirty) == (repo.resolve(), "exp", "trunk", ())
    assert tree.head == sh(repo, "rev-parse", "HEAD")
    assert tree.origin == "https://example.org/you/project.git"
    assert inspect_work_tree(repo, workspace).folder == "."


def test_a_detached_head_has_no_branch_and_no_remote_is_no_origin(repo, workspace):
    sh(repo, "checkout", "-q", "--detach")
    tree = inspect_work_tree(repo, workspace)
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
def test_an_origin_is_shown_without_its_credentials(url, shown):
    assert without_credentials(url) == shown


@pytest.mark.seed_fault("B-JO-22")
def test_every_kind_of_change_is_dirt_untracked_files_too(repo, workspace):
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
    assert inspect_work_tree(repo / "exp", workspace).dirty == (
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
    assert inspect_work_tree(repo, workspace).dirty == ()


def test_a_workspace_inside_the_work_tree_is_no_dirt(repo):
    workspace = repo / "my workspace [1]"
    (workspace / "ConfigSources").mkdir(parents=True)
    (workspace / "ConfigSources" / "a.yaml").write_text("1")
    (repo / "my workspace 1").write_text("not the workspace")
    (repo / "exp" / "Tasks.pyc").write_text("1")
    assert inspect_work_tree(repo / "exp", workspace).dirty == ("my workspace 1",)


def test_a_workspace_around_the_tasks_hides_only_its_own_folders(repo):
    for name in ("ConfigSources", "Misc", "lib"):
        (repo / name).mkdir()
        (repo / name / "x.py").write_text("1")
    (repo / "exp" / "Tasks.py").write_text("VALUE = 2\n")
    assert inspect_work_tree(repo / "exp", repo).dirty == ("exp/Tasks.py", "lib/x.py")


def test_a_lock_on_the_index_does_not_matter(repo, workspace):
    (repo / ".git" / "index.lock").touch()
    (repo / "new.py").touch()
    assert inspect_work_tree(repo, workspace).dirty == ("new.py",)


def test_a_path_through_a_symbolic_link_and_a_linked_work_tree_are_found(repo, workspace, store, tmp_path):
    (tmp_path / "link").symlink_to(repo / "exp")
    assert inspect_work_tree(tmp_path / "link", workspace).folder == "exp"
    linked = tmp_path / "linked tree"
    sh(repo, "worktree", "add", "-q", "-b", "other", str(linked))
    (linked / "exp" / "Tasks.py").write_text("VALUE = 2\n")
    commit(linked)
    tree = inspect_work_tree(linked / "exp", workspace)
    assert (tree.top, tree.folder, tree.branch) == (linked.resolve(), "exp", "other")
    assert (store.snapshot(store.pin(tree)) / "exp" / "Tasks.py").read_text() == "VALUE = 2\n"


def test_variables_that_point_git_elsewhere_are_not_heard(repo, workspace, store, monkeypatch, tmp_path):
    head = sh(repo, "rev-parse", "HEAD")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "not what git writes")
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    assert store.pin(inspect_work_tree(repo, workspace)) == head
    assert not (tmp_path / "trace").exists()


def test_a_replaced_commit_is_still_the_commit_it_was(repo, workspace):
    (repo / "exp" / "Tasks.py").write_text("VALUE = 2\n")
    other = commit(repo)
    sh(repo, "reset", "-q", "--hard", "HEAD~1")
    sh(repo, "replace", "HEAD", other)
    sh(repo, "reset", "-q", "--hard")
    assert sh(repo, "status", "--porcelain") == ""
    assert inspect_work_tree(repo, workspace).dirty == ("exp/Tasks.py",)


# -- sentences ----------------------------------------------------------------------------------------------


def test_a_path_that_is_no_folder_is_refused(repo, workspace):
    assert "nope does not exist. Let pathToTasks" in refusal(inspect_work_tree, repo / "nope", workspace)
    assert "Tasks.py is not a folder" in refusal(inspect_work_tree, repo / "exp" / "Tasks.py", workspace)


def test_a_path_that_cannot_be_followed_is_refused_like_any_other(repo, workspace, tmp_path):
    long = refusal(inspect_work_tree, tmp_path / ("x" * 5000), workspace)
    assert "… cannot be looked at: File name too long. Let pathToTasks" in long
    assert len(long) < 500
    (tmp_path / "circle").symlink_to("circle")
    circle = refusal(inspect_work_tree, tmp_path / "circle", workspace)
    assert "circle cannot be looked at: " in circle or "circle does not exist" in circle


def test_a_folder_outside_of_any_work_tree_is_refused(tmp_path, workspace):
    (tmp_path / "plain").mkdir()
    said = refusal(inspect_work_tree, tmp_path / "plain", workspace)
    assert f"{tmp_path / 'plain'} is not in a git work tree. Run `git init` there and commit" in said


def test_a_bare_repository_and_a_git_folder_are_refused(repo, workspace, tmp_path):
    sh(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    assert "bare repository" in refusal(inspect_work_tree, tmp_path / "bare.git", workspace)
    assert "bare repository" in refusal(inspect_work_tree, repo / ".git", workspace)


def test_a_repository_without_a_commit_is_refused(tmp_path, workspace):
    sh(tmp_path, "init", "-q", "young")
    assert "has no commit yet. Commit the tasks there" in refusal(
        inspect_work_tree, tmp_path / "young", workspace
    )


def test_a_work_tree_elsewhere_is_refused(repo, workspace, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    sh(repo, "config", "core.worktree", str(tmp_path / "elsewhere"))
    assert "core.worktree" in refusal(inspect_work_tree, repo, workspace)


def test_a_repository_of_another_user_is_read_once_it_is_trusted(repo, workspace, store, monkeypatch):
    monkeypatch.setitem(git.ENVIRONMENT, "GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    said = refusal(inspect_work_tree, repo, workspace)
    assert f"git config --global --add safe.directory '{repo}'" in said
    sh(repo, "config", "--global", "--add", "safe.directory", str(repo))
    assert store.pin(inspect_work_tree(repo, workspace)) == sh(repo, "rev-parse", "HEAD")


def test_a_damaged_repository_is_refused_in_gits_own_words(repo, workspace):
    (repo / ".git" / "index").write_bytes(b"not an index at all")
    assert "git status failed" in refusal(inspect_work_tree, repo, workspace)


def test_no_git_is_one_sentence(repo, workspace, monkeypatch):
    inspect_work_tree(repo, workspace)
    env = shutil.which("env")
    monkeypatch.setenv("PATH", str(repo))
    assert refusal(inspect_work_tree, repo, workspace).startswith("git was not found.")
    (repo / "env").symlink_to(env)
    monkeypatch.setenv("GIT_DIR", "x")
    assert refusal(inspect_work_tree, repo, workspace).startswith("git was not found.")
    git.version.cache_clear()
    assert git.version() is None
    git.version.cache_clear()


def test_a_process_that_starts_without_git_says_so(repo, workspace):
    script = (
        "import pathlib, sys\n"
        "from job_orchestration.code.work_tree import inspect_work_tree\n"
        "from job_orchestration.diagnostics.errors import CodeError\n"
        "for _ in range(2):\n"
        "    try: inspect_work_tree(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[1]))\n"
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


def test_a_repository_inside_the_work_tree_is_not_captured(repo, workspace, store):
    commit(repo)
    sh(repo, "init", "-q", "nested")
    commit(repo / "nested")
    assert "no submodules of its commit: nested/" in refusal(
        store.capture, inspect_work_tree(repo, workspace)
    )


def test_lfs_attributes_without_such_files_are_fine(repo, workspace):
    (repo / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    commit(repo)
    assert inspect_work_tree(repo, workspace).dirty == ()


def test_files_that_git_rewrites_on_checkout_are_refused(repo, workspace):
    (repo / ".gitattributes").write_text("secret filter=a.crypt\nbook filter=strip\n")
    (repo / "secret").write_text("1")
    commit(repo)
    sh(repo, "config", "filter.strip.clean", "cat")
    sh(repo, "config", "filter.strip.smudge", "cat")
    assert inspect_work_tree(repo, workspace).dirty == ()
    sh(repo, "config", "filter.a.crypt.smudge", "tr 1 2")
    assert "filter command of git rewrites secret" in refusal(inspect_work_tree, repo, workspace)


def test_too_much_new_content_names_the_biggest_files(repo, workspace, store, monkeypatch):
    monkeypatch.setattr(snapshots, "CAPTURE_LIMIT", 3_000_000)
    (repo / "small").write_bytes(b"1")
    (repo / "big").write_bytes(b"1" * 1_500_000)
    (repo / "bigger").write_bytes(b"1" * 1_700_000)
    said = refusal(store.capture, inspect_work_tree(repo, workspace))
    assert "more than the 3 MB" in said
    assert "bigger (1.7 MB), big (1.5 MB), small" in said
    (repo / "big").unlink()
    store.capture(inspect_work_tree(repo, workspace))


def test_a_file_that_cannot_be_captured_is_named(repo, workspace, store):
    (repo / "exp" / "new.py").write_text("1")
    tree = inspect_work_tree(repo, workspace)
    (repo / "exp" / "new.py").unlink()
    os.mkfifo(repo / "exp" / "new.py")
    assert "exp/new.py" in refusal(store.capture, tree)


def test_a_commit_that_went_away_meanwhile_is_one_sentence(repo, workspace, store):
    tree = inspect_work_tree(repo, workspace)
    shutil.rmtree(repo)
    assert f"Commit {tree.head} of {tree.top} cannot be copied" in refusal(store.pin, tree)
    assert not store.has(tree.head)
