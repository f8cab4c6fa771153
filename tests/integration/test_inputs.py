"""The files that a config names as ``inputs`` are there when it is queued, recorded, and compared later."""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from job_orchestration.cli import render
from job_orchestration.commands.show import show
from job_orchestration.runs import file_hashes, input_files, inputs, provenance_file
from job_orchestration.runs.file_hashes import FileHashes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.harness import Sandbox

TASKS = """
    import os, time
    from pathlib import Path

    from job_orchestration import TaskBase


    class Reads(TaskBase):
        def run(self):
            return [Path(name).read_text() for name in self.config["inputs"]]


    class Writes(TaskBase):
        def run(self):
            Path(self.config["spoils"]).write_text("spoilt")


    class Touches(TaskBase):
        def run(self):
            os.utime(self.config["touches"])


    class Dies(TaskBase):
        def run(self):
            if not Path(self.config["notes"], "died").exists():
                Path(self.config["notes"], "died").touch()
                Path(self.config["spoils"]).write_text("spoilt")
                os._exit(1)
"""
OLD = 1_600_000_000


def made(path: Path, text: str = "content") -> Path:
    """Write a file that was not changed lately."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (OLD, OLD))
    return path


def provenance(sandbox: Sandbox, run: str) -> dict[str, Any]:
    found = provenance_file.read(sandbox.workspace.run_folder(run))
    assert found is not None
    return found


def finished(sandbox: Sandbox, run: str) -> dict[str, dict[str, Any]]:
    lines = [
        json.loads(line)
        for path in sorted((sandbox.root / "Output" / run / "journal").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    return {line["task"]: line for line in lines if line["event"] == "task_finished"}


def test_size_time_and_hash_of_each_input_are_recorded(sandbox: Sandbox) -> None:
    genes = made(sandbox.folder / "data/genes.tsv", "abc")
    made(sandbox.folder / "data/sets/deep/one.txt")
    sandbox.queue(
        "a",
        "Reads",
        inputs=[str(genes), str(sandbox.folder / "data/s*")],
        tasks=[{"id": "reads", "method": "Reads", "inputs": [str(genes)]}],
    )
    sandbox.work()
    found = provenance(sandbox, "a")
    about = found["inputs"]
    assert (about["files"], about["bytes"], about["missing"]) == (2, 10, [])
    listed = inputs.recorded(sandbox.workspace, found)
    assert listed[str(genes)] == {
        "path": str(genes),
        "bytes": 3,
        "mtime": "2020-09-13T12:26:40+00:00",
        "sha256": hashlib.sha256(b"abc").hexdigest(),
    }
    assert str(sandbox.folder / "data/sets/deep/one.txt") in listed
    assert finished(sandbox, "a")["reads"]["inputs"] == about["digest"]
    assert "changed" not in about


def test_a_relative_input_is_the_committed_file_that_tasks_read(sandbox: Sandbox) -> None:
    made(sandbox.repository / "table.txt", "committed")
    sandbox.commit()
    sandbox.queue("a", "Reads", inputs=["table.txt"])
    (sandbox.repository / "table.txt").write_text("changed since")
    sandbox.work()
    listed = inputs.recorded(sandbox.workspace, provenance(sandbox, "a"))
    assert listed["table.txt"]["sha256"] == hashlib.sha256(b"committed").hexdigest()
    assert finished(sandbox, "a")["reads"]["result"] == ["committed"]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("{folder}/none.tsv", "is not there"),
        ("{folder}/*.none", "is not there"),
        ("none.tsv", "begins at the committed files of pathToTasks"),
        ("ignored.txt", "is not in the commit"),
        ("{folder}/pipe", "cannot be read, or is no file"),
    ],
)
def test_a_missing_input_is_a_problem_with_its_line(sandbox: Sandbox, pattern: str, words: str) -> None:
    (sandbox.repository / ".gitignore").write_text("ignored.txt\n")
    sandbox.commit()
    (sandbox.repository / "ignored.txt").write_text("data")
    os.mkfifo(sandbox.folder / "pipe")
    sandbox.drop("a", "Reads", inputs=["Tasks.py", pattern.format(folder=sandbox.folder)])
    (problem,) = sandbox.ready().refused["a.yaml"]
    assert (problem.key, problem.line > 0) == ("inputs[1]", True)
    assert words in problem.what


def test_inputs_are_a_list_of_paths(sandbox: Sandbox) -> None:
    sandbox.drop("a", "Reads", inputs={"genes": "x"})
    (problem,) = sandbox.ready().refused["a.yaml"]
    assert problem.key == "inputs"
    assert "list of paths and globs" in problem.what


def test_an_input_that_changes_is_a_warning_and_the_task_vouches_for_none(sandbox: Sandbox) -> None:
    spoilt = made(sandbox.folder / "data/x")
    sandbox.queue("a", "Writes", "Touches", inputs=str(spoilt), spoils=str(spoilt), touches=str(spoilt))
    sandbox.work()
    (change,) = inputs.changes_of(provenance(sandbox, "a"))
    assert (change["path"], change["how"], change["task"]) == (str(spoilt), "changed", "writes")
    tasks = finished(sandbox, "a")
    assert "inputs" not in tasks["writes"]
    assert tasks["touches"]["inputs"] != provenance(sandbox, "a")["inputs"]["digest"], "the new content"
    shown = render.shown(show(sandbox.workspace, "a"))
    assert f"warning: input {spoilt} changed while task writes ran" in shown
    assert "has changed while task writes ran" in (sandbox.root / "Output/a/log.log").read_text()


def test_a_file_that_appears_is_a_change_and_one_that_is_touched_is_none(sandbox: Sandbox) -> None:
    here = made(sandbox.folder / "data/x")
    new = sandbox.folder / "data/new"
    sandbox.queue("a", "Touches", "Writes", inputs=[str(here.parent)], spoils=str(new), touches=str(here))
    sandbox.work()
    (change,) = inputs.changes_of(provenance(sandbox, "a"))
    assert (change["path"], change["how"], change["task"]) == (str(new), "new", "writes")


def test_an_input_that_changes_between_two_attempts_is_noticed(sandbox: Sandbox) -> None:
    spoilt = made(sandbox.folder / "data/x")
    sandbox.queue("a", "Dies", inputs=[str(spoilt)], spoils=str(spoilt))
    sandbox.work()
    (change,) = inputs.changes_of(provenance(sandbox, "a"))
    assert (change["path"], change["how"], change["task"]) == (str(spoilt), "changed", None)


@pytest.mark.slow
def test_runs_with_the_same_inputs_share_one_list_and_hash_them_once(sandbox: Sandbox) -> None:
    genes = made(sandbox.folder / "data/genes.tsv")
    for name in ("a", "b", "c"):
        sandbox.queue(name, "Reads", inputs=[str(genes)])
    time.sleep(max(0.0, genes.stat().st_ctime + file_hashes.RECENT + 0.1 - time.time()))
    sandbox.work()
    assert len(list((sandbox.root / "Misc/inputs").iterdir())) == 1
    lines = [
        line for path in (sandbox.root / "Misc/hashes").iterdir() for line in path.read_text().splitlines()
    ]
    assert len(lines) == 1, "a later run has hashed it again"


def test_a_version_is_hashed_once_and_a_changed_file_again(tmp_path: Path) -> None:
    path = made(tmp_path / "x", "one")
    read: list[int] = []
    hashes = FileHashes(str(tmp_path / "hashes"), read.append)
    first = hashes.of(str(path))
    assert hashes.of(str(path)) == first
    path.write_text("two")
    assert hashes.of(str(path))[1] == hashlib.sha256(b"two").hexdigest()
    assert read == [3, 3]


def test_a_file_that_was_changed_just_now_is_not_remembered(tmp_path: Path, monkeypatch) -> None:
    path = made(tmp_path / "x", "one")
    status = path.stat()
    hashes = FileHashes(str(tmp_path / "hashes"))
    hashes.of(str(path))
    hashes.save()
    assert not (tmp_path / "hashes").exists()
    monkeypatch.setattr(file_hashes.time, "time", lambda: status.st_ctime + 2 * file_hashes.RECENT)
    later = FileHashes(str(tmp_path / "hashes"))
    later.of(str(path))
    later.save()
    read: list[int] = []
    FileHashes(str(tmp_path / "hashes"), read.append).of(str(path))
    assert read == []


def test_the_cache_of_hashes_stays_small_and_survives_any_damage(tmp_path: Path, monkeypatch) -> None:
    path = made(tmp_path / "x", "one")
    soon = path.stat().st_ctime + 2 * file_hashes.RECENT
    monkeypatch.setattr(file_hashes.time, "time", lambda: soon)
    monkeypatch.setattr(file_hashes, "_LARGEST", 1000)
    folder = tmp_path / "hashes"
    for number in range(40):
        os.utime(path, ns=(number, number))
        hashes = FileHashes(str(folder))
        hashes.of(str(path))
        hashes.save()
    (part,) = folder.iterdir()
    assert part.stat().st_size <= 1000
    part.write_bytes(b"\xff\xfe half a line\n" + part.read_bytes()[:50])
    assert FileHashes(str(folder)).of(str(path))[1] == hashlib.sha256(b"one").hexdigest()


def test_folders_that_link_to_one_another_are_read_once(tmp_path: Path) -> None:
    made(tmp_path / "data/a/x")
    (tmp_path / "data/a/up").symlink_to(tmp_path / "data")
    (tmp_path / "data/dangling").symlink_to(tmp_path / "nothing")
    found = input_files.find([str(tmp_path / "data")], "/")
    assert list(found.files) == [str(tmp_path / "data/a/x")]


def test_the_digest_is_one_of_paths_and_contents(sandbox: Sandbox) -> None:
    path = made(sandbox.folder / "data/x", "one")

    def digest() -> str:
        return inputs.current(sandbox.workspace, [str(path)], "/").digest

    first = digest()
    os.utime(path)
    assert digest() == first
    path.write_text("two")
    assert digest() != first
    path.write_text("one")
    assert digest() == first
    path.unlink()
    assert digest() != first


def test_the_progress_of_large_inputs_stands_in_the_log(
    tmp_path: Path, sandbox: Sandbox, monkeypatch
) -> None:
    from job_orchestration.executor import input_recorder
    from job_orchestration.executor.shared_memory import SharedPage, create

    path = made(tmp_path / "x")
    with path.open("wb") as file:
        file.truncate(5 << 20)
    monkeypatch.setenv("JOB_ORCHESTRATION_WORKSPACE", str(sandbox.root))
    monkeypatch.setattr(input_recorder, "FIRST", 0.0)
    monkeypatch.setattr(input_recorder, "EVERY", 0.0)
    sandbox.queue("a", "Reads", inputs=[str(path)])
    said: list[str] = []
    folder = sandbox.workspace.run_folder("a")
    shared_page = SharedPage(create())
    shared_page.reset()
    input_recorder.InputRecorder(folder, [str(path)], lambda line, _: said.append(line), shared_page).begin()
    shared_page.close()
    assert said[0] == "Hashing the inputs: 1 MB of 5.2 MB"
    assert said[-1] == "Inputs: 1 file, 5.2 MB"
