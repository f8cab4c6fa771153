"""Letting go and bringing back: cut anywhere, a run is whole on one side; what anybody needs stays."""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from job_orchestration.commands import gc
from job_orchestration.commands.changes import Changes
from job_orchestration.commands.gc import Kind, Wanted
from job_orchestration.commands.restore import restore, trashed
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.housekeeping import garbage
from job_orchestration.housekeeping.retention import Best, Last, Policy
from job_orchestration.queue import resource_pool
from job_orchestration.runs import catalog, journal, token, token_header, trash
from job_orchestration.runs.events import Code, Completed, GaveUp, TaskFinished, TaskStarted
from job_orchestration.runs.state import RunState
from job_orchestration.workspace import clock, heartbeats, layout
from job_orchestration.workspace.heartbeats import Heartbeat
from job_orchestration.workspace.layout import Place
from job_orchestration.workspace.naming import TokenName
from tests.faults.workspace_files import tree
from tests.integration.runs import finish_move, queue, taken, tokens
from tests.integration.write_faults import Killed, failing, operations_of

ALL = Wanted(policy=Policy((Last(0),)))
OLD = time.time() - 2 * garbage.ABANDONED


pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def make(tmp_path):
    """Makes workspaces."""
    made = iter(range(1000))
    return lambda: layout.prepare(str(tmp_path / f"workspace{next(made)}"))


@pytest.fixture
def workspace(make):
    return make()


def ended(workspace, name: str, result=None, event=None, **more) -> str:
    """A run that has ended; returns its name."""
    (found,) = queue(workspace, name, **more)
    claimed = taken(workspace, found)
    for task in ("one", "two"):
        claimed.journal.write(TaskStarted(task, 1))
        claimed.journal.write(TaskFinished(task, 0.1, result if task == "two" else None))
    claimed.journal.write(event or Completed(), sync=True)
    finish_move(workspace, claimed, workspace.failed if event else workspace.completed)
    claimed.release()
    Path(claimed.run_folder, "result.txt").write_text("mine\n")
    return claimed.run


def names(items, kind=Kind.RUN) -> list[str]:
    return [item.name for item in items if item.kind is kind]


def whole_in_workspace(workspace, name: str) -> bool:
    folder = Path(workspace.run_folder(f"runs/{name}"))
    config, there = folder / "config.yaml", Path(workspace.completed, f"{name}.yaml")
    return there.exists() and config.exists() and there.read_bytes() == config.read_bytes()


def whole_in_trash(workspace, name: str) -> bool:
    found = list(Path(workspace.misc, "trash").glob(f"*/{name}/result.txt"))
    return len(found) == 1 and len(list(found[0].parents[1].glob(f"{name}.yaml"))) == 1


# -- what can go ------------------------------------------------------------------------------------------


def test_without_a_policy_no_run_can_go(workspace):
    ended(workspace, "a")
    assert names(gc.look(workspace, Wanted())) == []


def test_only_what_has_completed_goes_by_policy_and_a_failed_run_only_by_its_name(workspace):
    done, failed = ended(workspace, "done"), ended(workspace, "failed", event=GaveUp("enough"))
    waiting, running, cut = queue(workspace, "waiting", "running", "cut")
    held = taken(workspace, running)
    taken(workspace, cut).release()
    assert names(gc.look(workspace, ALL)) == [done]
    assert names(gc.look(workspace, Wanted((failed,)))) == [failed]
    for name in ("waiting", "running", "cut"):
        with pytest.raises(UsageError, match="has not ended"):
            gc.look(workspace, Wanted((name,)))
    gc.collect(workspace, ALL)
    held.release()
    assert set(tokens(workspace)) == {"failed", "to_run", "running"}
    assert waiting.path


def test_a_policy_keeps_the_best_by_what_their_tasks_returned(workspace):
    for name, accuracy in (("a", 0.1), ("b", 0.9), ("c", 0.5)):
        ended(workspace, name, {"accuracy": accuracy})
    policy = Policy((Best(1, "accuracy"), Last(1)))
    assert names(gc.look(workspace, Wanted(policy=policy))) == ["runs/a"]
    assert names(gc.look(workspace, Wanted(("a", "b"), policy))) == ["runs/a"]
    assert names(gc.collect(workspace, Wanted(policy=policy)).items) == ["runs/a"]
    assert tokens(workspace) == {"completed": ["b.yaml", "c.yaml"]}


@pytest.mark.parametrize("how", ["waits", "held", "failed"])
def test_what_a_run_comes_after_stays_as_long_as_that_run_may_start(workspace, how):
    ended(workspace, "first")
    ended(workspace, "other")
    if how == "failed":
        ended(workspace, "second", event=GaveUp("no"), after=["runs/first"])
    else:
        (found,) = queue(workspace, "second", after=["runs/first"])
        if how == "held":
            os.rename(found.path, found.path.replace(".yaml", "~held.yaml"))
    assert names(gc.look(workspace, ALL)) == ["runs/other"]
    with pytest.raises(UsageError, match="second comes after runs/first"):
        gc.look(workspace, Wanted(("first",)))
    assert names(gc.look(workspace, Wanted(("other",)))) == ["runs/other"]
    if how == "failed":  # together with what needs it, it may go
        assert names(gc.look(workspace, Wanted(("first", "second")))) == ["runs/first", "runs/second"]


def test_globs_and_statuses_choose_what_goes_and_comes_back(workspace):
    for name in ("a1", "a2", "b"):
        ended(workspace, name)
    ended(workspace, "a3", event=GaveUp("enough"))
    queue(workspace, "a4")
    assert names(gc.look(workspace, Wanted(("runs/a*",)))) == ["runs/a1", "runs/a2", "runs/a3"]
    assert names(gc.look(workspace, Wanted(statuses=frozenset({"failed"})))) == ["runs/a3"]
    with pytest.raises(UsageError, match="has not ended"):
        gc.look(workspace, Wanted(("a4",)))
    with pytest.raises(UsageError, match="no run that"):
        gc.look(workspace, Wanted(("c*",)))
    gc.collect(workspace, Wanted(("*",)))
    for nothing in ("c*", "c"):
        with pytest.raises(UsageError):
            restore(workspace, ["b", nothing])
    assert len(trashed(workspace)) == 4, "a slip in one name, and nothing was done"
    assert restore(workspace, ["runs/a[12]", "b"]).runs == ("runs/a1", "runs/a2", "runs/b")
    assert restore(workspace, ["a3", "runs/a*"]) == Changes(("runs/a3",), ())


def test_what_others_come_after_stays_even_when_it_is_named(workspace, monkeypatch):
    ended(workspace, "first")
    ended(workspace, "second", event=GaveUp("enough"))
    records = catalog.entries(workspace)
    for record in records:
        if record.run == "runs/second":
            record.state.values["after"] = ["runs/first"]
    monkeypatch.setattr(catalog, "entries", lambda _: records)
    assert names(gc.look(workspace, ALL)) == [], "the second may be retried"
    with pytest.raises(UsageError, match="runs/second comes after runs/first"):
        gc.look(workspace, Wanted(("first",)))
    assert names(gc.look(workspace, Wanted(("first", "second")))) == ["runs/first", "runs/second"]


def test_what_tasks_kept_for_a_resume_goes_when_the_run_has_completed(workspace):
    for name, event in (("done", None), ("failed", GaveUp("enough"))):
        folder = Path(workspace.run_folder(ended(workspace, name, event=event)), ".resume", "one")
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(bytes(50_000))
    (item,) = gc.look(workspace, Wanted())
    assert (item.kind, item.name) == (Kind.CHECKPOINTS, "runs/done")
    assert 50_000 <= item.bytes < 100_000
    assert not gc.look(workspace, Wanted(policy=Policy((Last(9),), 3600.0)))
    gc.collect(workspace, Wanted())
    assert not Path(workspace.run_folder("runs/done"), ".resume").exists()
    assert Path(workspace.run_folder("runs/failed"), ".resume/one/weights").exists()
    assert not list(Path(workspace.misc).glob(".making-*"))


@pytest.mark.parametrize("place", list(Place))
def test_a_snapshot_goes_when_no_run_needs_it_soon_and_it_can_be_made_again(workspace, place, monkeypatch):
    commit = "c" * 40
    snapshot = Path(workspace.misc, "snapshots", commit)
    snapshot.mkdir(parents=True)
    record = catalog.RunRecord("a", place, "a.yaml", "a", RunState(code=Code(commit, ".")))
    assert gc._snapshots(workspace, [record]) == []  # it is not pinned and could not be made again
    pin = Path(workspace.misc, "code.git", "refs", "pins", commit)
    pin.parent.mkdir(parents=True)
    pin.write_text(f"{commit}\n")
    can_go = place is Place.COMPLETED
    assert bool(gc._snapshots(workspace, [record])) == can_go
    monkeypatch.chdir(snapshot)
    assert gc._snapshots(workspace, [record]) == []
    monkeypatch.chdir(workspace.root)
    now = clock.timestamp()
    heartbeats.write(
        workspace, Heartbeat("far.1.abc", "far", 1, now, now)
    )  # its working directory cannot be seen here
    assert gc._snapshots(workspace, [record]) == []


def test_what_dead_processes_left_goes_when_it_is_old(workspace):
    (found,) = queue(workspace, "a")
    claimed = taken(workspace, found, "lab.1.old")
    heartbeats = Path(workspace.workers)
    made = [
        *(Path(workspace.misc, n) for n in (".making-old", ".making-new")),
        *(
            heartbeats / n
            for n in ("lab.1.old.json", "lab.2.old.json", "lab.3.new.json", "lab.4.old.json.tmp77")
        ),
    ]
    for path in made:
        path.mkdir() if path.name.startswith(".making") else path.write_text("{}")
        if "old" in path.name:
            os.utime(path, (OLD, OLD))
    gc.collect(workspace, Wanted())
    assert [p.name for p in made if p.exists()] == [".making-new", "lab.1.old.json", "lab.3.new.json"]
    claimed.release()


def test_the_summary_cache_under_its_former_name_goes_at_once(workspace):
    of_first_release = Path(workspace.misc, "digests")
    of_first_release.mkdir()
    (of_first_release / "all.digests").write_bytes(b"job_orchestration digests 1 2 0\n[]")
    assert [item.name for item in gc.look(workspace, Wanted())] == ["Misc/digests"]
    gc.collect(workspace, Wanted())
    assert not of_first_release.exists()


def test_the_reservations_of_a_killed_pool_go_when_none_is_held(workspace):
    one = (("gpus", 1),)
    free, held, fresh = (Path(resource_pool.folder_of(workspace, name)) for name in ("free", "held", "fresh"))
    far = free.parent / "another.far"
    descriptors = {}
    for folder in (free, held, fresh, far):
        taken = resource_pool.Reservations(str(folder), {"gpus": 1}, ["0"]).take(one)
        assert isinstance(taken, tuple)
        descriptors[folder] = taken[0]
    for folder in (free, fresh, far):
        os.close(descriptors[folder])
    for folder in (free, held, far):
        os.utime(folder, (OLD, OLD))
    assert [item.path for item in gc.look(workspace, Wanted())] == [str(free)]
    gc.collect(workspace, Wanted())
    assert sorted(free.parent.iterdir()) == sorted([held, fresh, far]), (
        "another machine's cannot be seen here"
    )
    os.close(descriptors[held])


def test_reservations_that_cannot_be_listed_are_not_taken_for_none(workspace, monkeypatch):
    folder = resource_pool.folder_of(workspace, "unreadable")
    os.makedirs(folder)
    os.utime(folder, (OLD, OLD))
    assert [item.path for item in gc.look(workspace, Wanted())] == [folder]

    def refuses(path=".", really=os.listdir):
        if path == folder:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return really(path)

    monkeypatch.setattr(os, "listdir", refuses)
    assert gc.look(workspace, Wanted()) == []


def test_a_pool_that_is_used_again_at_the_last_moment_stays(workspace):
    folder = resource_pool.folder_of(workspace, "idle")
    taken = resource_pool.Reservations(folder, {"gpus": 1}, ["0"]).take((("gpus", 1),))
    assert isinstance(taken, tuple)
    assert not resource_pool.clear(folder)
    assert os.listdir(folder)
    os.close(taken[0])
    assert resource_pool.clear(folder)
    assert not os.path.exists(folder)


def test_the_trash_is_emptied_by_age_and_by_nothing_else(workspace):
    ended(workspace, "a")
    gc.collect(workspace, ALL)
    (kept,) = Path(workspace.misc, "trash").iterdir()
    old = kept.with_name("20200101T000000Z-2")
    mine = kept.with_name("do not touch")
    for path in (old, mine):
        path.mkdir()
        (path / "x").write_text("x")
    for wrong in (Wanted(empty_trash=True), Wanted(policy=Policy((Last(1),), 5.0), empty_trash=True)):
        with pytest.raises(UsageError, match="by age alone"):
            gc.look(workspace, wrong)
    assert names(gc.look(workspace, ALL), Kind.TRASH) == []
    wanted = Wanted(policy=Policy(older_than=3600.0), empty_trash=True)
    assert names(gc.collect(workspace, wanted).items, Kind.TRASH) == ["Misc/trash/20200101T000000Z-2"]
    assert kept.exists()
    assert mine.exists()
    assert not old.exists()


def test_a_look_changes_nothing(workspace):
    Path(workspace.run_folder(ended(workspace, "a")), ".resume").mkdir()
    before = tree(Path(workspace.root))
    assert gc.look(workspace, ALL)
    assert trashed(workspace) == []
    assert tree(Path(workspace.root)) == before


# -- beside others ----------------------------------------------------------------------------------------


def test_a_run_that_is_claimed_meanwhile_stays(workspace, monkeypatch):
    run = ended(workspace, "a", event=GaveUp("enough"))
    items = gc.look(workspace, Wanted((run,)))
    (found,) = token.scan(workspace.failed)
    claimed = taken(workspace, found)  # a retry begins so
    monkeypatch.setattr(gc, "look", lambda *_: items)
    (problem,) = gc.collect(workspace, Wanted((run,))).refused
    assert "still queued or running" in problem.what
    claimed.release()
    assert Path(workspace.run_folder(run), "result.txt").exists()


def test_a_run_that_was_done_anew_meanwhile_stays(workspace, monkeypatch):
    run = ended(workspace, "a")
    items = gc.look(workspace, ALL)
    assert trash.put_away(workspace, run) is None
    assert ended(workspace, "a") == run
    monkeypatch.setattr(gc, "look", lambda *_: items)
    done = gc.collect(workspace, ALL)
    assert "has changed since it was listed" in done.refused[0].what
    assert whole_in_workspace(workspace, "a")


def test_two_who_clean_at_once_do_not_stumble(workspace, monkeypatch):
    Path(workspace.run_folder(ended(workspace, "a")), ".resume").mkdir()
    ended(workspace, "b")
    wanted = Wanted(("b",))
    items = [*gc.look(workspace, Wanted()), *gc.look(workspace, wanted)]
    gc.collect(workspace, Wanted())
    gc.collect(workspace, wanted)
    monkeypatch.setattr(gc, "look", lambda *_: items)
    done = gc.collect(workspace, ALL)
    assert done.items == ()
    assert whole_in_workspace(workspace, "a")
    assert whole_in_trash(workspace, "b")


# -- cut anywhere -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["before", "after", "ENOSPC"])
def test_a_run_whose_way_to_the_trash_is_cut_is_whole_on_one_side(make, how):
    there = make()
    ended(there, "a")
    steps = len(operations_of(lambda: gc.collect(there, ALL)))
    assert steps > 5
    sides = set()
    for at in range(1, steps + 1):
        workspace = make()
        ended(workspace, "a")
        with failing(at, how), suppress(Killed):
            gc.collect(workspace, ALL)
        gc.collect(workspace, Wanted())
        sides.add((whole_in_workspace(workspace, "a"), whole_in_trash(workspace, "a")))
        assert sides <= {(True, False), (False, True)}, at
        gc.collect(workspace, ALL)
        assert whole_in_trash(workspace, "a")
    assert len(sides) == 2 or how == "ENOSPC"


@pytest.mark.parametrize("with_token", [True, False])
@pytest.mark.parametrize("how", ["before", "after"])
def test_a_way_back_that_is_cut_can_be_gone_again(make, how, with_token):
    def trashed_one():
        workspace = make()
        ended(workspace, "a")
        assert trash.put_away(workspace, "runs/a") is None
        if not with_token:  # as when somebody overwrote the run and died half-way
            (path,) = Path(workspace.misc, "trash").glob("*/a.yaml")
            path.unlink()
        return workspace

    there = trashed_one()
    steps = len(operations_of(lambda: restore(there, ["a"])))
    assert whole_in_workspace(there, "a")
    for at in range(1, steps + 1):
        workspace = trashed_one()
        with failing(at, how), pytest.raises(Killed):
            restore(workspace, ["runs/a"])
        if not whole_in_workspace(workspace, "a"):
            assert restore(workspace, ["runs/a"]).refused == ()
        assert whole_in_workspace(workspace, "a")
        assert tokens(workspace) == {"completed": ["a.yaml"]}
        with suppress(UsageError):
            restore(workspace, ["nothing"])
        assert list(Path(workspace.misc, "trash").iterdir()) == []
        (record,) = catalog.entries(workspace)
        assert (record.place, record.run) == (Place.COMPLETED, "runs/a")


# -- bringing back ----------------------------------------------------------------------------------------


def test_what_comes_back_is_what_went(workspace):
    ended(workspace, "a", {"x": 1})
    ended(workspace, "b", event=GaveUp("enough"))
    output, places = Path(workspace.output), tokens(workspace)
    before = {k: v for k, v in tree(output).items() if k != "runs"}
    gc.collect(workspace, Wanted(("a", "b")))
    assert tokens(workspace) == {}
    assert [(k.run, k.config) for k in trashed(workspace)] == [("runs/a", "a"), ("runs/b", "b")]
    assert restore(workspace, ["a.yaml", "Output/runs/b/"]).runs == ("runs/a", "runs/b")
    assert {k: v for k, v in tree(output).items() if k != "runs"} == before
    assert tokens(workspace) == places
    assert trashed(workspace) == []
    assert list(Path(workspace.misc, "trash").iterdir()) == []


def test_nothing_is_overwritten_by_what_comes_back(workspace):
    run = ended(workspace, "a")
    gc.collect(workspace, ALL)
    ended(workspace, "a")
    before = tree(Path(workspace.output))
    done = restore(workspace, [run])
    assert done.runs == ()
    assert "is there already" in done.refused[0].what
    assert tree(Path(workspace.output)) == before
    assert len(trashed(workspace)) == 1


def test_a_token_whose_name_is_taken_gets_another(workspace):
    ended(workspace, "a")
    gc.collect(workspace, ALL)
    (found,) = queue(workspace, "b")
    os.rename(found.path, Path(workspace.to_run, str(TokenName("a"))))
    assert restore(workspace, ["runs/a"]).runs == ("runs/a",)
    assert tokens(workspace) == {"to_run": ["a.yaml"], "completed": ["a-2.yaml"]}


def test_a_name_that_means_two_entries_is_refused_and_an_entry_can_be_named(workspace):
    for _ in range(2):
        ended(workspace, "a")
        gc.collect(workspace, ALL)
    entries = [k.entry for k in trashed(workspace)]
    with pytest.raises(UsageError, match="2 entries"):
        restore(workspace, ["a"])
    with pytest.raises(UsageError, match="There is no b"):
        restore(workspace, ["b"])
    assert restore(workspace, [entries[0]]).runs == ("runs/a",)
    assert [k.entry for k in trashed(workspace)] == entries[1:]


def test_a_run_that_lost_its_token_gets_it_back(workspace):
    run = ended(workspace, "a")
    Path(workspace.completed, "a.yaml").unlink()
    assert restore(workspace, [run]).runs == (run,)
    assert whole_in_workspace(workspace, "a")
    with pytest.raises(UsageError):
        restore(workspace, [run])
    queue(workspace, "b")
    Path(workspace.to_run, "b.yaml").unlink()  # it has not ended, so its place is unknown
    with pytest.raises(UsageError):
        restore(workspace, ["runs/b"])


def test_what_lies_in_the_trash_and_is_no_run_stays_there(workspace):
    strange = Path(workspace.misc, "trash", "20200101T000000Z", "folder")
    strange.mkdir(parents=True)
    Path(workspace.misc, "trash", "file").write_text("x")
    (kept,) = trashed(workspace)
    done = restore(workspace, [kept.entry])
    assert "does not say which run" in done.refused[0].what
    assert strange.exists()
    assert journal.attempts(str(strange)) == []


def test_letting_many_runs_go_opens_each_token_a_few_times_however_many_there_are(make, monkeypatch):
    opened: Counter[int] = Counter()
    look = token_header.run_of
    for many in (4, 8):
        workspace = make()
        for number in range(many):
            ended(workspace, f"r{number}")

        def counting(path: str, count: int = many) -> str | None:
            opened[count] += 1
            return look(path)

        monkeypatch.setattr(token_header, "run_of", counting)
        assert len(names(gc.collect(workspace, ALL).items)) == many
        monkeypatch.setattr(token_header, "run_of", look)
    assert opened[8] <= 2 * opened[4]
