"""An overview is the same with the summary cache and without it, whatever happens to runs and cache."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job_orchestration.commands.retry import retry
from job_orchestration.runs import cache_maintenance, catalog, journal, summary_cache, token
from job_orchestration.runs.catalog import Catalog
from job_orchestration.runs.events import Completed, GaveUp, HandedBack, Outcome, TaskFinished, TaskStarted
from job_orchestration.workspace import layout
from job_orchestration.workspace.layout import SETTLED_PLACES, Place
from job_orchestration.workspace.naming import TokenName
from tests.integration.runs import queue, taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.workspace.layout import Workspace

TICK = 0.005
"""Longer than the steps of the clock that file systems stamp changes with."""


@pytest.fixture
def place() -> Iterator[Workspace]:
    """A workspace in memory if possible: these tests sync much, and no power is cut."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        yield layout.prepare(folder)


def without_cache(place: Workspace) -> list[RunRecord]:
    reader = Catalog(place)
    reader._cached = {}
    return reader.records()


def shown(records: list[RunRecord]) -> dict[str | None, tuple[object, ...]]:
    """Everything that an overview shows, by run."""
    return {r.run: (r.place, r.path, r.config, r.held_by, r.error, r.summary, r.state) for r in records}


def assert_same(place: Workspace, reader: Catalog | None = None) -> None:
    assert shown((reader or Catalog(place)).records()) == shown(without_cache(place))


def from_cache(place: Workspace) -> set[str | None]:
    """The runs that are read from the cache alone."""
    return {r.run for r in Catalog(place).records() if r.folded is None}


def all_rows(place: Workspace) -> None:
    for where in SETTLED_PLACES:
        folder = place.folders[where]
        rows = [
            cache_maintenance._row(place, where, os.path.join(folder, name)) for name in os.listdir(folder)
        ]
        summary_cache.append(place, "test", [row for row in rows if row is not None])


class Storm:
    """A worker that takes random steps, and is sometimes killed before it writes to the cache."""

    def __init__(self, place: Workspace, dice: random.Random) -> None:
        self.place = place
        self.dice = dice
        self.queued = 0
        self.notes = summary_cache.SummaryCacheWriter(place, "worker")
        self.reader = Catalog(place)
        """Kept over all steps."""

    def turn(self) -> None:
        act = self.dice.choice([self.queue, self.advance, self.advance, self.retry, self.damage, self.keep])
        act()
        time.sleep(TICK)

    def queue(self) -> None:
        self.queued += 1
        queue(self.place, f"run{self.queued}")
        if self.dice.random() < 0.5:
            all_rows(self.place)

    def advance(self) -> None:
        waiting = token.scan(self.place.to_run)
        if not waiting:
            return
        claim = taken(self.place, self.dice.choice(waiting))
        try:
            for task in ("one", "two")[: self.dice.randint(0, 2)]:
                claim.write(TaskStarted(task, 1))
                claim.write(TaskFinished(task, self.dice.random()))
            match self.dice.randint(0, 2):
                case 0 if claim.state.current is None:
                    claim.write(Completed(), sync=True)
                    claim.move(self.place.completed, TokenName(claim.name.stem))
                case 1:
                    claim.write(GaveUp("no \ud800 more", Outcome.ERROR), sync=True)
                    claim.move(self.place.failed, TokenName(claim.name.stem))
                case _:
                    claim.write(HandedBack("later"), sync=True)
                    claim.move(self.place.to_run, TokenName(claim.name.stem))
            if self.dice.random() < 0.7:  # else it is killed here
                self.notes.add(claim)
        finally:
            claim.release()
        if self.dice.random() < 0.5:
            self.notes.write()

    def retry(self) -> None:
        retry(self.place)

    def damage(self) -> None:
        for path in summary_cache.paths(self.place):
            data = Path(path).read_bytes()
            match self.dice.randint(0, 5):
                case 0:
                    Path(path).write_bytes(data[: self.dice.randint(0, len(data))])
                case 1:
                    Path(path).unlink()
                case 2 if data:
                    at = self.dice.randrange(len(data))
                    Path(path).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])

    def keep(self) -> None:
        cache_maintenance.rewrite(self.place)


@pytest.mark.parametrize("seed", range(4))
def test_an_overview_is_the_same_with_the_cache_and_without_through_a_storm_of_moves(
    place: Workspace, seed: int
) -> None:
    storm = Storm(place, random.Random(seed))
    for _ in range(60):
        storm.turn()
        assert_same(place)
        assert_same(place, storm.reader)
    storm.keep()
    settled = {r.run for r in without_cache(place) if r.place in SETTLED_PLACES}
    assert from_cache(place) == settled != set()


def test_of_what_is_known_no_journal_is_read(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    queue(place, "a", "b")
    all_rows(place)
    monkeypatch.setattr(journal, "read", lambda *_: pytest.fail("a journal was read"))
    records = Catalog(place).records()
    assert [(r.run, r.place) for r in records] == [("runs/a", Place.TO_RUN), ("runs/b", Place.TO_RUN)]
    assert all(r.summary is not None and r.summary.task == "one" for r in records)


def test_a_retried_run_is_not_shown_as_it_was_before(place: Workspace) -> None:
    (found,) = queue(place, "a")
    claim = taken(place, found)
    claim.write(GaveUp("no more"), sync=True)
    claim.move(place.failed, TokenName("a"))
    notes = summary_cache.SummaryCacheWriter(place, "worker")
    notes.add(claim)
    notes.write()
    claim.release()
    assert from_cache(place) == {"runs/a"}
    time.sleep(TICK)
    retry(place)
    assert from_cache(place) == set()
    (record,) = Catalog(place).records()
    assert record.summary is not None
    assert (record.place, record.summary.status) == (Place.TO_RUN, "READY")


@given(st.integers(0, 10**6), st.integers(1, 255), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_damage_makes_a_row_say_something_else(where: int, change: int, cut: bool) -> None:
    rows = [[f"{i}.1", f"a{i}.yaml", None] for i in range(8)]
    data = b"".join(
        summary_cache.encode([summary_cache.text_of(row) for row in rows[i : i + 2]]) for i in range(0, 8, 2)
    )
    at = where % len(data)
    broken = data[:at] if cut else data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]
    found = list(summary_cache.decode(broken))
    assert all(row in rows for row in found)
    assert cut or len(found) >= 6


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 5000,
        b"job_orchestration summaries 2 4 0\n[[]]",
        b"job_orchestration summaries 1 99999999999999999999 0\n",
        summary_cache.encode(["[" * 3000]),
        summary_cache.encode(['["k","a.yaml","run","from another release"]']),
        summary_cache.encode(["7", "{}"]),
    ],
)
def test_what_is_no_row_of_this_release_is_ignored(place: Workspace, data: bytes) -> None:
    queue(place, "a")
    os.makedirs(summary_cache.folder_of(place), exist_ok=True)
    Path(summary_cache.folder_of(place), f"x{summary_cache.ENDING}").write_bytes(data)
    assert_same(place)
    all_rows(place)
    assert from_cache(place) == {"runs/a"}


def test_what_a_person_or_the_first_release_put_there_is_counted_but_has_no_summary(place: Workspace) -> None:
    Path(place.to_run, "by_hand.yaml").write_text("tasks: []\n")
    Path(place.failed, "old.yaml").write_text("outputDir: old\ntasks: []\n")
    cache_maintenance.rewrite(place)
    assert len(summary_cache.read(place)) == 2
    assert_same(place)
    assert all(r.cached is None for r in without_cache(place))


def test_maintenance_does_what_is_due_and_nothing_else(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_maintenance, "_TOLERANCE", 0)
    assert not cache_maintenance.is_due(place)
    queue(place, "a", "b", "c")
    assert cache_maintenance.is_due(place)
    cache_maintenance.CacheMaintenance(place)()
    assert from_cache(place) == {"runs/a", "runs/b", "runs/c"}
    assert not cache_maintenance.is_due(place)
    for _ in range(2):
        all_rows(place)
    assert cache_maintenance.is_due(place)
    cache_maintenance.rewrite(place)
    assert [os.path.basename(path) for path in summary_cache.paths(place)] == ["all.summaries"]
    monkeypatch.setattr(cache_maintenance, "MOST_FOLDS", 2)
    shutil.rmtree(summary_cache.folder_of(place))
    cache_maintenance.rewrite(place)
    assert len(from_cache(place)) == 2  # the others next time


def test_of_two_rewrites_at_once_one_is_skipped(place: Workspace) -> None:
    queue(place, "a")
    with cache_maintenance._only_one(place) as mine:
        assert mine
        cache_maintenance.rewrite(place)
        assert summary_cache.paths(place) == []
    cache_maintenance.rewrite(place)
    assert from_cache(place) == {"runs/a"}


def test_a_cache_that_cannot_be_written_is_done_without(place: Workspace) -> None:
    Path(summary_cache.folder_of(place)).write_text("in the way")
    queue(place, "a")
    all_rows(place)
    cache_maintenance.CacheMaintenance(place)()
    assert_same(place)


def test_ready_and_workers_cache_a_summary_of_every_run(
    cli: Callable[..., object], drop: Callable[..., Path], workspace: Path, tmp_path: Path
) -> None:
    place = layout.locate(str(workspace))
    drop("a")
    drop("b", {"mended": str(tmp_path / "mended"), "maxAttempts": 1}, tasks=["Fails"])
    cli("ready")
    assert len(from_cache(place)) == 2
    cli("work", "--until-idle", check=1)
    assert {r.place for r in Catalog(place).records()} == {Place.COMPLETED, Place.FAILED}
    assert len(from_cache(place)) == 2
    assert_same(place)
    shutil.rmtree(summary_cache.folder_of(place))
    assert len(catalog.entries(place)) == 2
