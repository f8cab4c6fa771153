"""The person's repository is only read and never executed, by however many processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import threading

import pytest

from job_orchestration.code import git, snapshots
from job_orchestration.code.snapshots import CodeStore
from job_orchestration.code.work_tree import inspect_work_tree
from job_orchestration.diagnostics.errors import CodeError
from tests.integration.pinning.repositories import commit, content, fingerprint, refusal, sh

# -- only reading, executing nothing ----------------------------------------------------------------------


def test_the_repository_is_byte_for_byte_as_it_was(repo, workspace, store):
    (repo / "staged.py").write_text("1")
    sh(repo, "add", "staged.py")
    (repo / "new.py").write_text("1")
    os.utime(repo / "exp" / "Tasks.py", (1, 1))  # what tempts git to refresh its index
    before = fingerprint(repo)
    tree = inspect_work_tree(repo / "exp", workspace)
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
    tree = inspect_work_tree(repo / "exp", workspace)
    store.snapshot(store.pin(tree))
    (repo / "exp" / "new.py").write_text("1")
    (repo / "exp" / "More.py").write_text("2")
    tree = inspect_work_tree(repo / "exp", workspace)
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
    assert "rewrites" in refusal(inspect_work_tree, repo, workspace)
    assert not mark.exists(), mark.read_text()


def test_a_persons_own_filters_leave_the_repository_alone_too(repo, workspace, store):
    mark = repo.parent / "mark"
    (repo / ".gitattributes").write_text("*.py filter=mine\n")
    commit(repo)
    sh(repo, "config", "--global", "filter.mine.clean", f"touch {mark}; cat")
    os.utime(repo / "exp" / "Tasks.py", (1, 1))
    store.snapshot(store.pin(inspect_work_tree(repo, workspace)))
    (repo / "exp" / "Tasks.py").write_text("VALUE = 2\n")
    store.snapshot(store.capture(inspect_work_tree(repo, workspace)))
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
    inspect_work_tree(repo, workspace)
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
        inspect_work_tree(partial, workspace)
    assert not mark.exists()
    sh(partial, "ls-files", ":(exclude,attr:filter)")
    assert mark.exists(), "the trap is no trap"


def test_a_persons_configuration_does_not_change_what_is_captured(repo, workspace, store, monkeypatch):
    for name, value in (("COUNT", "1"), ("KEY_0", "core.fileMode"), ("VALUE_0", "false")):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    sh(repo, "config", "--global", "core.fileMode", "false")
    (repo / "run.sh").write_text("1")
    (repo / "run.sh").chmod(0o755)
    assert content(store.snapshot(store.capture(inspect_work_tree(repo, workspace)))) == content(repo)


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
from job_orchestration.code.snapshots import CodeStore
from job_orchestration.code.work_tree import inspect_work_tree
tree = inspect_work_tree(Path(sys.argv[1]), Path(sys.argv[2]))
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
    tree, other = inspect_work_tree(repo, workspace), CodeStore(workspace / "Misc")
    in_place, firsts = snapshots._put_in_place, [lambda: other.pin(tree), lambda: other.snapshot(tree.head)]

    def late(made, target):
        monkeypatch.setattr(snapshots, "_put_in_place", in_place)
        firsts.pop(0)()
        in_place(made, target)

    for step in (store.pin, lambda t: store.snapshot(t.head)):
        monkeypatch.setattr(snapshots, "_put_in_place", late)
        step(tree)
    assert not firsts
    assert (store.snapshot(tree.head) / "exp" / "Tasks.py").exists()
    assert sorted(os.listdir(workspace / "Misc")) == ["code.git", "snapshots"]


def test_the_store_is_written_by_one_process_at_a_time(repo, workspace, store, monkeypatch):
    keep, locked = store._keep, []

    def kept(commit, modules=()):
        other = os.open(store._repository, os.O_RDONLY)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            locked.append(commit)
        finally:
            os.close(other)
        keep(commit, modules)

    monkeypatch.setattr(store, "_keep", kept)
    (repo / "new.py").write_text("1")
    tree = inspect_work_tree(repo, workspace)
    captured = store.capture(tree)
    assert locked == [tree.head, captured]


@pytest.fixture
def slow(tmp_path):
    """A file that git waits for until somebody writes it."""
    path = tmp_path / "slow"
    os.mkfifo(path)
    return path


def test_the_lock_of_the_store_lasts_as_long_as_its_git(repo, workspace, store, slow):
    store.pin(inspect_work_tree(repo, workspace))
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
    with pytest.raises(CodeError, match=r"git hash-object failed: it did not finish in 0.3 s\."):
        git.run("hash-object", str(slow), folder=str(repo), limit=0.3)
