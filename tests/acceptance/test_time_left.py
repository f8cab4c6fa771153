"""Time left as the command line tells it, and what a person should know of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from job_orchestration.cli import render
from job_orchestration.commands.status import overview
from job_orchestration.forecast.time_left import PendingTrials, TimeLeft, _of_search
from job_orchestration.runs.catalog import RunRecord
from job_orchestration.runs.state import RunState, Status, TaskState, TaskStatus
from job_orchestration.workspace.heartbeats import Heartbeat
from job_orchestration.workspace.layout import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    Cli = Callable[..., subprocess.CompletedProcess[str]]
    Start = Callable[..., subprocess.Popen[str]]

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
WORKER = "lab3.4711.k7f"
UNNEEDED = {
    *(
        "asyncio",
        "git",
        "hashlib",
        "logging",
        "multiprocessing",
        "numpy",
        "optuna",
        "pandas",
        "psutil",
        "random",
    ),
    *("rich", "sqlalchemy", "statistics", "subprocess", "tempfile", "urllib", "watchdog", "yaml"),
    *("importlib.resources", "job_orchestration.executor", "job_orchestration.config.validation"),
    *(
        "job_orchestration.forecast.task_durations",
        "job_orchestration.config.yaml_reader",
        "job_orchestration.cli.live_view",
    ),
}


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat()


def ended(took: float = 100.0) -> RunRecord:
    task = TaskState("t", "T", TaskStatus.FINISHED, duration_s=took)
    state = RunState(Status.COMPLETE, "a", tasks=(task,), started_at=ago(9000), ended_at=ago(8000))
    return RunRecord("a", Place.COMPLETED, f"/w/Completed/{took}.yaml", f"done/{took}", state)


def at_work(since: float, **more: Any) -> RunRecord:
    task = TaskState("t", "T", TaskStatus.RUNNING, tries=1, started_at=ago(since))
    state = RunState(Status.RUNNING_TASK, "b", tasks=(task,), attempt=1, open=True, started_at=ago(since))
    record = {"held_by": WORKER, **more}
    return RunRecord("b", Place.RUNNING, "/w/Running/b.yaml", "b", state, **record)


def waiting(filename: str = "c.yaml", place: Place = Place.TO_RUN, **values: Any) -> RunRecord:
    state = RunState(Status.READY, "c", tasks=(TaskState("t", "T"),), readied_at=ago(10), values=values)
    return RunRecord("c", place, f"/w/{filename}", f"c/{filename}", state)


PAST = [ended(95 + i) for i in range(11)]


def test_waiting_running_interrupted_and_lost_runs_are_distinguished() -> None:
    held_back = waiting("d~held.yaml", Place.HELD)
    records = [*PAST, at_work(50), waiting(), held_back, waiting("e.yaml", Place.INTERRUPTED)]
    found = overview(records, NOW)
    by_name = {e.run: e for e in found.runs}
    running, to_run, held = by_name["b"], by_name["c/c.yaml"], by_name["c/d~held.yaml"]
    assert running.eta_s is not None
    assert 40 < running.eta_s < 60
    assert to_run.eta_s is not None
    assert 90 < to_run.eta_s < 110
    interrupted = by_name["c/e.yaml"]
    assert interrupted.eta_at is not None
    assert to_run.eta_at is not None
    assert running.eta_at is not None
    assert running.eta_at < interrupted.eta_at < to_run.eta_at  # one worker; what was interrupted goes first
    assert (held.place, held.eta_s, held.eta_at) == (Place.HELD, None, None)
    assert found.forecast.workers == 1
    assert found.forecast.runs == 3
    assert found.forecast.eta_s is not None
    assert 240 < found.forecast.eta_s < 260
    lost = overview([*PAST, at_work(50, held_by=None), waiting()], NOW)
    assert lost.runs[0].note == "lost"
    assert (lost.forecast.workers, lost.forecast.eta_s) == (0, None)


def test_the_queue_is_estimated_in_the_order_of_its_claims() -> None:
    last, first = waiting("a.yaml"), waiting("z.yaml", priority=2)
    then = waiting("b.yaml", after=["c/z.yaml", "b"], priority=1)
    found = overview([*PAST, at_work(50), last, first, then], NOW, [WORKER])
    ends = {e.run: e.eta_at for e in found.runs if e.eta_at}
    assert sorted(ends, key=lambda run: ends[run]) == ["b", "c/z.yaml", "c/b.yaml", "c/a.yaml"]
    with_many = overview([*PAST, at_work(50), last, first, then], NOW, [WORKER, "x", "y"])
    ends = {e.run: e.eta_at for e in with_many.runs if e.eta_at}
    assert ends["c/b.yaml"] > ends["c/z.yaml"], "others are free, but it waits"


def test_what_will_not_begin_by_itself_is_no_part_of_the_forecast() -> None:
    failed = replace(ended(1), place=Place.FAILED, run="failed")
    blocked = waiting("a.yaml", after=["failed"])
    behind = [waiting("b.yaml", after=["c/a.yaml"]), waiting("d.yaml", after=["nowhere"])]
    found = overview([*PAST, failed, blocked, *behind], NOW, [WORKER])
    assert (found.forecast.runs, found.forecast.unknown, found.forecast.eta_s) == (0, 0, None)
    assert [e.eta_at for e in found.runs if e.place is Place.TO_RUN] == [None] * 3
    found = overview([*PAST, failed, blocked, *behind, at_work(50)], NOW, [WORKER])
    assert found.forecast.runs == 1
    assert found.forecast.eta_s is not None


def test_the_trials_that_a_search_has_not_opened_yet_are_part_of_the_forecast() -> None:
    task = TaskState("t", "T", TaskStatus.FINISHED, duration_s=100.0)
    trial = (
        RunState(Status.COMPLETE, "s", tasks=(task,), started_at=ago(900), ended_at=ago(800)),
        "s/0002,x=1",
    )
    done = replace(ended(), run=trial[1], folded=trial[0])
    (order,) = [_of_search("s", 5, [*PAST, done])]
    assert order.number == 3
    found = overview([*PAST, done, at_work(50)], NOW, [WORKER], coming=[order]).forecast
    assert (found.runs, found.unknown) == (4, 0)
    assert found.eta_s is not None
    assert 340 < found.eta_s < 360
    new = overview([*PAST, at_work(50)], NOW, [WORKER], coming=[PendingTrials(None, 3)]).forecast
    assert (new.runs, new.unknown, new.eta_s) == (4, 3, None)


def test_a_run_after_one_of_unknown_end_has_no_known_end_either() -> None:
    lost = at_work(50, held_by=None)
    found = overview([*PAST, lost, waiting("a.yaml", after=["b"]), waiting("d.yaml")], NOW, ["x"])
    ends = {e.run: e.eta_at for e in found.runs}
    assert ends["c/a.yaml"] is None
    assert ends["c/d.yaml"] is not None
    assert found.forecast.eta_s is None


@pytest.mark.seed_fault("B-JO-27")
def test_only_workers_that_live_or_hold_a_run_count() -> None:
    records = [*PAST, waiting(), waiting("d.yaml")]
    alone, two, none = (overview(records, NOW, living).forecast for living in (["x"], ["x", "y"], []))
    assert alone.eta_s is not None
    assert two.eta_s is not None
    assert alone.eta_s > 1.8 * two.eta_s
    assert (none.workers, none.eta_s, none.eta_at) == (0, None, None)
    assert none.work_s is not None
    assert 190 < none.work_s < 210
    assert overview([*records, at_work(1)], NOW, [WORKER]).forecast.workers == 1  # the same one


@pytest.mark.seed_fault("B-JO-27")
def test_what_is_unknown_is_said_to_be() -> None:
    found = overview([waiting(), at_work(5)], NOW)
    assert (found.forecast.unknown, found.forecast.eta_s) == (2, None)
    assert all(entry.eta_s is None for entry in found.runs)
    said = "\n".join(render.overview(found))
    assert "unknown" in said
    assert "Time left unknown: 2 of 2 runs" in said
    assert "Expected time remaining: unknown" in "\n".join(render.first_release_report(found, 1))


def test_a_run_that_is_quiet_for_much_longer_than_usual_is_pointed_out() -> None:
    def note(since: float, **more: Any) -> str | None:
        return overview([*PAST, at_work(since, **more)], NOW).runs[0].note

    assert note(400) is None
    assert note(600) == "silent"
    assert note(600, logged_at=ago(100)) is None
    reported = Heartbeat(WORKER, "lab3", 4711, ago(900), ago(1), "b", 1, "t", 1, 9, moved_at=ago(100))
    assert note(600, heartbeat=reported) is None
    assert note(9000, logged_at=ago(600), heartbeat=reported) is None
    assert note(9000, logged_at=ago(600)) == "silent"
    assert overview([at_work(9000)], NOW).runs[0].note is None  # the usual time is unknown


def test_a_word_of_progress_that_is_some_seconds_old_is_not_taken_for_a_new_one() -> None:
    old = Heartbeat(WORKER, "lab3", 4711, ago(900), ago(10), "b", 1, "t", 5, 10)
    (entry,) = overview([at_work(110, heartbeat=old)], NOW).runs
    assert entry.progress == 0.5
    assert entry.eta_s is not None
    assert 85 < entry.eta_s < 95  # 100 s for the first half, and 10 s of the other have gone by


def test_the_forecast_of_a_very_long_queue_is_made_in_little_time() -> None:
    records = [*PAST, *(waiting(f"{i}.yaml") for i in range(20_000))]
    began = time.process_time()
    ahead = TimeLeft(records, NOW, ["x", "y"])
    took = time.process_time() - began
    print(f"a queue of {len(records)}: {took:.2f} s")
    assert ahead.forecast.eta_s is not None
    assert 950_000 < ahead.forecast.eta_s < 1_050_000


# -- through the command line -----------------------------------------------------------------------------


def test_status_shows_when_a_queue_will_be_empty(
    cli: Cli, start: Start, drop: Callable[..., Path], eventually: Callable[..., object], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    for number in range(3):
        drop(f"old{number}", {"gate": str(gate)}, tasks=["Waits"])
    cli("ready")
    cli("work", "--until-idle")
    gate.unlink()
    for number in range(3):
        drop(f"new{number}", {"gate": str(gate)}, tasks=["Waits"])
    cli("ready")
    idle = json.loads(cli("status", "--json").stdout)["forecast"]
    assert list(idle) == [
        *("workers", "runs", "unknown", "work_s", "work_p90_s", "eta_s", "eta_p90_s", "eta_at", "eta_p90_at")
    ]
    assert (idle["workers"], idle["runs"], idle["unknown"], idle["eta_s"]) == (0, 3, 0, None)
    assert "No workers; " in cli("status").stdout
    start("work", "--workers", "2")

    def busy() -> dict[str, Any] | None:
        found = json.loads(cli("status", "--json").stdout)
        return found if found["counts"]["running"] == 2 and found["forecast"]["workers"] == 2 else None

    found = eventually(busy)
    assert isinstance(found, dict)
    assert found["forecast"]["eta_s"] <= found["forecast"]["eta_p90_s"]
    assert all(run["eta_at"] for run in found["runs"] if run["place"] == "running")
    assert "left with 2 workers, until " in cli("status").stdout
    gate.touch()


def test_status_that_watches_prints_a_line_when_something_changed_without_a_terminal(
    cli: Cli, start: Start, drop: Callable[..., Path]
) -> None:
    drop("a")
    watching = start("status", "--watch")
    assert watching.stdout is not None
    assert watching.stdout.readline().startswith("1 source")
    cli("ready")
    assert watching.stdout.readline().startswith("1 to run")
    watching.terminate()
    watching.wait(timeout=60)
    assert watching.returncode == 130
    lines = start("status", "--watch", "--json")
    assert lines.stdout is not None
    assert json.loads(lines.stdout.readline())["counts"]["to_run"] == 1


def test_a_long_table_is_cut_unless_all_of_it_is_wanted(cli: Cli, workspace: Path) -> None:
    for number in range(render.MOST_ROWS + 5):
        (workspace / "ConfigSources" / f"a{number}.yaml").touch()
    short, whole = cli("status").stdout.splitlines(), cli("status", "--all").stdout.splitlines()
    assert "… and 5 more; status --all shows them" in short
    assert len(whole) == len(short) + 4
    assert len(json.loads(cli("status", "--json").stdout)["runs"]) == render.MOST_ROWS + 5


def test_status_of_an_empty_workspace_imports_nothing_that_it_does_not_use(workspace: Path) -> None:
    code = (
        "import sys; from job_orchestration.cli.main import main; code = main(sys.argv[1:]); "
        "print(*sorted(sys.modules)); sys.exit(code)"
    )
    root = str(Path(__file__).parents[2])
    for words in (["--workspace", str(workspace), "status"], ["--help"]):
        done = subprocess.run(
            [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {root!r}); {code}", *words],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={k: v for k, v in os.environ.items() if not k.startswith("COV")},
        )
        imported = set(done.stdout.splitlines()[-1].split())
        before = subprocess.run(
            [sys.executable, "-I", "-c", "import sys; print(*sys.modules)"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert not imported & UNNEEDED - set(before.stdout.split())
