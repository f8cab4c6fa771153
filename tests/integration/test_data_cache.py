"""The cache of parsed data: an entry is whole or not there, is made once, and goes when there is too much."""

from __future__ import annotations

import errno
import os
import threading
import time

import pytest

from job_orchestration.commands import gc
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.workspace import data_cache, durable, layout, locks, temporary_files

SHA = "0123456789abcdef" * 4
NAME = data_cache.name_of("edges", 1, SHA)
PARTS = [b"abc" * 100, b"", b"\x00" * 64, b"end"]


@pytest.fixture
def folder(root):
    """The cache of an empty workspace."""
    return layout.locate(str(root)).cache


def made():
    return {"columns": ["a"]}, PARTS


def never():
    raise AssertionError("it was there")


def content(entry):
    return None if entry is None else (entry.about, [bytes(part) for part in entry.parts])


def test_an_entry_is_what_was_made_of_it_and_is_made_once(folder):
    assert data_cache.found(folder, NAME) is None
    assert content(data_cache.found_or_made(folder, NAME, made)) == made()
    entry = data_cache.found_or_made(folder, NAME, never)
    assert content(entry) == made()
    with pytest.raises(TypeError):
        entry.parts[0][0] = 1  # it is shared by all workers
    assert os.listdir(folder) == [NAME]


def test_an_entry_that_was_changed_or_cut_off_anywhere_is_made_again(folder):
    data_cache.found_or_made(folder, NAME, made)
    path = os.path.join(folder, NAME)
    with open(path, "rb") as file:
        whole = file.read()
    spoilt = [whole[:size] for size in (0, 1, 40, len(whole) - 65, len(whole) - 1)]
    spoilt += [whole + b"x", b"{}\n", b"[1]\n" + whole, b"\xff" * len(whole)]
    spoilt += [
        whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        for place in (*range(5, whole.index(b"\n"), 7), *range(whole.index(b"\n") + 60, len(whole), 37))
    ]
    for data in spoilt:
        with open(path, "wb") as file:
            file.write(data)
        assert content(data_cache.found(folder, NAME)) is None, data[:80]
    with open(path, "wb") as file:
        file.write(spoilt[3])
    assert content(data_cache.found_or_made(folder, NAME, made)) == made()
    assert content(data_cache.found(folder, NAME)) == made()


def test_an_entry_under_the_name_of_other_data_or_of_another_version_is_not_used(folder):
    data_cache.found_or_made(folder, NAME, made)
    for other in (data_cache.name_of("edges", 2, SHA), data_cache.name_of("edges", 1, SHA[::-1])):
        assert data_cache.found(folder, other) is None
        os.link(os.path.join(folder, NAME), os.path.join(folder, other))
        assert data_cache.found(folder, other) is None


def test_what_is_no_plain_file_is_not_waited_for(folder):
    os.makedirs(folder)
    os.mkfifo(os.path.join(folder, NAME))
    assert data_cache.found(folder, NAME) is None
    assert content(data_cache.found_or_made(folder, NAME, made)) == made()


def test_of_two_that_need_an_entry_at_once_one_makes_it(folder, tmp_path):
    os.makedirs(folder)
    log = tmp_path / "log"

    def slowly():
        with log.open("a") as file:
            file.write("made\n")
        deadline = time.monotonic() + 20
        while not (tmp_path / "both").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return made()

    children = []
    for _ in range(2):
        if (pid := os.fork()) == 0:
            is_right = content(data_cache.found_or_made(folder, NAME, slowly)) == made()
            os._exit(0 if is_right else 1)
        children.append(pid)
    while not log.exists():
        time.sleep(0.01)
    (tmp_path / "both").touch()
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    assert log.read_text() == "made\n"


def test_a_process_that_waits_too_long_works_without_an_entry(folder, monkeypatch):
    monkeypatch.setattr(data_cache, "PATIENCE", 0.1)
    os.makedirs(folder)
    held, done = threading.Event(), threading.Event()

    def hold():
        with locks.folder_lock(folder):
            held.set()
            done.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    try:
        assert data_cache.found_or_made(folder, NAME, never) is None
    finally:
        done.set()
        holder.join()


def operations(folder):
    """The names of the operations that making an entry takes."""
    names = []
    durable.intercept = lambda operation, call: (names.append(operation.name), call())[1]
    try:
        data_cache.found_or_made(folder, NAME, made)
    finally:
        durable.intercept = None
    return names


@pytest.mark.parametrize("how", ["before", "after", "half", "error"])
def test_a_death_or_an_error_at_any_operation_leaves_no_entry_or_a_whole_one(root, folder, how):
    names = operations(folder)
    assert {"create", "append", "fsync", "rename", "fsync_folder"} <= set(names)
    for place in range(len(names)):
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)
        if (pid := os.fork()) == 0:
            seen = []

            def meet(operation, call):
                seen.append(operation)  # noqa: B023  it is called in this round
                if len(seen) - 1 != place:  # noqa: B023
                    return call()
                if how == "error":
                    raise OSError(errno.ENOSPC, "full")
                if how == "half" and operation.name == "append":
                    with open(operation.path, "ab") as file:
                        file.write(operation.data[: len(operation.data) // 2])
                if how == "after":
                    call()
                os._exit(9)

            durable.intercept = meet
            data_cache.found_or_made(folder, NAME, made)
            os._exit(3)
        os.waitpid(pid, 0)
        left = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        assert left <= {NAME, f"{NAME}.tmp{pid}"}, names[place]
        assert content(data_cache.found(folder, NAME)) in (None, made())
        for name in left - {NAME}:
            os.utime(os.path.join(folder, name), (0, 0))
        temporary_files.collect(layout.locate(str(root)))
        assert content(data_cache.found_or_made(folder, NAME, made)) == made()
        assert os.listdir(folder) == [NAME]


def test_gc_takes_the_oldest_entries_beyond_the_limit_and_nothing_else(root, folder):
    workspace = layout.locate(str(root))
    for number in range(4):
        name = data_cache.name_of("edges", 1, f"{number:064x}")
        data_cache.found_or_made(folder, name, lambda: ({}, [bytes(10_000)]))
        os.utime(os.path.join(folder, name), (number, number))
    (root / "Misc" / "cache" / "mine.txt").write_text("a person's")
    cached = [item for item in gc.look(workspace, gc.Wanted()) if item.kind is gc.Kind.CACHE]
    assert cached == []
    (root / "workspace.yaml").write_text("cacheLimit: 25K\n")
    gone = gc.collect(workspace, gc.Wanted())
    assert sorted(item.name for item in gone.items if item.kind is gc.Kind.CACHE) == [
        f"Misc/cache/edges.v1.{number:064x}" for number in (0, 1)
    ]
    assert len(os.listdir(folder)) == 3
    (root / "workspace.yaml").write_text("cacheLimit: much\n")
    with pytest.raises(UsageError, match="cacheLimit"):
        gc.look(workspace, gc.Wanted())


def test_what_is_too_large_for_one_write_is_not_kept(folder, monkeypatch):
    monkeypatch.setattr(data_cache, "_LARGEST", 100)
    assert data_cache.found_or_made(folder, NAME, made) is None
    assert os.listdir(folder) == []
