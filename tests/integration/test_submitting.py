"""Submitting configs that lie in no folder: cut at each write, beside a `watch`, and woken waits."""

from __future__ import annotations

import os
import threading
import time

import pytest

from job_orchestration import ConfigRefusedError, UsageError, Workspace
from job_orchestration.commands import wait
from job_orchestration.config import parameter_keys
from job_orchestration.runs import opening
from job_orchestration.submission import submitted_configs
from job_orchestration.workspace import layout, temporary_files
from tests.conftest import ROOT
from tests.integration.runs import finish_move, opening_of, queue, taken
from tests.integration.write_faults import Killed, failing, operations_of

CONFIG = {"outputDir": "cut", "tasks": [{"id": "one", "method": "own_tasks:Task"}]}


TASK = """
class Task:
    def __init__(self, config):
        pass

    def run(self):
        pass
"""


@pytest.fixture(autouse=True)
def own_tasks(tmp_path, monkeypatch):
    """A module with a task, importable in every process."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "own_tasks.py").write_text(TASK)
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{ROOT}")


def place_of(workspace: Workspace) -> layout.Workspace:
    return layout.prepare(str(workspace.path))


def traces(workspace: Workspace, name: str) -> list[str]:
    """What there is of a run anywhere, its lines in caches left out."""
    found = [str(path.relative_to(workspace.path)) for path in workspace.path.rglob("*")]
    return sorted(path for path in found if name in path and not path.startswith("Misc/summaries"))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["before", "after", "ENOSPC"])
def test_a_submission_that_is_cut_anywhere_is_a_whole_run_or_none(tmp_path, quick_disk, how):
    def submit(workspace: Workspace) -> None:
        workspace.submit(CONFIG, inputs={"genes": ["a", "b"]})

    number = len(operations_of(lambda: submit(Workspace.create(tmp_path / "whole"))))
    wholes = 0
    for at in range(1, number + 1):
        workspace = Workspace.create(tmp_path / f"{how}{at}")
        try:
            with failing(at, how):
                submit(workspace)
        except (Killed, OSError):
            pass
        with opening.only_one(place_of(workspace)):
            opening.recover(place_of(workspace))
        if workspace.runs().names:
            wholes += 1
            run = workspace.run("cut")
            assert run.load("genes.txt") == "a\nb\n", f"cut {how} operation {at}"
            assert run.config["genes"] == str(run.path("genes.txt"))
        else:
            assert traces(workspace, "cut") == [], f"cut {how} operation {at}"
        assert os.listdir(workspace.path / "ConfigSources") == []
    assert 0 < wholes < number


def test_what_a_killed_submission_left_is_collected(workspace):
    folder = workspace / "Misc" / "submitted"
    old, new, alive = folder / "999999999.aa", folder / "999999998.bb", folder / f"{os.getpid()}.cc"
    for path in (old, new, alive):
        path.mkdir(parents=True)
        (path / "genes.txt").write_text("a\n")
    long_ago = time.time() - 2 * temporary_files.ABANDONED
    for path in (old, alive):
        os.utime(path, (long_ago, long_ago))
    temporary_files.collect(layout.prepare(str(workspace)))
    assert sorted(folder.iterdir()) == sorted([new, alive])


def test_a_submission_removes_nothing_that_is_dropped_under_its_name(workspace):
    dropped = workspace / "ConfigSources" / "cut.yaml"
    dropped.write_text("tasks: 5\n")
    (workspace / "ConfigSources" / "cut.yaml.problems.txt").write_text("of the dropped one\n")
    run = Workspace(workspace).submit(CONFIG)
    assert run.name == "cut"
    assert dropped.read_text() == "tasks: 5\n"
    assert (workspace / "ConfigSources" / "cut.yaml.problems.txt").exists()
    with pytest.raises(UsageError, match="lies in ConfigSources already"):
        Workspace(workspace).submit(dropped)


def test_a_name_that_is_taken_during_the_check_is_refused(workspace, monkeypatch):
    """Another process queues a run of that name between the check and the lock."""
    lab = Workspace(workspace)
    before = opening.only_one
    others = ["cut"]

    def meanwhile(place, **more):
        if others:
            others.pop()
            with before(place):
                opening.open_runs(place, [opening_of(place, "other", run="cut")])
        return before(place, **more)

    monkeypatch.setattr(opening, "only_one", meanwhile)
    with pytest.raises(ConfigRefusedError, match="The path cut already exists in Output"):
        lab.submit(CONFIG)
    assert lab.runs().names == ("cut",)


# -- waiting ----------------------------------------------------------------------------------------------


@pytest.fixture
def place(workspace):
    return layout.prepare(str(workspace))


def test_a_wait_is_woken_by_the_move_of_the_token(place, monkeypatch):
    monkeypatch.setattr(wait, "SCAN_EVERY", 3600.0)
    (token,) = queue(place, "a")
    claimed = taken(place, token)
    folds = []
    fold = wait.lifecycle.fold
    monkeypatch.setattr(wait.lifecycle, "fold", lambda files: (folds.append(1), fold(files))[1])
    found = []
    thread = threading.Thread(target=lambda: found.append(wait.wait(place, timeout=100)))
    thread.start()
    while len(folds) < 2:  # one for the list, one for the scan
        assert thread.is_alive()
    looks = len(folds)
    time.sleep(0.3)
    assert len(folds) == looks, "it does not look again and again"
    from job_orchestration.runs.events import Completed

    claimed.write(Completed(), sync=True)
    finish_move(place, claimed)
    claimed.release()
    thread.join(60)
    assert [(end.run, end.end) for end in found[0].ends] == [("runs/a", "completed")]


def test_a_run_whose_folder_is_deleted_is_not_waited_for_for_ever(place, monkeypatch):
    import shutil

    monkeypatch.setattr(wait, "SCAN_EVERY", 0.05)
    queue(place, "a")
    ends = []
    timer = threading.Timer(0.3, lambda: shutil.rmtree(place.run_folder("runs/a")))
    timer.start()
    waited = wait.wait(place, report=ends.append, timeout=100)
    assert [(end.run, end.end, end.is_well) for end in waited.ends] == [("runs/a", "gone", False)]
    assert ends == list(waited.ends)


# -- values -----------------------------------------------------------------------------------------------


def test_a_dotted_key_means_a_task_a_mapping_or_itself():
    values = {"tasks": [{"id": "train", "lr": 1}], "model": {"layers": {"n": 1}}, "a.b": 1}
    put = parameter_keys.put
    assert put(values, "train.lr", 2)[0]["tasks"] == [{"id": "train", "lr": 2}]
    assert put(values, "model.layers.n", 2)[0]["model"] == {"layers": {"n": 2}}
    assert put(values, "a.b", 2)[0]["a.b"] == 2
    assert put(values, "new", 2)[0]["new"] == 2
    same, fault = put(values, "modle.layers", 2)
    assert same == values
    assert fault.what == "there is no modle for modle.layers"
    assert values == {"tasks": [{"id": "train", "lr": 1}], "model": {"layers": {"n": 1}}, "a.b": 1}


@pytest.mark.parametrize(
    ("folder", "stem"),
    [
        ("{date}/bbs_{time}", "bbs"),
        ("a/b", "b"),
        ("{date}/{time}", "config"),
        (".x", "x"),
        ("a~b", "config"),
        (None, "config"),
    ],
)
def test_a_config_without_a_file_is_named_by_its_output_folder(folder, stem):
    config = submitted_configs.read({} if folder is None else {"outputDir": folder})
    assert config.drop({}).filename == f"{stem}.yaml"
