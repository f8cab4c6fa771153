"""What doctor finds in a workspace: each fault by its name, and none where there is none."""

from __future__ import annotations

import json
import os
import shutil
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from job_orchestration.commands import doctor
from job_orchestration.diagnostics.problems import Level
from job_orchestration.housekeeping import machine_check, workspace_check
from job_orchestration.runs import opening
from job_orchestration.runs.events import Completed
from job_orchestration.workspace import heartbeats, layout, lock_probe
from job_orchestration.workspace.heartbeats import Heartbeat
from tests.faults.workspace_files import tree
from tests.integration.runs import finish_move, queue, taken

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def workspace(tmp_path):
    """A workspace with one run in each place, and nothing wrong."""
    found = layout.prepare(str(tmp_path / "workspace"))
    queue(found, "waits")
    (done,) = queue(found, "done")
    claimed = taken(found, done)
    claimed.journal.write(Completed(), sync=True)
    finish_move(found, claimed)
    claimed.release()
    return found


def wrong(workspace) -> list[str]:
    """What the survey finds that is not fine."""
    return [f.what for f in workspace_check.check_workspace(workspace) if f.level is not Level.OK]


def test_where_nothing_is_wrong_nothing_is_found_and_nothing_changed(workspace):
    before = tree(Path(workspace.root))
    assert wrong(workspace) == []
    assert tree(Path(workspace.root)) == before


def test_every_diagnostic_that_is_not_fine_says_what_to_do(workspace):
    Path(workspace.to_run, "by_hand.yaml").write_text("tasks: []\n")
    Path(workspace.to_run, "stray").write_text("")
    shutil.rmtree(workspace.failed)
    found = [f for f in workspace_check.check_workspace(workspace) if f.level is not Level.OK]
    assert len(found) == 3
    assert all(f.todo for f in found)


def lose_folder(workspace):
    shutil.rmtree(workspace.failed)


def lose_version(workspace):
    Path(workspace.misc, "VERSION").unlink()


def leave_a_stray(workspace):
    Path(workspace.completed, "notes.txt").write_text("mine")


def leave_a_token_by_hand(workspace):
    Path(workspace.to_run, "by_hand.yaml").write_text("tasks: []\n")


def edit_a_token(workspace):
    with Path(workspace.to_run, "waits.yaml").open("a") as file:
        file.write("x: 1\n")


def copy_a_token(workspace):
    shutil.copy(Path(workspace.to_run, "waits.yaml"), Path(workspace.to_run, "copy.yaml"))


def lose_output(workspace):
    shutil.rmtree(workspace.run_folder("runs/waits"))


def lose_token_of_ended(workspace):
    Path(workspace.completed, "done.yaml").unlink()


def lose_token_of_waiting(workspace):
    Path(workspace.to_run, "waits.yaml").unlink()


def cut_a_move(workspace):
    entry = Path(workspace.misc, "trash", "20260101T000000Z")
    entry.mkdir(parents=True)
    Path(workspace.completed, "done.yaml").rename(entry / "done.yaml")


def cut_a_ready(workspace):
    Path(workspace.opening, "x.json").write_text("[]")


def refuse_a_config(workspace):
    Path(workspace.sources, "a.yaml").write_text("tasks: 5\n")
    Path(workspace.sources, "a.yaml.problems.txt").write_text("a.yaml:1:1: no\n")


def interrupt(workspace):
    (found,) = queue(workspace, "cut")
    taken(workspace, found, f"{socket.gethostname().partition('.')[0]}.1.abc").release()


def die(workspace):
    old = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    heartbeats.write(workspace, Heartbeat("lab.1.abc", "lab", 1, old, old))


def set_a_clock_ahead(workspace):
    ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    heartbeats.write(workspace, Heartbeat("lab.1.abc", "lab", 1, ahead, ahead))


def open_to_all(workspace):
    os.chmod(workspace.output, 0o777)


def break_the_defaults(workspace):
    Path(workspace.root, "workspace.yaml").write_text("a: 1\na: 2\n")


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (lose_folder, "These parts are missing: Failed"),
        (lose_version, "These parts are missing: Misc/VERSION"),
        (leave_a_stray, "These are no configs and are ignored: Completed/notes.txt"),
        (leave_a_token_by_hand, "ConfigsToRun/by_hand.yaml: This file was not readied"),
        (edit_a_token, "ConfigsToRun/waits.yaml: This file was edited"),
        (copy_a_token, "More than one token names these runs: runs/waits"),
        (lose_output, "ConfigsToRun/waits.yaml: Its output folder runs/waits is gone"),
        (lose_token_of_ended, "These have ended and lost their tokens: runs/done"),
        (lose_token_of_waiting, "These have no token: runs/waits"),
        (cut_a_move, "A process died while it moved these: runs/done"),
        (cut_a_ready, "A ready was cut short"),
        (refuse_a_config, "These were refused: a.yaml"),
        (interrupt, "These runs are interrupted: runs/cut"),
        (die, "No heartbeat from these workers: crashed, or on an unreachable machine: lab.1.abc"),
        (set_a_clock_ahead, "The clocks of these machines are ahead of ours: lab"),
        (open_to_all, "Everybody may write to"),
        (break_the_defaults, "duplicate key 'a'"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_fault_is_found_by_its_name_and_alone(workspace, harm, expected):
    harm(workspace)
    before = tree(Path(workspace.root))
    (found,) = wrong(workspace)
    assert expected in found
    assert tree(Path(workspace.root)) == before


def test_a_ready_that_is_at_work_is_not_cut_short(workspace):
    cut_a_ready(workspace)
    with opening.only_one(workspace):
        assert wrong(workspace) == []


def test_the_advice_for_a_run_without_a_token_works(workspace):
    lose_token_of_waiting(workspace)
    shutil.copy(Path(workspace.run_folder("runs/waits"), "config.yaml"), Path(workspace.to_run, "new.yaml"))
    assert wrong(workspace) == []


def diagnostics(workspace) -> dict[str, str]:
    return {
        f.what.partition("(")[0]: f.todo
        for f in machine_check.check_disk(workspace)
        if f.level is not Level.OK
    }


def test_a_disk_that_is_slow_full_or_in_memory_is_reported(workspace, monkeypatch):
    monkeypatch.setattr(machine_check, "_SLOW", 0.0)
    monkeypatch.setattr(machine_check, "_FULL", 1e18)
    monkeypatch.setattr(lock_probe, "mounted", lambda *_: ("tmpfs", {"rw"}))
    found = " ".join(diagnostics(workspace))
    for expected in ("A sync takes", "GB are free", "gone after a restart"):
        assert expected in found


def test_a_soft_mount_and_one_with_local_locks_are_reported_without_secrets(workspace, monkeypatch):
    options = {"rw", "soft", "nolock", "vers=3", "addr=10.1.2.3", "username=me", "password=s3cr3t"}
    monkeypatch.setattr(lock_probe, "mounted", lambda *_: ("nfs", options))
    every = list(machine_check.check_disk(workspace))
    found = " ".join(f.what for f in every)
    assert "File system nfs (nolock, rw, soft, vers=3)" in found
    assert "The NFS mount is soft" in found
    assert "local locks" in found
    assert "A lock keeps a second holder out" not in found
    assert "s3cr3t" not in found


@pytest.mark.parametrize(("skew", "level"), [(0.1, Level.OK), (-5, Level.WARNING), (3600, Level.PROBLEM)])
def test_a_clock_that_differs_is_reported(skew, level):
    assert machine_check._clock(skew).level is level


def test_a_report_is_made_whatever_the_disk_says(workspace, monkeypatch):
    def fail(_workspace):
        raise OSError(5, "Input/output error", workspace.output)
        yield

    monkeypatch.setattr(workspace_check, "check_workspace", fail)
    monkeypatch.setenv("HOME", workspace.root)
    report = doctor.doctor(workspace.root)
    assert "~/Output cannot be looked at: Input/output error" in {f.what for f in report.diagnostics}
    assert json.dumps(report.as_json())
    assert report.counts[Level.PROBLEM] == 1
