"""A FIFO where git reads a file is refused, and the drops of other repositories are queued."""

from __future__ import annotations

import os
import time

import pytest

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
}


@pytest.mark.slow
def test_a_fifo_in_a_repository_refuses_only_its_drops_and_soon(workspace, repository, drop, cli):
    for name, place in PLACES.items():
        folder = repository(name=name)
        path = folder / place
        if path.is_dir():
            path.rename(folder / "moved")
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
    began = time.monotonic()
    cli("ready", check=3)
    assert time.monotonic() - began < 30
    assert {"good"} <= set(names(workspace, "ConfigsToRun")) <= {"good", "untracked"}
    assert set(PLACES) | {"linked"} <= set(names(workspace, "ConfigSources"))
    problems = (workspace / "ConfigSources" / "head.yaml.problems.txt").read_text()
    assert ".git/HEAD is neither a file nor a folder, and git would wait for it" in problems
