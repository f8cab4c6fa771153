"""Somebody may read a workspace and not write into it: what is said then helps, and is true."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.plain_user import IS_ROOT, PlainUser

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def user() -> Iterator[PlainUser]:
    made = Path(tempfile.mkdtemp(prefix="job_orchestration."))
    yield PlainUser(made)
    for folder, _, _ in os.walk(made):
        Path(folder).chmod(0o755)
    shutil.rmtree(made)


@pytest.mark.slow
def test_a_run_of_a_workspace_that_cannot_be_written_is_rerun_as_the_message_says(user: PlainUser) -> None:
    user.drop("a", user.repository("repository"))
    user.run("ready")
    user.run("work", "--until-idle")
    folders = [Path(folder) for folder, _, _ in os.walk(user.workspace)]
    for folder in folders:
        if IS_ROOT:
            os.chown(folder, 0, -1)
        folder.chmod(0o555)
    before = sorted(map(str, user.workspace.rglob("*")))
    opening = user.workspace / "Misc/opening"
    why = "it is another user's" if IS_ROOT else "its rights forbid it"
    for words in ((), ("--from", "one"), ("--dry-run",), ("--here", "--verify")):
        said = user.run("rerun", "a", *words, check=4)
        assert said.stdout == ""
        assert said.stderr == (
            f"{opening} cannot be written: {why}. Rerun it in a workspace of your own: write it with export, "
            "and take it over there with import.\n"
        )
    assert sorted(map(str, user.workspace.rglob("*"))) == before
    said = user.run("verify", "a", "--against", "a", check=4).stderr
    assert "Permission denied. Ask its owner for the right to do this, or use a workspace of your own" in said
    own, archive = str(user.folder / "own"), str(user.folder / "a.zip")
    user.run("export", "a", "--to", archive)
    user.run("init", "--workspace", own)
    user.run("import", archive, "--workspace", own)
    assert "a-rerun: is queued" in user.run("rerun", "a", "--workspace", own).stdout
