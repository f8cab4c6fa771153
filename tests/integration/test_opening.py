"""Opening runs: cut short after any step, the next `ready` settles it; each drop becomes exactly one run."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from job_orchestration.runs import journal, lifecycle, opening, trash
from job_orchestration.runs.events import Completed, GaveUp
from job_orchestration.workspace import durable, group_sync, layout
from tests.integration.harness import PACKAGE, eventually
from tests.integration.runs import finish_move, opening_of, queue, taken, tokens
from tests.integration.write_faults import Killed, failing, intercepted, operations_of

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("a", "b")


pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def make(tmp_path):
    """Makes workspaces in which two configs were dropped."""
    made = iter(range(1000))

    def workspace():
        found = layout.prepare(str(tmp_path / f"workspace{next(made)}"))
        for name in NAMES:
            Path(found.sources, f"{name}.yaml").write_text("dropped\n")
        return found

    return workspace


@pytest.fixture
def workspace(tmp_path):
    return layout.prepare(str(tmp_path / "workspace"))


def ready(workspace, run: str = "runs/day/{}") -> list[str]:
    """What `ready` does with drops that are fine: settle, then open what still lies in ConfigSources."""
    with opening.only_one(workspace):
        done = opening.recover(workspace)
        names = sorted(p.stem for p in Path(workspace.sources).glob("*.yaml"))
        openings = [opening_of(workspace, n, run.format(n)) for n in names]
        opening.open_runs(workspace, openings, may_wait=True)
    return done


def content(workspace) -> dict[str, str]:
    """Every file below Output and Misc/opening, with its content where that does not hold times."""
    found = {}
    for folder in (workspace.output, workspace.opening):
        for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
            timed = path.suffix == ".jsonl" or path.name == "status.yaml"
            found[str(path.relative_to(workspace.root))] = "" if timed else path.read_text()
    return found


def operations(make) -> list[str]:
    """What opening both drops makes, in order."""
    workspace = make()
    return operations_of(lambda: ready(workspace))


def written(*names: str) -> list[str]:
    return [f"{step} {name}" for name in names for step in ("create", "append", "fsync")]


RUN = ("config.yaml", "provenance.json", "000000.jsonl")
OPENING = [
    *written("a.json"), "fsync_folder opening",
    "mkdir runs", "fsync_folder Output", "mkdir day", "fsync_folder runs",
    *written(*RUN, "a.yaml"), *written(*RUN, "b.yaml"),
    "fsync_folder journal", "fsync_folder journal", "fsync_folder a", "fsync_folder b", "fsync_folder day",
    "link a.yaml", "unlink a.yaml", "link b.yaml", "unlink b.yaml", "fsync_folder ConfigsToRun",
    "rename .a.yaml~queued", "unlink .a.yaml~queued", "rename .b.yaml~queued", "unlink .b.yaml~queued",
    "fsync_folder ConfigSources", "unlink a.json",
]  # fmt: skip


def test_opening_makes_exactly_the_operations_that_the_fault_tests_know(make):
    made = operations(make)
    folders = slice(OPENING.index("fsync_folder journal"), OPENING.index("link a.yaml"))
    made[folders] = sorted(made[folders], key=OPENING.index)  # in any order, but before the first link
    assert made == OPENING


@pytest.mark.parametrize("how", ["before", "after", "torn", "ENOSPC"])
def test_an_opening_that_is_cut_anywhere_is_settled_and_each_drop_is_one_run(make, how):
    whole = make()
    ready(whole)
    for at in range(1, len(OPENING) + 1):
        workspace = make()
        with failing(at, how), pytest.raises((Killed, OSError)):
            ready(workspace)
        places = tokens(workspace)
        for name in NAMES:
            assert any(f"{name}.yaml" in places.get(place, ()) for place in ("sources", "to_run")), (
                "nothing is lost"
            )
        ready(workspace)
        assert tokens(workspace) == {"to_run": ["a.yaml", "b.yaml"]}, f"cut {how} operation {at}"
        assert content(workspace) == content(whole), f"cut {how} operation {at}"
        assert ready(workspace) == [], "nothing is left to be settled"


MANY = tuple("abcdefgh")


@pytest.fixture
def make_many(make, monkeypatch):
    """Makes workspaces in which as many configs were dropped as are made durable together."""
    if sys.platform != "linux":
        pytest.skip("no other system has such a call")
    monkeypatch.setattr(group_sync, "is_trusted", lambda folder: True)

    def workspace():
        found = make()
        for name in MANY:
            Path(found.sources, f"{name}.yaml").write_text("dropped\n")
        return found

    return workspace


def test_many_openings_wait_for_the_disk_together(make_many):
    made = operations(make_many)
    kinds = Counter(operation.split()[0] for operation in made)
    assert (kinds["sync_file_system"], kinds["fsync"]) == (1, 1), "the intent is synced before all others"
    at = made.index("sync_file_system Output")
    assert made.index("fsync a.json") < made.index("create config.yaml")
    assert max(i for i, o in enumerate(made) if o.startswith(("create", "append", "mkdir"))) < at
    assert at < min(i for i, o in enumerate(made) if o.startswith("link"))


def test_errors_are_reported_from_the_first_write_on(make_many):
    workspace, open_then = make_many(), set()

    def look(operation: durable.Operation, call: Callable[[], object]) -> object:
        if operation.path.endswith("config.yaml"):
            open_then.update(
                os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()
            )
        return call()

    with intercepted(look):
        ready(workspace)
    assert workspace.output in open_then


@pytest.mark.parametrize("how", ["before", "after", "ENOSPC", "EIO"])
def test_openings_whose_common_sync_is_cut_are_settled_and_each_drop_is_one_run(make_many, how):
    at = operations(make_many).index("sync_file_system Output") + 1
    workspace = make_many()
    with failing(at, how), pytest.raises((Killed, OSError)):
        ready(workspace)
    assert tokens(workspace) == {"sources": [f"{name}.yaml" for name in MANY]}
    ready(workspace)
    assert tokens(workspace) == {"to_run": [f"{name}.yaml" for name in MANY]}


def test_what_lies_on_another_disk_is_synced_there(make_many):
    memory = Path("/dev/shm")
    workspace = make_many()
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == Path(workspace.root).stat().st_dev:
        pytest.skip("there is no other file system here")
    with tempfile.TemporaryDirectory(dir=memory) as elsewhere:
        Path(workspace.output, "runs").symlink_to(elsewhere)
        made = operations_of(lambda: ready(workspace))
    kinds = Counter(operation.split()[0] for operation in made)
    assert (kinds["sync_file_system"], kinds["fsync"]) == (1, 1 + 3 * len(MANY)), "the tokens lie here"
    assert made.index("fsync_folder journal") < made.index("link a.yaml")


def test_few_openings_and_those_on_file_systems_that_are_not_known_are_synced_one_by_one(
    make, make_many, monkeypatch
):
    assert not any(operation.startswith("sync_file_system") for operation in operations(make))
    monkeypatch.setattr(group_sync, "is_trusted", lambda folder: False)
    assert operations(make_many).count("fsync config.yaml") == len(MANY)


@pytest.mark.parametrize(
    ("release", "reports_errors"),
    [("4.18.0-553.el8", False), ("5.14.0", False), ("5.17.0", True), ("6.18-cloud", True), ("?", False)],
)
def test_only_a_linux_that_tells_of_errors_is_trusted(release, reports_errors):
    assert group_sync.reports_errors(release) is reports_errors


def test_a_settling_that_is_cut_anywhere_is_settled_by_the_next(make):
    for first in (14, 30, OPENING.index("link a.yaml") + 1, OPENING.index("unlink b.yaml") + 1):
        settling = make()
        with failing(first, "after"), pytest.raises(Killed):
            ready(settling)
        steps = len(operations_of(lambda there=settling: ready(there)))
        for at in range(1, steps + 1, 3):
            workspace = make()
            with failing(first, "after"), pytest.raises(Killed):
                ready(workspace)
            with failing(at, "before"), pytest.raises(Killed):
                ready(workspace)
            ready(workspace)
            assert tokens(workspace) == {"to_run": ["a.yaml", "b.yaml"]}
            assert len(content(workspace)) == 8


def test_a_run_that_a_worker_took_and_finished_meanwhile_is_not_readied_again(make):
    workspace = make()
    link_of_b = OPENING.index("link b.yaml") + 1
    with failing(link_of_b, "before"), pytest.raises(Killed):
        ready(workspace)
    (a,) = opening.token.scan(workspace.to_run)
    claimed = taken(workspace, a)
    claimed.journal.write(Completed(), sync=True)
    finish_move(workspace, claimed)
    claimed.release()
    done = ready(workspace)
    assert tokens(workspace) == {"to_run": ["b.yaml"], "completed": ["a.yaml"]}
    assert len(done) == 2
    assert journal.attempts(workspace.run_folder("runs/day/a")) == [0, 1]


def test_a_source_that_was_replaced_meanwhile_is_kept(make):
    workspace = make()
    with failing(OPENING.index("rename .a.yaml~queued") + 1, "before"), pytest.raises(Killed):
        ready(workspace)
    Path(workspace.sources, "a.yaml").write_text("a new one, dropped since\n")
    with opening.only_one(workspace):
        opening.recover(workspace)
    assert tokens(workspace)["sources"] == ["a.yaml"]
    assert Path(workspace.sources, "a.yaml").read_text() == "a new one, dropped since\n"


def replace(path: str, content: str) -> None:
    """Put another file in a file's place, as an editor does."""
    part = Path(path).with_name(".part")
    part.write_text(content)
    part.replace(path)


@pytest.mark.parametrize("how", [None, "before", "after"])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_source_that_is_replaced_just_before_it_is_removed_is_kept(make, monkeypatch, step, how):
    """The person's new file arrives after the last look at the old one; then the process may be killed.

    The steps are the link back, the removal of the hidden name, and the move of the next file.
    """
    move = durable.rename

    def late(source, target):
        if source.endswith("/a.yaml"):
            replace(source, "a new one\n")
        move(source, target)

    monkeypatch.setattr(durable, "rename", late)
    workspace = make()
    if how is None:
        ready(workspace)
    else:
        with failing(OPENING.index("rename .a.yaml~queued") + 1 + step, how), pytest.raises(Killed):
            ready(workspace)
        with opening.only_one(workspace):
            opening.recover(workspace)
    assert Path(workspace.sources, "a.yaml").read_text() == "a new one\n"
    assert os.listdir(workspace.sources) == ["a.yaml"]


def test_a_source_that_cannot_have_its_name_again_gets_a_number(make, monkeypatch):
    """Two files arrive: one just before the old one is moved aside, one just after."""
    real = durable.rename

    def late(source, target):
        replace(source, "first\n")
        real(source, target)
        replace(source, "second\n")

    workspace = make()
    os.unlink(os.path.join(workspace.sources, "b.yaml"))
    monkeypatch.setattr(durable, "rename", late)
    ready(workspace)
    left = {p.name: p.read_text() for p in Path(workspace.sources).iterdir()}
    assert left == {"a.yaml": "second\n", "a-2.yaml": "first\n"}


def test_what_another_program_put_into_a_half_made_folder_stays(make):
    workspace = make()
    with failing(20, "after"), pytest.raises(Killed):
        ready(workspace)
    mine = Path(workspace.run_folder("runs/day/a"), "mine.txt")
    mine.write_text("mine\n")
    with opening.only_one(workspace):
        opening.recover(workspace)
    assert [p.name for p in mine.parent.iterdir()] == ["mine.txt"]


def test_a_view_that_was_half_written_does_not_stay(make, monkeypatch):
    workspace = make()

    def die(source, target):
        raise Killed

    monkeypatch.setattr(os, "rename", die)  # the last step of writing status.yaml
    with pytest.raises(Killed):
        ready(workspace)
    monkeypatch.undo()
    ready(workspace)
    assert not [name for name in content(workspace) if ".tmp" in name]


def test_a_run_whose_token_cannot_be_linked_leaves_nothing_and_the_others_are_opened(make, monkeypatch):
    workspace, refused = make(), []
    link = durable.link

    def refuse(source, target):
        if target == os.path.join(workspace.to_run, "a.yaml"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), target)
        link(source, target)

    monkeypatch.setattr(durable, "link", refuse)
    with opening.only_one(workspace):
        openings = [opening_of(workspace, name, f"runs/{name}") for name in NAMES]
        opened = opening.open_runs(workspace, openings, refuse=lambda one, _: refused.append(one.run))
    assert ([one.run for one in opened], refused) == (["runs/b"], ["runs/a"])
    assert os.listdir(workspace.run_folder("runs")) == ["b"]
    assert os.listdir(workspace.opening) == []


@pytest.mark.parametrize(
    "intent",
    [
        b"",
        b"[{",
        b"[]",
        b"{}",
        b"null",
        b"[1]",
        b'[{"run": "x"}]',
        b"\xff\xfe",
        b'[{"run": "../x", "source": "s", "identity": []}]',
    ],
)
def test_an_intent_that_says_nothing_is_taken_away(workspace, intent):
    Path(workspace.opening, "x.json").write_bytes(intent)
    ready(workspace)
    assert os.listdir(workspace.opening) == []


def test_a_pipe_among_the_tokens_holds_nothing_up(make):
    workspace = make()
    with failing(OPENING.index("link a.yaml") + 1, "before"), pytest.raises(Killed):
        ready(workspace)
    os.mkfifo(os.path.join(workspace.to_run, "pipe.yaml"))
    ready(workspace)
    assert tokens(workspace) == {"to_run": ["a.yaml", "b.yaml", "pipe.yaml"]}


def test_only_one_opens_at_a_time(workspace):
    source = (
        "import sys\n"
        "from job_orchestration.runs import opening\n"
        "from job_orchestration.workspace import layout\n"
        "with opening.only_one(layout.locate(sys.argv[1])):\n"
        "    print('in', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-P", "-c", source, workspace.root]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    first, second = (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        for _ in range(2)
    )
    try:
        waits = {first: second, second: first}
        import select

        (ready_end,), _, _ = select.select([first.stdout, second.stdout], [], [], 60)
        inside = first if ready_end is first.stdout else second
        outside = waits[inside]
        eventually(lambda: b"flock" in Path(f"/proc/{outside.pid}/wchan").read_bytes() or _waits(outside.pid))
        inside.kill()
        inside.wait()
        assert outside.stdout is not None
        assert outside.stdout.readline() == b"in\n", "the lock of one that was killed is free"
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()


def _waits(pid: int) -> bool:
    """Whether a process waits for a lock, as the kernel lists it."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and f" {pid} " in line for line in lines)


# -- the trash ----------------------------------------------------------------------------------------------


def ended(workspace, name: str, event=None) -> str:
    """A run that has ended; returns its name."""
    (found,) = queue(workspace, name)
    claimed = taken(workspace, found)
    claimed.journal.write(event or Completed(), sync=True)
    folder = workspace.failed if isinstance(event, GaveUp) else workspace.completed
    finish_move(workspace, claimed, folder)
    claimed.release()
    return claimed.run


@pytest.mark.parametrize("event", [None, GaveUp("enough")])
def test_a_run_that_has_ended_goes_to_the_trash_whole_and_with_its_token(workspace, event):
    run = ended(workspace, "a", event)
    mine = Path(workspace.run_folder(run), "result.txt")
    mine.write_text("mine\n")
    assert trash.put_away(workspace, run) is None
    assert tokens(workspace) == {}
    assert not mine.parent.exists()
    (place,) = Path(workspace.misc, "trash").iterdir()
    assert sorted(p.name for p in place.iterdir()) == ["a", "a.yaml"]
    assert (place / "a" / "result.txt").read_text() == "mine\n"
    assert lifecycle.fold(journal.read(str(place / "a"))).attempt == 1


def test_a_run_that_waits_or_runs_is_never_put_away(workspace):
    waiting, running = queue(workspace, "waiting", "running")
    claimed = taken(workspace, running)
    for run in ("runs/waiting", "runs/running"):
        fault = trash.put_away(workspace, run)
        assert fault is not None
        assert "queued or running" in fault.what
    claimed.release()
    assert tokens(workspace) == {"to_run": ["waiting.yaml"], "running": ["running~g000001~lab.1.abc.yaml"]}
    assert waiting.path


def test_a_run_that_is_just_being_retried_is_not_put_away(workspace):
    run = ended(workspace, "a", GaveUp("enough"))
    (found,) = opening.token.scan(workspace.failed)
    claimed = taken(workspace, found)  # a retry begins with a claim, before the journal says so
    fault = trash.put_away(workspace, run)
    assert fault is not None
    assert Path(workspace.run_folder(run)).is_dir()
    claimed.release()


def test_a_run_with_another_inside_is_not_put_away(workspace):
    run = ended(workspace, "a")
    Path(workspace.run_folder(run), "inner", "journal").mkdir(parents=True)
    fault = trash.put_away(workspace, run)
    assert fault is not None
    assert "runs/a/inner" in fault.what


def test_two_runs_of_one_name_find_a_place_in_the_trash(workspace):
    for _ in range(2):
        assert trash.put_away(workspace, ended(workspace, "a")) is None
    places = list(Path(workspace.misc, "trash").iterdir())
    assert len(places) == 2
    assert all((place / "a.yaml").exists() for place in places)


@pytest.mark.parametrize("how", ["before", "after", "ENOSPC"])
def test_putting_away_that_is_cut_anywhere_loses_nothing_and_can_be_done_again(make, how):
    there = make()
    run = ended(there, "a")
    steps = len(operations_of(lambda: trash.put_away(there, run)))
    for at in range(1, steps + 1):
        workspace = make()
        ended(workspace, "a")
        with failing(at, how), pytest.raises((Killed, OSError)):
            trash.put_away(workspace, run)
        if os.path.isdir(workspace.run_folder(run)):
            assert trash.put_away(workspace, run) is None
        kept = Path(workspace.misc, "trash")
        assert len(list(kept.glob("*/a/config.yaml"))) == 1
        assert {p.read_bytes() for p in kept.glob("*/a.yaml")} == {
            p.read_bytes() for p in kept.glob("*/a/config.yaml")
        }
        assert "completed" not in tokens(workspace)


def test_the_commit_of_a_run_is_the_link_of_its_token(make):
    workspace = make()
    seen = []

    def look(operation, call):
        found = call()
        if operation.name == "link":
            seen.append(sorted(tokens(workspace)["to_run"]))
        return found

    with intercepted(look):
        ready(workspace)
    assert seen == [["a.yaml"], ["a.yaml", "b.yaml"]]
    provenance = json.loads(Path(workspace.run_folder("runs/day/a"), "provenance.json").read_text())
    assert provenance == {}
    assert durable.intercept is None
