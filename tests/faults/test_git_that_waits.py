"""A FIFO where git reads a file is refused, and the drops of other repositories are queued."""

from __future__ import annotations

import os
import time

import pytest

from job_orchestration.code import git
from tests.conftest import LIMIT, wait_until
from tests.faults.workspace_files import names

PLACES = {
    "head": ".git/HEAD",
    "config": ".git/config",
    "index": ".git/index",
    "exclude": ".git/info/exclude",
    "ignore": ".gitignore",
    "attributes": ".gitattributes",
    "tracked": "Tasks.py",
    "dot_git": ".git",
    "alternates": ".git/objects/info/alternates",
    "commondir": ".git/commondir",
}


@pytest.mark.slow
def test_a_fifo_in_a_repository_refuses_only_its_drops_and_soon(workspace, repository, drop, cli):
    for name, place in PLACES.items():
        folder = repository(name=name)
        path = folder / place
        if path.is_dir():
            path.rename(folder / "moved")
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        drop(name, {"pathToTasks": str(folder), "UNSAFE_ignoreDirtyCheck": True})
    linked = repository(name="linked")
    (linked / ".git" / "HEAD").unlink()
    (linked / ".git" / "HEAD").symlink_to("/dev/zero")
    drop("linked", {"pathToTasks": str(linked)})
    untracked = repository(name="untracked")
    os.mkfifo(untracked / "pipe")
    drop("untracked", {"pathToTasks": str(untracked), "UNSAFE_ignoreDirtyCheck": True})
    drop("good")
    assert git.LIMIT <= 30, "of a repository in which something else keeps git waiting"
    began = time.monotonic()
    cli("ready", check=3)
    assert time.monotonic() - began < 30
    assert {"good"} <= set(names(workspace, "ConfigsToRun")) <= {"good", "untracked"}
    assert set(PLACES) | {"linked"} <= set(names(workspace, "ConfigSources"))
    problems = (workspace / "ConfigSources" / "head.yaml.problems.txt").read_text()
    assert ".git/HEAD is neither a file nor a folder, and git would wait for it" in problems


@pytest.mark.slow
def test_git_that_waits_in_several_repositories_keeps_no_other_waiting(workspace, repository, drop, start):
    pipes = []
    for number in range(3):
        folder = repository(name=f"waits{number}")
        pipes.append(folder / ".git" / "included")
        os.mkfifo(pipes[-1])
        with (folder / ".git" / "config").open("a") as file:
            file.write(f"[include]\n\tpath = {pipes[-1]}\n")
        drop(f"a_waits{number}", {"pathToTasks": str(folder)})
    drop("b_good")
    drop("c_after", {"after": "a_waits1"})
    ready = start("ready")
    wait_until((workspace / "ConfigsToRun" / "b_good.yaml").exists)
    assert names(workspace, "ConfigsToRun") == ["b_good"]
    for pipe in pipes:
        writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)  # git waits for it
        pipe.with_suffix(".new").touch()
        pipe.with_suffix(".new").rename(pipe)
        os.close(writer)
    said, _ = ready.communicate(timeout=LIMIT)
    assert ready.returncode == 0, said
    assert names(workspace, "ConfigsToRun") == ["a_waits0", "a_waits1", "a_waits2", "b_good", "c_after"]
