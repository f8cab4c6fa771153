"""What the tests of pinning do to repositories, and what they see in them."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from pathlib import Path

import pytest

from job_orchestration.diagnostics.errors import CodeError

NAME = {f"GIT_{r}_{w}": "a@b" for r in ("AUTHOR", "COMMITTER") for w in ("NAME", "EMAIL")}


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
