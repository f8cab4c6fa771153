"""Client programs of the first Job Orchestration: they drop configs, look at statuses, gather results."""

import datetime as dt
import logging
import os
import threading
import time
from pathlib import Path

import pytest
import yaml

from job_orchestration.clientUtils import getResults, saveConfigs
from job_orchestration.Config import Config
from job_orchestration.config import yaml_reader
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.runs import journal
from job_orchestration.runs.state import Status
from job_orchestration.StatusTracker import StatusTracker
from tests.integration.seed_runs import make_run

# -- StatusTracker ----------------------------------------------------------------------------------------


def naive(text):
    return dt.datetime.fromisoformat(text).astimezone().replace(tzinfo=None)


def test_the_status_of_a_run_comes_from_its_journal(root):
    config = Config(make_run(root, "done") / "config.yaml")
    status = StatusTracker(config)
    assert status.status is Status.COMPLETE
    assert status.config is config
    assert (status.current_task, status.error_count, status.currentTestSha) == ("train", 0, "c" * 40)
    assert status.start_time == naive("2026-11-20T05:00:01+00:00")
    assert status.end_time == status.last_updated == naive("2026-11-20T05:00:04+00:00")
    running = StatusTracker(Config(make_run(root, "on", status="RUNNING") / "config.yaml"))
    assert (running.status, running.end_time) == (Status.RUNNING_TASK, None)


def test_a_stale_view_does_not_hide_what_the_journal_says(root):
    folder = make_run(root, "done")
    (folder / "status.yaml").write_text("status: READY\n")
    assert StatusTracker(Config(folder / "config.yaml")).status is Status.COMPLETE


def test_the_status_of_an_old_run_comes_from_its_file(root):
    folder = root / "Output" / "old"
    folder.mkdir()
    (folder / "config.yaml").write_text("outputDir: old\n")
    (folder / "status.yaml").write_text(
        "current_job: Test\ncurrent_test_sha: abc\nend_time: None\nerror_count: 3\n"
        "last_updated: '2022-10-02 14:03:12.5'\norchestration_version: 0.0.7\n"
        "start_time: '2022-10-02 14:02:51'\nstatus: FAILED\n"
    )
    status = StatusTracker(Config(folder / "config.yaml"))
    assert (status.status, status.current_task, status.error_count) == (Status.FAILED, "Test", 3)
    assert (status.currentTestSha, status.orchestrationVersion) == ("abc", "0.0.7")
    assert status.start_time == dt.datetime(2022, 10, 2, 14, 2, 51)  # noqa: DTZ001  # the file has no zone
    assert status.end_time is None


@pytest.mark.parametrize("text", ["", "stat", "status: RUNN\nstart_time: 20", "a: [", "- 1", "\0\0"])
def test_a_torn_status_file_harms_no_reader(root, text):
    folder = root / "Output" / "old"
    folder.mkdir()
    (folder / "config.yaml").write_text("outputDir: old\n")
    (folder / "status.yaml").write_text(text)
    status = StatusTracker(Config(folder / "config.yaml"))
    assert (status.status, status.start_time, status.current_task) == (Status.READY, None, None)


@pytest.mark.seed_fault("B-JO-28")
def test_asking_for_a_status_writes_nothing(root):
    path = root / "ConfigSources" / "a.yaml"
    path.write_text("outputDir: never\n")
    assert StatusTracker(Config(path)).status is Status.READY
    folder = make_run(root, "done")
    before = sorted((str(p), p.lstat().st_mtime_ns) for p in root.rglob("*"))
    StatusTracker(Config(folder / "config.yaml"))
    assert sorted((str(p), p.lstat().st_mtime_ns) for p in root.rglob("*")) == before
    assert not (root / "Output" / "never").exists()


# -- saveConfigs ------------------------------------------------------------------------------------------


def test_saved_configs_lie_in_config_sources_and_read_back_equal(root):
    configs = {
        "a.yaml": {"outputDir": "{date}/x_1", "lr": 1e-05, "no": "no", "size": 0.1, "tags": ["010", None]},
        "cnn_0.5_3": {"tasks": [{"id": "t", "method": "M", "epochs": (1, 2)}], "text": "two\nlines"},
        "b.YML": {"name": "Zoë"},
    }
    saveConfigs(configs)
    names = sorted(p.name for p in (root / "ConfigSources").iterdir())
    assert names == ["a.yaml", "b.YML", "cnn_0.5_3.yaml"]
    for filename, config in zip(("a.yaml", "cnn_0.5_3.yaml", "b.YML"), configs.values(), strict=True):
        data = (root / "ConfigSources" / filename).read_bytes()
        node, problems = yaml_reader.read(data, filename)
        assert not problems
        expected = {**config}
        if "tasks" in expected:
            expected["tasks"] = [{"id": "t", "method": "M", "epochs": [1, 2]}]
        assert yaml_reader.plain(node) == yaml.safe_load(data) == expected


def test_what_people_compute_with_is_saved_as_what_it_says(root):
    numpy = pytest.importorskip("numpy")
    saveConfigs(
        {
            "a": {
                "rates": numpy.logspace(-2, 0, 3),
                "layers": numpy.int64(3),
                "lr": numpy.float32(0.5),
                "data": Path("/data/x.csv"),
                "day": dt.date(2026, 1, 2),
                "kinds": {"b", "a"},
            }
        }
    )
    node, problems = yaml_reader.read((root / "ConfigSources" / "a.yaml").read_bytes(), "a.yaml")
    assert not problems
    assert yaml_reader.plain(node) == {
        "rates": numpy.logspace(-2, 0, 3).tolist(),
        "layers": 3,
        "lr": 0.5,
        "data": "/data/x.csv",
        "day": "2026-01-02",
        "kinds": ["a", "b"],
    }


@pytest.mark.parametrize(
    ("configs", "sentence"),
    [
        ({"fine": {}, "../a.yaml": {}}, "Rename"),
        ({"fine": {}, "sub/a": {}}, "'/'"),
        ({"fine": {}, "/etc/a.yaml": {}}, "'/'"),
        ({"fine": {}, ".hidden": {}}, "Rename"),
        ({"fine": {}, "": {}}, "Rename"),
        ({"fine": {}, "fine.yaml": {}}, "Two configs"),
        ({"fine": {}, "a": {"x": object()}}, "cannot be written as YAML: config.x: an object"),
    ],
)
def test_what_cannot_be_saved_is_refused_before_anything_is_written(root, configs, sentence):
    with pytest.raises(UsageError, match=sentence):
        saveConfigs(configs)
    assert list((root / "ConfigSources").iterdir()) == []


def test_a_watcher_of_config_sources_sees_whole_files_only(root):
    folder = root / "ConfigSources"
    config = {"text": "x" * 200_000}
    stop, torn = threading.Event(), []

    def watch():
        while not stop.is_set():
            names = [n for n in os.listdir(folder) if not n.startswith(".")]
            torn.extend(n for n in names if (folder / n).stat().st_size < 200_000)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        saveConfigs({f"a{i}": config for i in range(100)})
    finally:
        stop.set()
        watcher.join()
    assert torn == []
    assert len(os.listdir(folder)) == 100


def test_three_thousand_configs_are_saved_in_a_moment(root):
    configs = {
        f"{model}_{size}_{repeat}.yaml": {
            "githubRepository": "https://example.org/me/SimpleML.git",
            "pathToTasks": "/code/experiments",
            "outputDir": f"{{date}}/{model}_{size}_{repeat}",
            "tasks": [{"id": "train", "method": "Train"}, {"id": "test", "method": "Test"}],
            "repeatNumber": repeat,
        }
        for model in ("cnn", "mlp")
        for size in (100, 200, 400, 800, 1600)
        for repeat in range(300)
    }
    begin = time.process_time()
    saveConfigs(configs)
    spent = time.process_time() - begin
    print(f"3000 configs saved: {spent:.2f} s CPU")
    assert len(os.listdir(root / "ConfigSources")) == 3000
    assert spent < 5


# -- getResults -------------------------------------------------------------------------------------------


def test_results_are_gathered_and_filtered_by_config_and_status(root):
    make_run(root, "2026_11_20/x_1", x=1, score=0.1)
    make_run(root, "2026_11_20/x_2", x=2, score=0.2)
    make_run(root, "2026_11_20/x_3", x=3, score=0.3, status="RUNNING")
    make_run(root, "x_4", x=4)

    def scores(**filters):
        return [r["score"] for r in getResults(**filters)]

    assert scores() == [0.1, 0.2, 0.3]
    assert scores(configFilter=lambda c: c.raw_config["x"] > 1) == [0.2, 0.3]
    assert scores(configFilter=lambda c: c.tasks[0].x == 1 and c.tasks[0].epochs == 5) == [0.1]
    assert scores(statusFilter=lambda s: s.status == Status.COMPLETE) == [0.1, 0.2]
    assert getResults("results.yaml", lambda c: c.raw_config["x"] > 1, lambda s: s.end_time is not None) == [
        {"score": 0.2}
    ]
    assert getResults(resultsFilename="other.yaml") == []


def test_results_that_a_task_saved_in_its_own_folder_belong_to_its_run(root):
    folder = make_run(root, "x_1", x=1)
    for name in ("train", "train~2", ".partial", "figures"):
        (folder / name).mkdir()
        (folder / name / "scores.yaml").write_text(f"{name}\n")
    file = Path(journal.path_of(str(folder), 1))
    file.write_bytes(file.read_bytes().replace(b'"result": 0.5', b'"result": 0.5, "folder": "train~2"'))
    assert getResults("scores.yaml", configFilter=lambda c: c.raw_config["x"] == 1) == ["figures", "train~2"]


@pytest.mark.seed_fault("B-JO-13")
def test_results_without_a_config_are_no_error(root, caplog):
    (root / "Output" / "odd").mkdir()
    (root / "Output" / "odd" / "results.yaml").write_text("score: 0.9\n")
    make_run(root, "x_1", score=0.1)
    assert getResults() == [{"score": 0.9}, {"score": 0.1}]
    with caplog.at_level(logging.WARNING):
        assert getResults(configFilter=lambda c: True) == [{"score": 0.1}]
    assert "odd/results.yaml is left out" in caplog.text


@pytest.mark.parametrize("torn", ["a: [", "a: !!python/object/apply:os.getcwd []\n", "\0", "{}: {"])
def test_unreadable_results_are_left_out_with_a_warning(root, caplog, torn):
    make_run(root, "x_1", score=0.1)
    folder = make_run(root, "x_2")
    (folder / "results.yaml").write_text(torn)
    with caplog.at_level(logging.WARNING):
        assert getResults() == [{"score": 0.1}]
    assert "x_2/results.yaml is left out" in caplog.text


def test_an_error_in_a_filter_is_its_authors_to_see(root):
    make_run(root, "x_1", score=0.1)
    with pytest.raises(KeyError):
        getResults(configFilter=lambda c: c.raw_config["misspelt"])
    with pytest.raises(ValueError, match="many"):
        getResults(statusFilter=lambda s: int("many"))
