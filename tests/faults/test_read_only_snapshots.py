"""Tasks of a plain user cannot change the code that other runs execute, and gc can still collect it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.plain_user import IS_ROOT, PlainUser
from tests.faults.workspace_files import events, names

if TYPE_CHECKING:
    from collections.abc import Iterator

TASKS = """
    import os
    from pathlib import Path

    from job_orchestration import TaskBase

    CODE = Path(__file__).parent


    class Tries(TaskBase):
        def run(self):
            refused = []
            places = [CODE / "new.py", CODE / "package" / "new.py", CODE / "package" / "deep" / "new.py"]
            for path in places:
                try:
                    path.write_text("VALUE = 'changed'")
                except PermissionError:
                    refused.append(str(path.relative_to(CODE)))
            try:
                os.replace(CODE / "package" / "part.py", CODE / "package" / "moved.py")
            except PermissionError:
                refused.append("move")
            Path("results").mkdir()
            Path("results", "new.txt").write_text("mine")
            return refused


    class Forces(TaskBase):
        def run(self):
            for folder in (CODE, CODE / "package"):
                os.chmod(folder, 0o755)
                (folder / "new.py").write_text("VALUE = 'changed'")
"""


@pytest.fixture
def user() -> Iterator[PlainUser]:
    made = Path(tempfile.mkdtemp(prefix="job_orchestration."))
    yield PlainUser(made)
    for folder, _, _ in os.walk(made):
        Path(folder).chmod(0o755)
    shutil.rmtree(made)


def writable(snapshot: Path) -> list[str]:
    return [folder for folder, _, _ in os.walk(snapshot) if os.stat(folder).st_mode & 0o222]


@pytest.mark.slow
def test_folders_of_a_snapshot_are_read_only_mended_and_collected(user):
    repository = user.repository("repository", TASKS)
    for name in ("package/part.py", "package/deep/part.py"):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text("VALUE = 1\n")
    for folder, _, files in os.walk(repository / "package"):
        for path in (folder, *(os.path.join(folder, file) for file in files)):
            user.own(Path(path))
    user.call("git", "-C", str(repository), "add", ".")
    user.call(
        *(
            "git",
            "-C",
            str(repository),
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "commit",
            "-qm",
            "package",
        )
    )
    user.drop("tries", repository, "Tries")
    user.run("ready")
    user.run("work", "--until-idle")
    (finished,) = events(user.workspace, "runs/tries", "task_finished")
    assert finished["result"] == ["new.py", "package/new.py", "package/deep/new.py", "move"]
    (snapshot,) = (user.workspace / "Misc" / "snapshots").iterdir()
    assert writable(snapshot) == []
    user.drop("forces", repository, "Forces")
    user.run("ready")
    user.run("work", "--until-idle")
    assert len(writable(snapshot)) == 2
    user.drop("again", repository, "Tries")
    user.run("ready")
    user.run("work", "--until-idle")
    assert writable(snapshot) == []
    assert not list(snapshot.rglob("new.py"))
    assert sorted(names(user.workspace, "Completed")) == ["again", "forces", "tries"]
    (snapshot / "package").chmod(0o755)  # as a kill between two steps leaves it
    snapshot.chmod(0o755)
    (snapshot / "package" / "mine.txt").write_text("mine")
    user.own(snapshot / "package" / "mine.txt")
    left = user.own_folder(user.workspace / "Misc" / ".making-left")  # by one that was killed, two days ago
    for folder in (left / "tree", left / "tree" / "deep"):
        user.own_folder(folder)
        (folder / "part.py").write_text("")
    for folder in (left / "tree" / "deep", left / "tree"):
        folder.chmod(0o555)
    os.utime(left, (time.time() - 2 * 86_400,) * 2)
    found = json.loads(user.run("gc", "--yes", "--json").stdout)
    assert found
    assert not snapshot.exists()
    assert not list((user.workspace / "Misc").glob(".making-*")), "it could be deleted"
    (kept,) = (user.workspace / "Misc" / "trash").glob("*/*/package/mine.txt")
    assert kept.read_text() == "mine"
    assert IS_ROOT or os.geteuid() == kept.stat().st_uid
