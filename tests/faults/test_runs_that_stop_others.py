"""An error of one run of many, or of one entry of the trash, keeps no command from the others."""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from job_orchestration.commands import cancel, gc, hold, restore, retry
from job_orchestration.commands.selection import Selection
from job_orchestration.housekeeping import garbage
from job_orchestration.runs import claims, status_file, trash
from job_orchestration.workspace import durable
from tests.faults.workspace_files import events, names
from tests.integration.harness import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TASKS = """
    from job_orchestration import TaskBase

    class Quick(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            if self.config.get("fails"):
                raise ValueError("as its config asks")
            return 1
"""
RUNS = ("a_good", "bad", "z_good")
GOOD = ["a_good", "z_good"]
ERRORS = (
    RuntimeError("as the test asked"),
    PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/somewhere/of/bad"),
    OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), "/somewhere/of/bad"),
)
DISK = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere/of/bad")


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path, TASKS)
    yield made
    made.close()


def is_bad(argument: object) -> bool:
    """Whether an argument is the run ``bad``, or a path in which it has a part."""
    named = argument if isinstance(argument, str) else getattr(argument, "run", None)
    return isinstance(named, str) and any(re.fullmatch(r"bad(\W.*)?", part) for part in named.split("/"))


def fail_for_bad(monkeypatch: pytest.MonkeyPatch, module: object, name: str, error: Exception) -> None:
    """Have a function of ours fail for the run ``bad``."""
    real: Callable[..., object] = getattr(module, name)

    def call(*arguments: object, **more: object) -> object:
        if any(map(is_bad, arguments)):
            raise error
        return real(*arguments, **more)

    monkeypatch.setattr(module, name, call)


def queued(sandbox: Sandbox, **values: Any) -> None:
    for run in RUNS:
        sandbox.drop(run, "Quick", maxAttempts=1, **values)
    assert sandbox.ready().refused == {}


COMMANDS: dict[str, tuple[Callable[[Sandbox], Any], str, list[tuple[object, str]]]] = {
    "hold": (lambda s: hold.hold(s.workspace, Selection(RUNS)), "ConfigsToRun", [(durable, "move_new")]),
    "cancel": (
        lambda s: cancel.cancel(s.workspace, Selection(RUNS)),
        "Failed",
        [(claims, "claim_briefly"), (status_file, "write_status"), (durable, "move_new")],
    ),
    "retry": (
        lambda s: retry.retry(s.workspace, Selection(RUNS), fresh=True),
        "ConfigsToRun",
        [(claims, "claim_briefly"), (trash, "put_output_away"), (status_file, "write_status")],
    ),
    "gc": (
        lambda s: gc.collect(s.workspace, gc.Wanted(RUNS)),
        "trash",
        [(trash, "put_away"), (durable, "rename_folder")],
    ),
    "restore": (
        lambda s: restore.restore(s.workspace, RUNS),
        "Failed",
        [(trash, "bring_back"), (durable, "rename_folder")],
    ),
}
"""What each does, where the runs lie afterwards, and functions that it calls for each run."""


def prepare(sandbox: Sandbox, command: str) -> None:
    """Bring the runs to where the command finds them."""
    queued(sandbox, fails=command in {"retry", "gc", "restore"})
    if command in {"retry", "gc", "restore"}:
        sandbox.work()
    if command == "restore":
        gc.collect(sandbox.workspace, gc.Wanted(RUNS))


def moved(sandbox: Sandbox, command: str, place: str) -> set[str]:
    if command == "gc":
        return {e.run for e in trash.contents(sandbox.workspace) if e.run and e.token and e.folder}
    return {name.partition("~")[0] for name in names(sandbox.root, place)}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_an_error_of_one_run_keeps_no_command_from_the_others(sandbox, monkeypatch, command):
    act, place, functions = COMMANDS[command]
    for (module, name), error in zip(functions, ERRORS, strict=False):
        folder = sandbox.folder / name
        folder.mkdir()
        small = Sandbox(folder, TASKS)
        prepare(small, command)
        with monkeypatch.context() as broken:
            fail_for_bad(broken, module, name, error)
            done = act(small)
        assert {p.file.removesuffix(".yaml").partition("~")[0] for p in done.refused} == {"bad"}, name
        assert "it could not be changed: " in done.refused[0].what
        assert set(GOOD) <= moved(small, command, place), name
        assert len(events(small.root, "bad", "readied")) == 1 or command in {"gc", "restore"}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["hold", "cancel", "retry", "restore"])
def test_an_error_of_the_disk_ends_the_command(sandbox, monkeypatch, command):
    act, _, ((module, name), *_) = COMMANDS[command]
    prepare(sandbox, command)
    with monkeypatch.context() as broken:
        fail_for_bad(broken, module, name, DISK)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            act(sandbox)
    done = restore.restore(sandbox.workspace, ["bad"]) if command == "restore" else act(sandbox)
    assert not [p for p in done.refused if p.file.startswith("bad")], "it was whole"


def test_gc_goes_on_if_the_disk_is_full(sandbox, monkeypatch):
    prepare(sandbox, "gc")
    with monkeypatch.context() as broken:
        fail_for_bad(broken, trash, "put_away", DISK)
        done = gc.collect(sandbox.workspace, gc.Wanted(RUNS))
    assert {item.name for item in done.items} >= set(GOOD)
    assert [problem.file for problem in done.refused] == ["bad"]


def test_of_things_that_are_collected_one_that_cannot_be_looked_at_stays(sandbox, monkeypatch):
    queued(sandbox)
    sandbox.work()
    with monkeypatch.context() as broken:
        broken.setattr(garbage, "set_aside", lambda *_: 1 / 0)
        done = gc.collect(sandbox.workspace, gc.Wanted())
    assert {item.kind for item in done.items}.isdisjoint({gc.Kind.SNAPSHOT, gc.Kind.BYTECODE})
    assert len(done.refused) == 2, "a snapshot and the bytecode"
    assert all("ZeroDivisionError" in problem.what for problem in done.refused)


def test_a_damaged_run_in_the_trash_stays_there_and_the_others_are_restored(sandbox):
    prepare(sandbox, "restore")
    (damaged,) = (sandbox.root / "Misc" / "trash").glob("*/bad/journal/000000.jsonl")
    content = damaged.read_bytes()
    damaged.write_bytes(b"damaged\n")
    done = restore.restore(sandbox.workspace, RUNS)
    assert (sorted(done.runs), [p.file for p in done.refused]) == (GOOD, ["bad"])
    assert "journal/000000.jsonl cannot be read: " in done.refused[0].what
    assert names(sandbox.root, "Failed") == GOOD
    assert not sandbox.output("bad").exists()
    damaged.write_bytes(content)
    assert restore.restore(sandbox.workspace, ["bad"]).runs == ("bad",)


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS[1:])
def test_an_entry_of_the_trash_that_cannot_be_settled_keeps_no_other(sandbox, monkeypatch, error):
    prepare(sandbox, "restore")
    for run in RUNS:  # as a `gc` that was killed between the two moves leaves them
        (folder,) = (sandbox.root / "Misc" / "trash").glob(f"*/{run}")
        folder.rename(sandbox.output(run))
    with monkeypatch.context() as broken:
        fail_for_bad(broken, trash, "give_token", error)
        assert sorted(trash.settle(sandbox.workspace)) == GOOD
    assert names(sandbox.root, "Failed") == GOOD
    assert trash.settle(sandbox.workspace) == ["bad"]
