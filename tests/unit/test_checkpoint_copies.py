"""The files of a checkpoint in another run: complete, checked, and never one file with two owners."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from job_orchestration.runs import checkpoint_copies
from job_orchestration.runs.artifact_store import ArtifactStore
from job_orchestration.runs.checkpoint_copies import ChangedCheckpointError, take
from job_orchestration.runs.events import OutputFile
from job_orchestration.runs.state import TaskState, TaskStatus

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"a.txt": b"one", "deep/er/b.bin": b"\0" * 5000, "program": b"#!/bin/sh\n"}


@pytest.fixture
def earlier(tmp_path: Path) -> tuple[Path, TaskState]:
    """The folder of a run, and its finished task."""
    folder = tmp_path / "earlier"
    for name, content in FILES.items():
        path = folder / "load~2" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "load~2" / "empty").mkdir()
    (folder / "load~2" / "program").chmod(0o755)
    outputs = tuple(
        OutputFile(f"load~2/{name}", len(content), hashlib.sha256(content).hexdigest())
        for name, content in FILES.items()
    )
    return folder, TaskState("load", "Load", TaskStatus.FINISHED, folder="load~2", outputs=outputs)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "now"
    folder.mkdir()
    return folder


def test_all_is_taken_and_each_run_has_its_own(earlier: tuple[Path, TaskState], target: Path):
    folder, task = earlier
    name, outputs = take(str(folder), task, ArtifactStore(str(target), "load", "1.reuse"))
    assert name == "load"
    assert [(o.path, o.bytes, o.sha256) for o in outputs] == [
        (o.path.replace("load~2", "load"), o.bytes, o.sha256) for o in task.outputs
    ]
    for file, content in FILES.items():
        copy, original = target / "load" / file, folder / "load~2" / file
        assert copy.read_bytes() == content
        assert copy.stat().st_ino != original.stat().st_ino
        assert (copy.stat().st_mode, copy.stat().st_mtime_ns) == (
            original.stat().st_mode,
            original.stat().st_mtime_ns,
        )
    assert (target / "load" / "empty").is_dir()
    assert os.listdir(target / ".partial") == []


@pytest.mark.parametrize("change", ["content", "size", "gone", "link"])
def test_a_file_that_is_not_what_it_was_is_not_taken(
    earlier: tuple[Path, TaskState], target: Path, change: str
):
    folder, task = earlier
    path = folder / "load~2" / "a.txt"
    path.unlink()
    if change == "link":
        path.symlink_to(folder / "load~2" / "program")
    elif change != "gone":
        path.write_bytes({"content": b"two", "size": b"longer"}[change])
    with pytest.raises(ChangedCheckpointError, match=r"load~2/a.txt"):
        take(str(folder), task, ArtifactStore(str(target), "load", "1.reuse"))
    assert not (target / "load").exists()


@pytest.mark.parametrize(("user", "is_linked"), [(0, False), (1000, True)])
def test_only_what_is_write_protected_is_linked_and_not_by_root(
    earlier: tuple[Path, TaskState], target: Path, monkeypatch, user: int, is_linked: bool
):
    folder, task = earlier
    protected = folder / "load~2" / "a.txt"
    protected.chmod(0o444)
    monkeypatch.setattr(checkpoint_copies.os, "geteuid", lambda: user)
    take(str(folder), task, ArtifactStore(str(target), "load", "1.reuse"))
    assert (target / "load" / "a.txt").samefile(protected) == is_linked
    assert not (target / "load" / "program").samefile(folder / "load~2" / "program")
