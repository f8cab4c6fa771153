"""Looking at tokens that move, at locks, and at what the first Job Orchestration left."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from job_orchestration.commands.logs import logs
from job_orchestration.commands.status import status
from job_orchestration.runs import catalog, event_codec, journal, token_header
from job_orchestration.runs.events import Claimed, Completed, GaveUp, JournalEntry, Readied
from job_orchestration.runs.state import Status
from job_orchestration.workspace import clock, heartbeats, layout, locks
from job_orchestration.workspace.heartbeats import Heartbeat
from job_orchestration.workspace.layout import Place
from job_orchestration.workspace.naming import TokenName, worker_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from job_orchestration.runs.events import Event
    from job_orchestration.workspace.layout import Workspace

HERE = worker_name(socket.gethostname(), 4711, "abc")
THERE = "elsewhere.4711.abc"


@pytest.fixture
def place(workspace: Path) -> Workspace:
    return layout.locate(str(workspace))


def make_run(place: Workspace, name: str, folder: str, *events: Event, worker: str | None = None) -> str:
    """A run with a journal, its token in a folder; returns the token's path."""
    folder_of_run = place.run_folder(f"runs/{name}")
    os.makedirs(journal.folder_of(folder_of_run))
    files = {0: [Readied(name, "d" * 64, {"tasks": [{"id": "t", "method": "T"}]}, 1)]}
    if events:
        files[1] = [Claimed(1, worker or HERE, "host", 1, {0: 1}), *events]  # type: ignore[list-item]
    for number, written in files.items():
        lines = [event_codec.encode(JournalEntry(i + 1, clock.timestamp(), e)) for i, e in enumerate(written)]
        Path(journal.path_of(folder_of_run, number)).write_bytes(b"".join(lines))
    path = Path(folder, str(TokenName(name, 1, worker) if worker else TokenName(name)))
    path.write_text(f"# {token_header.HEADER}runs/{name}\n")
    return str(path)


MOVES = [
    ("to_run", "a.yaml", "running", f"a~g000001~{HERE}.yaml"),
    ("running", f"a~g000001~{HERE}.yaml", "completed", "a.yaml"),
    ("running", f"a~g000001~{HERE}.yaml", "failed", "a.yaml"),
    ("running", f"a~g000001~{HERE}.yaml", "to_run", "a.yaml"),
    ("running", f"a~g000001~{HERE}.yaml", "to_run", "a~wait20300101T000000Z.yaml"),
    ("running", f"a~g000001~{HERE}.yaml", "running", f"a~g000002~{HERE}.yaml"),
    ("failed", "a.yaml", "running", f"a~g000001~{HERE}.yaml"),
]


@pytest.mark.parametrize("move", MOVES, ids=lambda m: f"{m[0]}-{m[2]}")
@pytest.mark.parametrize("when", range(1, 11))
def test_a_run_that_moves_while_we_look_is_met_exactly_once(
    place: Workspace, monkeypatch: pytest.MonkeyPatch, move: tuple[str, str, str, str], when: int
) -> None:
    source, name, target, new_name = move
    before, after = (os.path.join(getattr(place, f), n) for f, n in ((source, name), (target, new_name)))
    os.rename(make_run(place, "a", place.to_run), before)
    listed = catalog.safe_reads.names_in
    looks = 0

    def listed_and_moved(folder: str) -> list[str]:
        nonlocal looks
        found = listed(folder)
        looks += 1
        if looks == when:
            os.rename(before, after)
        return found

    monkeypatch.setattr(catalog.safe_reads, "names_in", listed_and_moved)
    assert [r.run for r in catalog.entries(place)] == ["runs/a"]


@pytest.mark.parametrize("when", range(1, 11))
def test_a_drop_that_is_readied_while_we_look_is_met_exactly_once(
    place: Workspace, monkeypatch: pytest.MonkeyPatch, when: int
) -> None:
    drop = Path(place.sources, "a.yaml")
    drop.touch()
    listed = catalog.safe_reads.names_in
    looks = 0

    def listed_and_readied(folder: str) -> list[str]:
        nonlocal looks
        found = listed(folder)
        looks += 1
        if looks == when:
            make_run(place, "a", place.to_run)
            drop.unlink()
        return found

    monkeypatch.setattr(catalog.safe_reads, "names_in", listed_and_readied)
    assert [r.config for r in catalog.entries(place)] == ["a"]


def test_a_drop_that_is_queued_but_not_removed_yet_counts_as_a_run(place: Workspace) -> None:
    Path(place.sources, "a.yaml").touch()
    Path(place.sources, "b.yaml").touch()
    make_run(place, "a", place.to_run)
    intents = [
        {"source": f"{name}.yaml", "run": f"runs/{name}", "token": "", "identity": []} for name in "ab"
    ]
    Path(place.opening, "a.json").write_text(json.dumps(intents))
    Path(place.opening, "c.json").write_text("[{")
    assert [(r.config, r.place) for r in catalog.entries(place)] == [("b", "sources"), ("a", "to_run")]


@pytest.fixture
def locked() -> Iterator[object]:
    descriptors: list[int] = []

    def lock(path: str) -> None:
        descriptors.append(os.open(path, os.O_RDWR))
        fcntl.flock(descriptors[-1], fcntl.LOCK_EX)

    yield lock
    for descriptor in descriptors:
        os.close(descriptor)


def test_the_kernel_tells_what_is_locked(place: Workspace, tmp_path: Path, locked) -> None:
    files = [tmp_path / "locked", tmp_path / "free"]
    for file in files:
        file.touch()
    locked(str(files[0]))
    held = locks.held_inodes(place.running)
    assert held is not None
    assert [file.stat().st_ino in held for file in files] == [True, False]
    assert locks.held_inodes(str(tmp_path / "nowhere")) is None


def test_a_locked_token_runs_and_a_free_one_of_this_machine_is_interrupted(place: Workspace, locked) -> None:
    path = make_run(place, "a", place.running, worker=HERE)
    heartbeats.write(
        place, Heartbeat(HERE, socket.gethostname(), 4711, clock.timestamp(), clock.timestamp(), "runs/a", 1)
    )
    (record,) = catalog.entries(place)
    assert (record.place, record.held_by, record.heartbeat) == (Place.INTERRUPTED, None, None)
    locked(path)
    (record,) = catalog.entries(place)
    assert (record.place, record.held_by) == (Place.RUNNING, HERE)
    assert record.heartbeat is not None


@pytest.mark.parametrize(
    ("age", "place_then", "held_by"),
    [(5, Place.RUNNING, THERE), (60, Place.INTERRUPTED, None), (None, Place.RUNNING, None)],
)
def test_for_another_machine_the_heartbeat_decides_and_without_one_it_is_unknown(
    place: Workspace, age: int | None, place_then: Place, held_by: str | None
) -> None:
    make_run(place, "a", place.running, worker=THERE)
    if age is not None:
        at = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
        heartbeats.write(place, Heartbeat(THERE, "elsewhere", 4711, at, at, "runs/a", 1))
    (record,) = catalog.entries(place)
    assert (record.place, record.held_by) == (place_then, held_by)


def test_progress_is_believed_only_from_the_holder_and_about_this_attempt(place: Workspace, locked) -> None:
    locked(make_run(place, "a", place.running, worker=HERE))
    for attempt, believed in ((2, False), (1, True)):
        moment = clock.timestamp()
        heartbeats.write(place, Heartbeat(HERE, "host", 4711, moment, moment, "runs/a", attempt, "t", 1, 2))
        (record,) = catalog.entries(place)
        assert (record.heartbeat is not None) is believed


def test_who_looks_again_sees_what_has_changed(place: Workspace) -> None:
    make_run(place, "done", place.completed, Completed())
    gone = make_run(place, "gone", place.failed, GaveUp("no more"))
    looker = catalog.Catalog(place)
    assert {r.run: r.place for r in looker.records()} == {"runs/done": "completed", "runs/gone": "failed"}
    events = Path(journal.path_of(place.run_folder("runs/gone"), 1))
    events.write_bytes(events.read_bytes() + b"garbage")  # no process writes it without moving the token
    os.rename(gone, os.path.join(place.to_run, "gone.yaml"))
    assert {r.run: r.place for r in looker.records()} == {"runs/done": "completed", "runs/gone": "to_run"}
    os.unlink(os.path.join(place.to_run, "gone.yaml"))
    assert [r.run for r in looker.records()] == ["runs/done"]
    assert len(looker._known) == 1


def test_what_was_not_readied_is_shown_with_the_sentence_beside_it(place: Workspace) -> None:
    Path(place.to_run, "by_hand.yaml").write_text("tasks: []\n")
    Path(place.to_run, "by_hand.yaml.problems.txt").write_text("by_hand.yaml: it was not checked.\nMore.\n")
    (entry,) = status(place).runs
    assert (entry.run, entry.config, entry.place) == (None, "by_hand", Place.TO_RUN)
    assert entry.error == "by_hand.yaml: it was not checked."


def test_other_files_are_nobodys(place: Workspace) -> None:
    for folder in place.folders.values():
        Path(folder, "notes.txt").write_text("x")
        Path(folder, "a~b~c.yaml.tmp").write_text("x")
        os.mkdir(os.path.join(folder, "folder"))
    assert catalog.entries(place) == []


# -- logs -------------------------------------------------------------------------------------------------


def test_a_followed_log_may_be_absent_grow_and_be_cut_off(place: Workspace) -> None:
    make_run(place, "a", place.running, worker=HERE)
    log = Path(place.run_folder("runs/a"), "log.log")
    events = Path(journal.path_of(place.run_folder("runs/a"), 1))

    def end_the_run() -> None:
        log.write_bytes(b"anew \xc3")
        end = event_codec.encode(JournalEntry(1, clock.timestamp(), Claimed(1, HERE, "host", 1, {0: 1})))
        events.write_bytes(end + event_codec.encode(JournalEntry(2, clock.timestamp(), Completed())))

    steps = iter(
        [
            lambda: log.write_bytes(b"gr\xc3"),
            lambda: log.write_bytes(b"gr\xc3\xbc\xc3\x9fe, long\n"),
            end_the_run,
        ]
    )
    text = "".join(logs(place, "a", follow=True, pause=lambda _seconds: next(steps)()))
    assert text == "grüße, long\nanew \ufffd"


def test_a_log_is_read_piece_by_piece(place: Workspace) -> None:
    make_run(place, "a", place.completed, Completed())
    whole = "ä" * 100_000
    Path(place.run_folder("runs/a"), "log.log").write_text(whole)
    pieces = list(logs(place, "a"))
    assert len(pieces) > 1
    assert "".join(pieces) == whole


# -- the first Job Orchestration --------------------------------------------------------------------------

OLD_STATUS = """\
current_job: train
current_test_sha: 0123456789abcdef0123456789abcdef01234567
end_time: 'None'
error_count: 3
last_updated: '2024-03-01 12:00:30.000001'
orchestration_version: 0.0.7
start_time: '2024-03-01 12:00:00'
status: FAILED
"""


def first_release_run(place: Workspace, output_dir: str) -> None:
    config = {"outputDir": output_dir, "tasks": [{"id": i, "method": "M"} for i in ("load", "train", "save")]}
    Path(place.failed, "old.yaml").write_text(json.dumps(config))


@pytest.mark.parametrize("output_dir", ["nested/old", "{output}/nested/old", "/gone/Output/nested/old"])
def test_a_run_of_the_first_job_orchestration_is_listed(place: Workspace, output_dir: str) -> None:
    first_release_run(place, output_dir.format(output=place.output))
    folder = Path(place.run_folder("nested/old"))
    folder.mkdir(parents=True)
    (folder / "status.yaml").write_text(OLD_STATUS)
    (entry,) = status(place).runs
    assert (entry.run, entry.config, entry.place) == ("nested/old", "old", Place.FAILED)
    assert (entry.status, entry.outcome) == (Status.FAILED.name, "error")
    assert (entry.task, entry.task_index, entry.task_count) == ("train", 1, 3)
    assert entry.commit == "0123456789abcdef0123456789abcdef01234567"
    noon = datetime(2024, 3, 1, 12).astimezone(UTC)  # it wrote local times without a zone
    assert entry.started_at == noon.isoformat(timespec="microseconds")
    assert entry.elapsed_s == 30.000


@pytest.mark.parametrize(
    "garbage", [b"", b"\0\xff", b"status: [", b"- a\n", b"status: 7\nstart_time: yesterday\n", b"a: &a [*a]"]
)
def test_garbage_in_an_old_status_does_no_harm(place: Workspace, garbage: bytes) -> None:
    first_release_run(place, "old")
    folder = Path(place.run_folder("old"))
    folder.mkdir()
    (folder / "status.yaml").write_bytes(garbage)
    Path(place.completed, "garbage.yaml").write_bytes(garbage)
    found = {e.config: e for e in status(place).runs}
    assert (found["old"].place, found["old"].started_at) == (Place.FAILED, None)
    assert found["garbage"].status == "COMPLETE"


def test_an_old_output_folder_never_leads_out_of_output(place: Workspace) -> None:
    for output_dir in ("..", "../../etc", "/etc", "/x/Output/../../etc", "", "."):
        first_release_run(place, output_dir)
        (entry,) = status(place).runs
        assert entry.run is None
