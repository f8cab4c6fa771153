"""Tokens and claims: one holder at a time, numbers that only grow, moves that never end half-way."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from job_orchestration.diagnostics.errors import ClaimLostError
from job_orchestration.runs import claims, journal, lifecycle, token
from job_orchestration.runs.claims import UnfitTokenError
from job_orchestration.runs.events import Claimed, Completed, HandedBack
from job_orchestration.workspace import durable, layout
from job_orchestration.workspace.naming import TokenName
from tests.integration.harness import PACKAGE
from tests.integration.runs import claim, finish_move, queue, taken, tokens


@pytest.fixture
def workspace(tmp_path):
    return layout.prepare(str(tmp_path / "workspace"))


def found_in(folder: str) -> token.Token:
    (found,) = token.scan(folder)
    return found


# -- one holder ---------------------------------------------------------------------------------------------


def test_a_claim_moves_the_token_and_begins_a_journal_file(workspace):
    (a,) = queue(workspace, "a")
    claimed = taken(workspace, a)
    assert tokens(workspace) == {"running": ["a~g000001~lab.1.abc.yaml"]}
    (entry,), torn = journal.read_file(claimed.run_folder, 1)
    assert isinstance(entry.event, Claimed)
    assert (entry.event.attempt, entry.event.builds_on, torn) == (1, {0: 1}, False)
    assert claimed.attempt == claimed.state.attempt == 1
    claimed.release()


def test_a_claimed_run_cannot_be_claimed_until_it_is_released(workspace):
    (a,) = queue(workspace, "a")
    first = taken(workspace, a)
    running = found_in(workspace.running)
    assert claim(workspace, a) is None, "its old name is gone"
    assert claim(workspace, running) is None, "its new name is locked"
    first.release()
    second = taken(workspace, running, "lab.2.def")
    assert second.attempt == 2
    assert tokens(workspace) == {"running": ["a~g000002~lab.2.def.yaml"]}
    assert second.state.interruptions == 1, "the first said nothing of its end"
    second.release()


def test_a_lock_lasts_as_long_as_any_process_that_shares_it(workspace):
    (a,) = queue(workspace, "a")
    first = taken(workspace, a)
    shared = os.dup(first.descriptor)
    os.close(first.descriptor)
    os.close(first.journal.descriptor)
    assert claim(workspace, found_in(workspace.running)) is None
    os.close(shared)
    again = taken(workspace, found_in(workspace.running))
    again.release()


def test_a_released_claim_frees_the_run_although_a_process_shares_its_descriptor(workspace):
    (a,) = queue(workspace, "a")
    first = taken(workspace, a)
    shared = os.dup(first.descriptor)
    first.release()
    taken(workspace, found_in(workspace.running)).release()
    os.close(shared)


def test_processes_that_race_for_a_token_get_it_once(workspace):
    names = [f"r{n}" for n in range(30)]
    queue(workspace, *names)
    source = (
        "import sys\n"
        "from job_orchestration.runs import claims, token\n"
        "from job_orchestration.workspace import layout\n"
        "here = layout.locate(sys.argv[1])\n"
        "mine = []\n"
        "for found in token.scan(here.to_run):\n"
        "    claimed = claims.claim(here, found, sys.argv[2], 'lab')\n"
        "    if claimed: mine.append(claimed); print(found.name.stem, claimed.attempt)\n"
    )
    command = [sys.executable, "-P", "-c", source, workspace.root]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    racers = [
        subprocess.Popen([*command, f"lab.{n}.x"], stdout=subprocess.PIPE, text=True, env=environment)
        for n in range(1, 5)
    ]
    won = [line.split() for racer in racers for line in racer.communicate(timeout=60)[0].splitlines()]
    assert sorted(stem for stem, _ in won) == sorted(names)
    assert {attempt for _, attempt in won} == {"1"}


def test_a_token_whose_name_another_file_takes_in_the_middle_is_left_alone(workspace, monkeypatch):
    (a,) = queue(workspace, "a")
    other = Path(workspace.root, "other.yaml")
    other.write_text("another file\n")

    def swap(operation, call):
        if operation.name == "rename":
            os.rename(other, a.path)
        return call()

    monkeypatch.setattr(durable, "intercept", swap)
    assert claim(workspace, a) is None
    assert Path(found_in(workspace.running).path).read_text() == "another file\n"


def test_a_token_that_is_taken_away_in_the_middle_is_no_claim(workspace, monkeypatch):
    (a,) = queue(workspace, "a")
    descriptors = set(os.listdir("/proc/self/fd"))

    def steal(operation, call):
        if operation.name == "rename":
            os.unlink(a.path)
        return call()

    monkeypatch.setattr(durable, "intercept", steal)
    assert claim(workspace, a) is None
    assert set(os.listdir("/proc/self/fd")) == descriptors, "nothing is kept open"


@pytest.mark.parametrize("operation", ["create", "rename", "fsync_folder", "append"])
def test_a_claim_that_the_disk_refuses_locks_nothing_and_can_be_made_later(workspace, monkeypatch, operation):
    (a,) = queue(workspace, "a")
    descriptors = set(os.listdir("/proc/self/fd"))

    def refuse(made, call):
        if made.name == operation:
            raise OSError(28, "No space left on device")
        return call()

    monkeypatch.setattr(durable, "intercept", refuse)
    with pytest.raises(OSError, match="No space"):
        claim(workspace, a)
    assert set(os.listdir("/proc/self/fd")) == descriptors
    monkeypatch.setattr(durable, "intercept", None)
    (left,) = [*token.scan(workspace.to_run), *token.scan(workspace.running)]
    later = taken(workspace, left)
    assert later.attempt <= 3
    later.release()


@pytest.mark.parametrize("when", ["before", "in the middle"])
def test_a_copy_of_a_token_is_no_second_lock_on_its_run(workspace, monkeypatch, when):
    (a,) = queue(workspace, "a")
    copy = os.path.join(workspace.to_run, "copy.yaml")
    shutil.copy(a.path, copy)
    copied = next(t for t in token.scan(workspace.to_run) if t.name.stem == "copy")
    if when == "before":
        first = taken(workspace, a)
        with pytest.raises(UnfitTokenError, match="a copy"):
            claim(workspace, copied)
        assert tokens(workspace)["to_run"] == ["copy.yaml"]
    else:
        claims = []

        def be_quicker(operation, call):
            monkeypatch.setattr(durable, "intercept", None)
            claims.append(taken(workspace, a))
            return call()

        monkeypatch.setattr(durable, "intercept", be_quicker)
        with pytest.raises(UnfitTokenError, match="a copy"):
            claim(workspace, copied)
        (first,) = claims
    assert first.state.attempt == lifecycle.fold(journal.read(first.run_folder)).attempt
    first.release()


# -- numbers ------------------------------------------------------------------------------------------------


def test_an_attempts_number_is_one_more_than_any_that_was_ever_used(workspace):
    (a,) = queue(workspace, "a")
    folder = workspace.run_folder("runs/a")
    Path(journal.path_of(folder, 5)).touch()  # an attempt that died before it could write a word
    first = taken(workspace, a)
    assert first.attempt == 6
    first.release()
    os.rename(first.path, os.path.join(workspace.running, "a~g000041~lab.1.abc.yaml"))
    second = taken(workspace, found_in(workspace.running))
    assert second.attempt == 42
    assert journal.attempts(folder) == [0, 5, 6, 42]
    assert lifecycle.fold(journal.read(folder)).counts == {0: 1, 6: 1, 42: 1}
    second.release()


def test_a_number_that_another_takes_in_the_middle_is_passed_over(workspace, monkeypatch):
    (a,) = queue(workspace, "a")
    folder = workspace.run_folder("runs/a")

    def be_quicker(operation, call):
        if operation.name == "create" and operation.path.endswith("000001.jsonl"):
            Path(operation.path).touch()
        return call()

    monkeypatch.setattr(durable, "intercept", be_quicker)
    claimed = taken(workspace, a)
    assert claimed.attempt == 2
    assert journal.attempts(folder) == [0, 1, 2]
    claimed.release()


def test_a_holder_whose_token_was_moved_has_lost_the_run(workspace):
    (a,) = queue(workspace, "a")
    claimed = taken(workspace, a)
    os.rename(claimed.path, os.path.join(workspace.running, "a~g000002~lab.2.def.yaml"))
    with pytest.raises(ClaimLostError):
        finish_move(workspace, claimed)
    assert tokens(workspace) == {"running": ["a~g000002~lab.2.def.yaml"]}
    claimed.release()


# -- moves --------------------------------------------------------------------------------------------------


def test_a_move_never_replaces_a_file(workspace):
    a, b = queue(workspace, "a", "b")
    Path(workspace.completed, "a.yaml").write_text("an older one\n")
    for found, name in ((a, "a-2.yaml"), (b, "b.yaml")):
        claimed = taken(workspace, found)
        assert os.path.basename(finish_move(workspace, claimed)) == name
        claimed.release()
    assert Path(workspace.completed, "a.yaml").read_text() == "an older one\n"


@pytest.mark.parametrize("place", ["completed", "failed", "to_run"])
@pytest.mark.parametrize("first_tried", ["running", "target"])
def test_a_move_that_was_cut_between_its_two_steps_is_finished_by_the_next_claim(
    workspace, monkeypatch, place, first_tried
):
    (a,) = queue(workspace, "a")
    claimed = taken(workspace, a)
    event = HandedBack("stops") if place == "to_run" else Completed()
    claimed.journal.write(event, sync=True)

    def die(operation, call):
        if operation.name == "unlink":
            raise KeyboardInterrupt
        return call()

    monkeypatch.setattr(durable, "intercept", die)
    target = getattr(workspace, place)
    with pytest.raises(KeyboardInterrupt):
        finish_move(workspace, claimed, target)
    monkeypatch.setattr(durable, "intercept", None)
    claimed.release()
    assert tokens(workspace) == {place: ["a.yaml"], "running": ["a~g000001~lab.1.abc.yaml"]}
    found = found_in(workspace.running if first_tried == "running" else target)
    again = claim(workspace, found)
    if first_tried == "running":
        assert again is None
        assert tokens(workspace) == {place: ["a.yaml"]}
        assert journal.attempts(workspace.run_folder("runs/a")) == [0, 1], "no attempt was spent on it"
    else:
        assert again is not None
        assert tokens(workspace) == {"running": ["a~g000002~lab.1.abc.yaml"]}
        again.release()


def test_a_second_name_that_another_program_gave_a_token_does_not_matter(workspace):
    (a,) = queue(workspace, "a")
    os.link(a.path, os.path.join(workspace.root, "mine.yaml"))
    claimed = taken(workspace, a)
    claimed.release()
    again = taken(workspace, found_in(workspace.running))
    finish_move(workspace, again)
    again.release()
    assert tokens(workspace) == {"completed": ["a.yaml"]}


# -- files that are no tokens of ours -----------------------------------------------------------------------


def spoil(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "edited in place":
        path.write_bytes(data + b"more: 1\n")
    elif how == "replaced by an editor":
        path.with_suffix(".tmp").write_bytes(data.replace(b"a:B", b"c:D"))
        path.with_suffix(".tmp").rename(path)
    elif how == "cut short":
        path.write_bytes(data[: len(data) // 2])
    elif how == "dropped by hand":
        path.write_bytes(b"tasks: []\n")
    elif how == "naming a run outside":
        path.write_bytes(b"# job_orchestration run: ../../etc\n")
    elif how == "a folder":
        path.unlink()
        path.mkdir()
    elif how == "a named pipe":
        path.unlink()
        os.mkfifo(path)
    elif how == "a link":
        path.rename(path.with_suffix(".bak"))
        path.symlink_to(path.with_suffix(".bak"))


SPOILED = [
    "edited in place", "replaced by an editor", "cut short", "dropped by hand", "naming a run outside",
    "a folder", "a named pipe", "a link",
]  # fmt: skip


@pytest.mark.parametrize("how", SPOILED)
def test_a_token_that_is_not_what_was_readied_is_unfit_and_left_as_it_is(workspace, how):
    a, _ = queue(workspace, "a", "b")
    spoil(Path(a.path), how)
    before = os.lstat(a.path)
    descriptors = set(os.listdir("/proc/self/fd"))
    with pytest.raises(claims.UnfitTokenError) as error:
        claim(workspace, a)
    assert error.value.todo, "it says what to do"
    assert ("was edited" in error.value.what) == (how in SPOILED[:3])
    after = os.lstat(a.path)
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert set(os.listdir("/proc/self/fd")) == descriptors
    assert journal.attempts(workspace.run_folder("runs/a")) == [0], "no attempt was begun"


def test_a_token_whose_output_is_gone_or_another_runs_is_unfit(workspace):
    a, b = queue(workspace, "a", "b")
    shutil.rmtree(workspace.run_folder("runs/a"))
    with pytest.raises(claims.UnfitTokenError, match="is gone"):
        claim(workspace, a)
    shutil.rmtree(os.path.join(workspace.run_folder("runs/b"), "journal"))
    with pytest.raises(claims.UnfitTokenError, match="does not belong"):
        claim(workspace, b)


def test_a_scan_lists_what_is_named_like_a_token_oldest_first(workspace):
    queue(workspace, "c", "a", "b")
    for n, name in enumerate(("b", "c", "a"), 1):
        os.utime(os.path.join(workspace.to_run, f"{name}.yaml"), (n, n))
    for name in ("a.yaml.problems.txt", ".nfs0001", "a.yml", "x~y.yaml", "a~held.yaml"):
        Path(workspace.to_run, name).touch()
    assert [str(t.name) for t in token.scan(workspace.to_run)] == [
        "b.yaml",
        "c.yaml",
        "a.yaml",
        "a~held.yaml",
    ]
    assert token.scan(workspace.root + "/nowhere") == []


def test_the_lock_is_of_the_kind_that_ends_with_its_holder(workspace):
    (a,) = queue(workspace, "a")
    claimed = taken(workspace, a)
    other = os.open(claimed.path, os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(os.open(claimed.path, os.O_RDONLY))  # a record lock would be lost by this
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)
    claimed.release()
    assert TokenName.parse(os.path.basename(claimed.path)) is not None
