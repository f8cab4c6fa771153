"""Client programs of the first Job Orchestration, in process, against files of both releases."""

import datetime as dt
import hashlib
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from job_orchestration import Constants
from job_orchestration.clientUtils import getResults, saveConfigs
from job_orchestration.Config import Config
from job_orchestration.configBase import Dict2Class, TaskWithInitAndValidate
from job_orchestration.files import journal
from job_orchestration.files.workspace import prepare
from job_orchestration.model import event as events
from job_orchestration.model.errors import UsageError, WorkspaceError
from job_orchestration.model.event import Entry
from job_orchestration.rules import reading
from job_orchestration.rules.writing import to_yaml
from job_orchestration.StatusTracker import Status, StatusTracker
from job_orchestration.TaskBase import TaskBase

VARIABLE = "JOB_ORCHESTRATION_WORKSPACE"
DEMO = (Path(__file__).parent.parent / "fixtures" / "seed_demo" / "test.yaml").read_text()


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty workspace that the environment names."""
    prepare(str(tmp_path / "workspace"))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "workspace"))
    return (tmp_path / "workspace").resolve()


def make_run(root, name, *, x=1, score=None, status="COMPLETE", token=True):
    """A run as the new release leaves it."""
    folder = root / "Output" / name
    (folder / "journal").mkdir(parents=True)
    tasks = [{"id": "train", "method": "Train", "epochs": 5}]
    values = {"githubRepository": "https://example.org/me/SimpleML.git", "pathToTasks": "/code", "x": x}
    values |= {"outputDir": name, "tasks": tasks}
    data = to_yaml(values, f"job_orchestration run: {name}")
    (folder / "config.yaml").write_bytes(data)
    if token:
        (root / "Completed" / f"{name.replace('/', '_')}.yaml").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    found = [events.Readied(name, digest, values, 7, events.Code("c" * 40, "."))]
    begun = [events.Claimed(1, "lab.1.abc", "lab", 1, {0: 1}), events.TaskStarted("train", 1)]
    if status == "COMPLETE":
        begun += [events.TaskFinished("train", 1.0, 0.5), events.Completed()]
    for number, written in ((0, found), (1, begun)):
        entries = [Entry(i, f"2026-11-20T05:00:0{i}.000000+00:00", e) for i, e in enumerate(written, 1)]
        Path(journal.path_of(str(folder), number)).write_bytes(b"".join(map(journal.encode, entries)))
    if score is not None:
        (folder / "results.yaml").write_text(yaml.dump({"score": score}))
    return folder


# -- configBase -------------------------------------------------------------------------------------------


class Train(TaskWithInitAndValidate):
    epochs: int
    lr: float

    def run(self):
        return self.epochs * self.lr


def test_every_key_is_an_attribute_of_a_typed_task():
    config = {"epochs": 2, "lr": 0.5, "more": [1]}
    task = Train(config)
    assert (task.run(), task.more, task.raw_dict) == (1.0, [1], config)
    assert task.validate() == []
    assert isinstance(task, TaskBase)
    assert isinstance(task, Dict2Class)


def test_a_declared_parameter_that_was_not_given_is_named_with_its_class():
    assert Train({"epochs": 2}).validate() == ["lr missing from Train"]
    assert Train({}).validate() == ["epochs missing from Train", "lr missing from Train"]


def test_only_presence_counts_and_a_value_in_the_class_body_is_no_default():
    class Odd(TaskWithInitAndValidate):
        epochs: int = 5

        def run(self):
            return None

    assert Odd({"epochs": "many"}).validate() == []
    assert Odd({}).validate() == ["epochs missing from Odd"]


def test_a_class_without_annotations_has_those_of_its_base_and_never_an_error():
    class Heir(Train):
        pass

    class Bare(TaskWithInitAndValidate):
        def run(self):
            return None

    assert Heir({"lr": 1}).validate() == ["epochs missing from Heir"]
    assert Bare({}).validate() == []
    assert Dict2Class({}).validate() == []


def test_a_typed_task_without_run_cannot_be_made():
    class NoRun(TaskWithInitAndValidate):
        pass

    with pytest.raises(TypeError, match="abstract"):
        NoRun({})


# -- Constants --------------------------------------------------------------------------------------------


def test_the_constants_are_absolute_paths_of_the_workspace(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    monkeypatch.setenv(VARIABLE, "workspace")
    assert str(root) == Constants.BASE_FOLDER
    assert Constants.config_source_location == str(root / "ConfigSources")
    assert Constants.config_ready_location == str(root / "ConfigsToRun")
    assert Constants.config_completed_location == str(root / "Completed")
    assert Constants.config_failed_location == str(root / "Failed")
    assert Constants.output_location == str(root / "Output")
    assert Constants.misc_location == str(root / "Misc")
    assert (Constants.config_yaml, Constants.max_error_count) == ("config.yaml", 3)
    with pytest.raises(AttributeError):
        _ = Constants.something_else


def test_an_old_workspace_keeps_the_names_of_its_folders(tmp_path, monkeypatch):
    for name in ("ConfigSources", "ConfigsCompleted", "ConfigsFailed"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert Constants.config_completed_location == str(tmp_path / "ConfigsCompleted")
    assert Constants.config_failed_location == str(tmp_path / "ConfigsFailed")


@pytest.mark.parametrize("module", ["Constants", "Config", "clientUtils", "StatusTracker", "configBase"])
def test_importing_without_a_workspace_is_fine(module):
    bare = {k: v for k, v in os.environ.items() if k != VARIABLE}
    subprocess.run(
        [sys.executable, "-c", f"import job_orchestration.{module}"], env=bare, check=True, timeout=60
    )


def test_using_a_constant_without_a_workspace_is_one_clear_sentence(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(WorkspaceError, match=VARIABLE):
        _ = Constants.output_location
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(WorkspaceError, match="is not a workspace"):
        getResults()


# -- Config -----------------------------------------------------------------------------------------------


def test_a_dropped_config_is_read_with_its_merged_tasks(root):
    path = root / "ConfigSources" / "a.yaml"
    path.write_text(DEMO.replace("<locationOfTaskFile>", "/code") + "overwriteOutputFine: true\n")
    config = Config(path)
    assert config.githubRepository.endswith("JobOrchestrationWorkspace.git")
    assert (config.moduleName, config.pathToTasks) == ("JobOrchestrationWorkspace", "/code")
    assert config.overwriteOutputFine is True
    assert config.outputDir == root / "Output" / "test"
    (task,) = config.tasks
    assert (task.id, task.method, task.x, task.y) == ("Test", "Test", 10, 50)
    assert config.raw_config["tasks"] == [{"id": "Test", "method": "Test"}]
    assert config.validate() == []


def test_placeholders_of_an_output_folder_are_filled_in(root):
    path = root / "ConfigSources" / "a.yaml"
    path.write_text('outputDir: "{date}/{name}"\n')
    days = {f"{dt.datetime.now().astimezone():%Y_%m_%d}"}
    found = Config(path).outputDir
    days.add(f"{dt.datetime.now().astimezone():%Y_%m_%d}")  # it may have struck midnight
    assert found in {root / "Output" / day / "a" for day in days}


def test_an_output_folder_with_braces_of_no_meaning_is_no_error(root):
    path = root / "ConfigSources" / "a.yaml"
    path.write_text('outputDir: "{what}"\n')
    assert Config(path).outputDir == root / "Output" / "{what}"


def test_a_run_is_found_from_its_own_config_and_from_its_token(root):
    folder = make_run(root, "2026_11_20/x_1")
    assert Config(folder / "config.yaml").outputDir == folder
    assert Config(root / "Completed" / "2026_11_20_x_1.yaml").outputDir == folder


def test_an_absolute_output_folder_of_the_first_release_stays(root):
    path = root / "Completed" / "old.yaml"
    path.write_text(f"outputDir: {root}/Output/old\n")
    assert Config(path).outputDir == root / "Output" / "old"


def test_the_config_of_a_run_belongs_to_its_folder_also_after_the_workspace_was_moved(root):
    (root / "Output" / "old").mkdir()
    path = root / "Output" / "old" / "config.yaml"
    path.write_text("outputDir: /where/it/was/Output/old\n")
    assert Config(path).outputDir == root / "Output" / "old"


def test_what_a_config_lacks_is_said_in_the_first_releases_words(root):
    path = root / "ConfigSources" / "a.yaml"
    path.write_text("outputDir: taken\ntasks: [{id: one}, {method: M}, {id: two, method: M}, word]\n")
    (root / "Output" / "taken").mkdir()
    assert Config(path).validate() == [
        "The 'githubRepository' attribute is required but not present.",
        "The 'pathToTasks' attribute is required but not present.",
        f"The path {root}/Output/taken already exists.",
        "Task(one): method missing from MinimalTaskConfig",
        "Task(None): id missing from MinimalTaskConfig",
    ]
    path.write_text("pathToModuleCode: /code\n")
    config = Config(path)
    assert (config.pathToTasks, config.tasks, config.outputDir, config.moduleName) == (
        "/code",
        None,
        None,
        None,
    )
    assert "The 'outputDir' attribute is required but not present." in config.validate()
    assert not any("pathToTasks" in sentence for sentence in config.validate())


def test_a_document_with_anchors_is_read_as_the_first_release_wrote_it(root):
    path = root / "Completed" / "a.yaml"
    path.write_text("first: &a [1, 2]\nsecond: *a\nset: !!set {one}\n")
    assert Config(path).raw_config == {"first": [1, 2], "second": [1, 2], "set": {"one"}}


@pytest.mark.parametrize(
    "text",
    ["", "- 1\n", "a: [", "\0", "a: !!python/object/apply:os.system ['true']\n", "[" * 100_000],
    ids=["empty", "a list", "torn", "binary", "code", "deep"],
)
def test_a_file_that_is_no_config_is_one_clear_sentence(root, text):
    path = root / "ConfigSources" / "a.yaml"
    path.write_text(text)
    with pytest.raises(WorkspaceError, match=r"a\.yaml is not a config"):
        Config(path)


def test_a_tag_that_asks_for_code_runs_nothing(root, tmp_path):
    path = root / "ConfigSources" / "a.yaml"
    path.write_text(f"a: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n")
    with pytest.raises(WorkspaceError):
        Config(path)
    assert not (tmp_path / "made").exists()


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
def test_a_torn_status_file_harms_nobody(root, text):
    folder = root / "Output" / "old"
    folder.mkdir()
    (folder / "config.yaml").write_text("outputDir: old\n")
    (folder / "status.yaml").write_text(text)
    status = StatusTracker(Config(folder / "config.yaml"))
    assert (status.status, status.start_time, status.current_task) == (Status.READY, None, None)


def test_b_jo_28_asking_for_a_status_writes_nothing(root):
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
        node, problems = reading.read(data, filename)
        assert not problems
        expected = {**config}
        if "tasks" in expected:
            expected["tasks"] = [{"id": "t", "method": "M", "epochs": [1, 2]}]
        assert reading.plain(node) == yaml.safe_load(data) == expected


@pytest.mark.parametrize(
    ("configs", "sentence"),
    [
        ({"fine": {}, "../a.yaml": {}}, "Rename"),
        ({"fine": {}, "sub/a": {}}, "'/'"),
        ({"fine": {}, "/etc/a.yaml": {}}, "'/'"),
        ({"fine": {}, ".hidden": {}}, "Rename"),
        ({"fine": {}, "": {}}, "Rename"),
        ({"fine": {}, "fine.yaml": {}}, "Two configs"),
        ({"fine": {}, "a": {"x": object()}}, "cannot be written as YAML"),
    ],
)
def test_what_cannot_be_saved_is_refused_before_anything_is_written(root, configs, sentence):
    with pytest.raises(UsageError, match=sentence):
        saveConfigs(configs)
    assert list((root / "ConfigSources").iterdir()) == []


def test_whoever_watches_config_sources_sees_whole_files_only(root):
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


def test_b_jo_13_results_without_a_config_are_no_error(root, caplog):
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
