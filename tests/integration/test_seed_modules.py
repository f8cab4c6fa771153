"""The modules of the first Job Orchestration that tasks and client programs import."""

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pytest

from job_orchestration import Constants
from job_orchestration.clientUtils import getResults
from job_orchestration.Config import Config
from job_orchestration.configBase import Dict2Class, TaskWithInitAndValidate
from job_orchestration.diagnostics.errors import WorkspaceError
from job_orchestration.TaskBase import TaskBase
from job_orchestration.workspace.layout import VARIABLE
from tests.integration.seed_runs import make_run

DEMO = (Path(__file__).parent.parent / "fixtures" / "seed_demo" / "test.yaml").read_text()


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
    path.write_text("pathToTasks:\npathToModuleCode: /code\n")
    assert Config(path).pathToTasks == "/code"


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
