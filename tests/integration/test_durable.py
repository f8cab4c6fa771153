"""Durable writes: killed or refused anywhere, they leave the old state or the new one, and never a third."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from job_orchestration.workspace import durable
from tests.integration.harness import PACKAGE
from tests.integration.write_faults import HOW, Killed, failing, intercepted, operations_of

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = b"the old content\n", b"the new content, which is longer\n"


def seen(folder: Path) -> dict[str, bytes | None]:
    """What a reader sees: temporary files do not count."""
    found = sorted(p for p in folder.rglob("*") if ".tmp" not in p.name)
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in found}


def replace(folder: Path) -> None:
    durable.replace(str(folder / "file"), NEW)


def make_folder(folder: Path) -> None:
    durable.make_folder(str(folder / "a" / "b"))


def move(folder: Path) -> None:
    durable.move_new(str(folder / "file"), str(folder / "there" / "file"))


def rename_folder(folder: Path) -> None:
    durable.rename_folder(str(folder / "staged"), str(folder / "there" / "task"))


CASES = {
    replace: ("create", "append", "fsync", "rename", "fsync_folder"),
    make_folder: ("mkdir", "fsync_folder", "mkdir", "fsync_folder"),
    move: ("link", "fsync_folder", "unlink", "fsync_folder"),
    rename_folder: ("rename", "fsync_folder", "fsync_folder"),
}


def states(operation, folder: Path) -> list[dict]:
    """The states that may be seen, the last of them when the action has ended."""
    if operation is replace:
        return [{**BEFORE, "file": content} for content in (OLD, NEW)]
    if operation is make_folder:
        return [BEFORE, {**BEFORE, "a": None}, {**BEFORE, "a": None, "a/b": None}]
    if operation is move:
        both = {**BEFORE, "there/file": OLD}
        return [BEFORE, both, {k: v for k, v in both.items() if k != "file"}]
    after = {k: v for k, v in BEFORE.items() if not k.startswith("staged")}
    return [BEFORE, {**after, "there/task": None, "there/task/x": OLD}]


BEFORE = {"file": OLD, "staged": None, "staged/x": OLD, "there": None}


def prepare(folder: Path) -> None:
    folder.mkdir()
    for name in ("there", "staged"):
        (folder / name).mkdir()
    for name in ("file", "staged/x"):
        (folder / name).write_bytes(OLD)
    assert seen(folder) == BEFORE


@pytest.mark.parametrize("operation", CASES, ids=lambda a: a.__name__)
def test_a_write_makes_exactly_the_operations_that_the_fault_tests_know(tmp_path, operation):
    prepare(tmp_path / "x")
    made = operations_of(lambda: operation(tmp_path / "x"))
    assert tuple(line.partition(" ")[0] for line in made) == CASES[operation]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("operation", CASES, ids=lambda a: a.__name__)
def test_a_write_that_is_cut_anywhere_leaves_the_old_state_or_the_new(tmp_path, operation, how):
    for at in range(1, len(CASES[operation]) + 1):
        folder = tmp_path / str(at)
        prepare(folder)
        descriptors = len(os.listdir("/proc/self/fd"))
        with failing(at, how), pytest.raises((Killed, OSError)):
            operation(folder)
        assert seen(folder) in states(operation, folder)
        if how.startswith("E"):
            assert len(os.listdir("/proc/self/fd")) == descriptors, (
                "a process that lives on keeps nothing open"
            )
        with suppress(FileNotFoundError):  # a move or a rename that had been made already
            operation(folder)
        assert seen(folder) == states(operation, folder)[-1], "doing it again ends in the new state"


@pytest.mark.parametrize("how", HOW)
def test_a_new_file_is_whole_or_is_seen_not_to_be(tmp_path, how):
    for at in range(1, 4):
        path = tmp_path / f"{at}"
        with failing(at, how), pytest.raises((Killed, OSError)):
            durable.write_new(str(path), NEW)
        if how in {"ENOSPC", "EIO", "EDQUOT"}:
            assert not path.exists(), "what the disk refused is taken away again"
        elif path.exists():
            assert NEW.startswith(path.read_bytes())
    durable.write_new(str(tmp_path / "whole"), NEW)
    with pytest.raises(FileExistsError):
        durable.write_new(str(tmp_path / "whole"), OLD)
    assert (tmp_path / "whole").read_bytes() == NEW


def test_a_move_never_replaces_another_file_and_can_be_done_again(tmp_path):
    prepare(tmp_path / "x")
    source, target = tmp_path / "x" / "file", tmp_path / "x" / "there" / "file"
    target.write_bytes(NEW)
    with pytest.raises(FileExistsError):
        durable.move_new(str(source), str(target))
    assert (source.read_bytes(), target.read_bytes()) == (OLD, NEW)
    target.unlink()
    os.link(source, target)
    durable.move_new(str(source), str(target))
    assert not source.exists()


def test_content_reaches_the_disk_before_its_name_and_the_name_before_the_next_step(tmp_path):
    prepare(tmp_path / "x")
    assert operations_of(lambda: replace(tmp_path / "x"))[-3:] == [
        f"fsync file.tmp{os.getpid()}",
        "rename file",
        "fsync_folder x",
    ]
    made = operations_of(lambda: make_folder(tmp_path / "x"))
    assert made == ["mkdir a", "fsync_folder x", "mkdir b", "fsync_folder a"]
    (tmp_path / "x" / "a" / "b" / "one").touch()
    (tmp_path / "x" / "a" / "link").symlink_to("/etc/passwd")
    made = operations_of(lambda: durable.sync_tree(str(tmp_path / "x" / "a")))
    assert made == ["fsync_folder a", "fsync one", "fsync_folder b"]


def test_a_folder_that_two_make_at_once_is_made_once(tmp_path):
    def be_quicker(operation, call):
        if operation.name == "mkdir":
            os.mkdir(operation.path)
        return call()

    with intercepted(be_quicker):
        assert not durable.make_folder(str(tmp_path / "a"))
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        durable.make_folder(str(tmp_path / "file"))


def test_a_reader_never_sees_half_a_file(tmp_path):
    source = (
        "import sys\n"
        "from job_orchestration.workspace import durable\n"
        "for n in range(400):\n"
        "    durable.write_view(sys.argv[1], b'%d ' % n * 20_000)\n"
    )
    path = tmp_path / "view"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    writer = subprocess.Popen([sys.executable, "-P", "-c", source, str(path)], env=environment)
    while writer.poll() is None:
        with suppress(FileNotFoundError):
            words = path.read_bytes().split()
            assert len(words) == 20_000
            assert len(set(words)) == 1
    assert writer.returncode == 0
    assert [p.name for p in tmp_path.iterdir()] == ["view"]


def test_operations_are_counted_by_name(tmp_path):
    before = durable.counts["rename"]
    prepare(tmp_path / "x")
    replace(tmp_path / "x")
    assert durable.counts["rename"] == before + 1


def test_a_small_view_is_brought_up_to_date_where_it_lies(tmp_path):
    path = tmp_path / "status.yaml"
    durable.overwrite_view(str(path), b"status: READY\nmore: 1\n")
    inode = path.stat().st_ino
    durable.overwrite_view(str(path), b"status: COMPLETE\n")
    assert path.read_bytes().rstrip(b"\n") + b"\n" == b"status: COMPLETE\n"
    assert path.stat().st_ino == inode
    durable.overwrite_view(str(path), b"status: FAILED\n" * 10)
    assert path.read_bytes() == b"status: FAILED\n" * 10
    assert [p.name for p in tmp_path.iterdir()] == ["status.yaml"]


def test_a_view_that_was_made_a_link_is_replaced_and_its_target_left_alone(tmp_path):
    target = tmp_path / "mine.txt"
    target.write_text("keep")
    (tmp_path / "status.yaml").symlink_to(target)
    durable.overwrite_view(str(tmp_path / "status.yaml"), b"status: READY\n")
    assert (target.read_text(), (tmp_path / "status.yaml").read_bytes()) == ("keep", b"status: READY\n")


@pytest.mark.skipif(sys.platform != "linux", reason="no other system has such a call")
def test_a_file_system_that_cannot_be_synced_is_an_error():
    with pytest.raises(OSError, match="Bad file descriptor"):
        durable.sync_file_system(-1, "nowhere")
