"""An entry of the trash belongs to the process that made it: no two runs ever share one, and none is lost."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from job_orchestration.commands import gc, restore
from job_orchestration.commands.retry import retry
from job_orchestration.commands.selection import Selection
from job_orchestration.runs import opening, trash
from job_orchestration.runs.events import Completed, GaveUp
from job_orchestration.workspace import durable, layout
from job_orchestration.workspace.naming import TokenName
from tests.integration import runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from job_orchestration.workspace.durable import Operation

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def place(folder: Path) -> layout.Workspace:
    """A workspace in memory."""
    return layout.prepare(str(folder / "workspace"))


def ended(place: layout.Workspace, name: str, *, failed: bool = True) -> None:
    """A run that has ended with some output, whose content names it."""
    (found,) = runs.queue(place, name, run=f"{name}/same")
    claimed = runs.taken(place, found)
    claimed.write(GaveUp("as the test asked") if failed else Completed(), sync=True)
    Path(claimed.run_folder, "log.log").write_text(name)
    claimed.move(place.failed if failed else place.completed, TokenName(claimed.name.stem))
    claimed.release()


def thrown_away(place: layout.Workspace) -> list[list[str]]:
    """What the logs in each entry of the trash say, entry by entry."""
    entries = sorted(Path(place.misc, "trash").iterdir())
    return [sorted(log.read_text() for log in entry.rglob("log.log")) for entry in entries]


@contextmanager
def another(at_first: Callable[[Path], None], *, before: bool) -> Iterator[list[str]]:
    """Do what another process may do before or after the first new entry of the trash is made."""
    made: list[str] = []

    def intercept(operation: Operation, call: Callable[[], object]) -> object:
        path = Path(operation.path)
        is_first = operation.name == "mkdir" and path.parent.name == "trash" and not made
        if not is_first:
            return call()
        made.append(operation.path)
        if before:
            at_first(path)
        done = call()
        if not before:
            at_first(path)
        return done

    durable.intercept = intercept
    try:
        yield made
    finally:
        durable.intercept = None


def taken_by_another(path: Path) -> None:
    (path / "other").mkdir(parents=True)
    (path / "other" / "log.log").write_text("of another run")


THROWS_AWAY = {
    "retry --fresh": lambda place: retry(place, Selection(("a",)), fresh=True),
    "gc": lambda place: gc.collect(place, gc.Wanted(("a",))),
}


@pytest.mark.parametrize("how", THROWS_AWAY)
def test_the_entry_that_another_process_makes_in_the_same_moment_is_left_to_it(place, how):
    ended(place, "a")
    with another(taken_by_another, before=True) as made:
        THROWS_AWAY[how](place)
    assert made, "the trash was used"
    assert thrown_away(place) == [["of another run"], ["a"]]
    assert not os.path.exists(os.path.join(place.output, "a", "same", "log.log"))


@pytest.mark.parametrize("how", [os.rmdir, lambda path: trash.settle(layout.locate(str(path.parents[2])))])
def test_an_entry_that_is_removed_while_it_is_empty_is_made_again(place, how):
    ended(place, "a")
    with another(how, before=False) as made:
        assert retry(place, Selection(("a",)), fresh=True).runs == ("a/same",)
    assert made
    assert thrown_away(place) == [["a"]]


def test_many_that_restart_in_one_second_have_an_entry_each_and_restore_finds_them(place):
    names = [f"r{n}" for n in range(24)]
    for name in names:
        ended(place, name, failed=name != "r0")
    with opening.only_one(place):
        assert trash.put_away(place, "r0/same") is None
    pids = [fork(lambda name=name: retry(place, Selection((name,)), fresh=True)) for name in names[1:]]
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * len(pids)
    assert sorted(thrown_away(place)) == sorted([name] for name in names)
    assert restore.restore(place, ["r0/same"]).runs == ("r0/same",)
    assert Path(place.output, "r0", "same", "log.log").read_text() == "r0"
    assert len(list(Path(place.misc, "trash").iterdir())) == len(names) - 1


def fork(act: Callable[[], object]) -> int:
    """Do something in a process of its own; it ends with 0 if that raised nothing."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return pid


def test_an_entry_of_several_runs_of_an_older_release_is_restored_run_by_run(place):
    for name in ("a", "b"):
        ended(place, name, failed=False)
        with opening.only_one(place):
            assert trash.put_away(place, f"{name}/same") is None
    one, other = sorted(Path(place.misc, "trash").iterdir())
    (other / "same").rename(one / "same too")
    for left in other.iterdir():
        left.rename(one / left.name)
    other.rmdir()
    assert sorted(kept.run for kept in restore.trashed(place)) == ["a/same", "b/same"]

    for name in ("b", "a"):
        assert restore.restore(place, [f"{name}/same"]) == restore.Changes((f"{name}/same",), ())
        assert Path(place.output, name, "same", "log.log").read_text() == name
        token = Path(place.completed, f"{name}.yaml").read_bytes()
        assert token == Path(place.output, name, "same", "config.yaml").read_bytes()
    assert list(Path(place.misc, "trash").iterdir()) == []


def test_what_a_person_put_into_the_trash_is_listed_and_stays(place):
    (Path(place.misc) / "trash" / "mine" / "folder").mkdir(parents=True)
    (kept,) = restore.trashed(place)
    assert (kept.entry, kept.run) == ("mine", None)
    refused = restore.restore(place, ["mine"]).refused
    assert "does not say which run it was" in refused[0].what
    assert (Path(place.misc) / "trash" / "mine" / "folder").is_dir()
