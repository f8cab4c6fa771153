"""What users of the first Job Orchestration have keeps working: demo, client programs, workspaces."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import LIMIT, run_git, wait_until
from tests.faults.workspace_files import tree

FIXTURES = Path(__file__).parent.parent / "fixtures"
DEMO = FIXTURES / "seed_demo"

CLIENT_TASKS = """
    import yaml
    from job_orchestration.configBase import TaskWithInitAndValidate


    class Train(TaskWithInitAndValidate):
        outputDir: str
        totalTrainingSize: int
        repeatNumber: int

        def run(self):
            with open(f"{self.outputDir}/model.txt", "w") as file:
                file.write(str(self.totalTrainingSize * 1000 + self.repeatNumber))


    class Evaluate(TaskWithInitAndValidate):
        outputDir: str
        resultsFilename: str

        def run(self):
            with open(f"{self.outputDir}/model.txt") as file:
                score = int(file.read())
            with open(f"{self.outputDir}/{self.resultsFilename}", "w") as file:
                yaml.dump({"score": score, "modelType": self.modelType}, file)
"""
CREATE_CONFIGS = """
    import sys
    from job_orchestration.clientUtils import saveConfigs

    base = {
        "githubRepository": "https://example.org/me/SimpleML.git",
        "pathToTasks": sys.argv[1],
        "tags": ["batch-1"],
        "resultsFilename": "results.yaml",
        "tasks": [{"id": "train", "method": "Train"}, {"id": "evaluate", "method": "Evaluate"}],
    }
    configs = {}
    for repeat in range(30):
        for size in (100, 200, 400, 800, 1600):
            for model in ("cnn", "mlp"):
                name = f"{model}_{size}_{repeat}"
                own = {"modelType": model, "totalTrainingSize": size, "repeatNumber": repeat}
                configs[f"{name}.yaml"] = {**base, **own, "outputDir": "{date}/" + name}
    saveConfigs(configs)
"""
GATHER = """
    import json
    from job_orchestration.clientUtils import getResults
    from job_orchestration.StatusTracker import Status

    everything = getResults()
    some = getResults(
        "results.yaml",
        lambda config: config.raw_config["modelType"] == "cnn" and config.tasks[0].totalTrainingSize > 400,
        lambda status: status.status == Status.COMPLETE and status.end_time >= status.start_time,
    )
    none = getResults(statusFilter=lambda status: status.status == Status.FAILED)
    print(json.dumps([everything, some, none]))
"""


@pytest.fixture
def demo(tmp_path):
    """The demo's task in a git repository, and its YAML with nothing changed but the place of the task."""
    repository = tmp_path / "demo"
    repository.mkdir()
    shutil.copy(DEMO / "Tasks.py", repository)
    run_git(repository, "init", "--quiet")
    run_git(repository, "add", ".")
    run_git(repository, "commit", "--quiet", "--message=demo")
    return (DEMO / "test.yaml").read_text().replace("<locationOfTaskFile>", str(repository))


@pytest.fixture
def old_workspace(workspace):
    """A workspace as the first release leaves it, where the fixtures have an empty new one."""
    shutil.rmtree(workspace)
    shutil.copytree(FIXTURES / "old_workspace", workspace)
    for name in ("ConfigSources", "ConfigsToRun"):
        (workspace / name).mkdir()
    for path in workspace.rglob("*.yaml"):
        path.write_text(path.read_text().replace("<workspace>", str(workspace)))
    return workspace


def finished(run_folder):
    """The task_finished events of a run, as its journal has them."""
    lines = [line for p in sorted(run_folder.glob("journal/*.jsonl")) for line in p.read_text().splitlines()]
    return [e for e in map(json.loads, lines) if e["event"] == "task_finished"]


def client(source, environment, *arguments):
    """What a client program of a user prints, run in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(source), *arguments]
    done = subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=LIMIT
    )
    return done.stdout


def test_the_demo_runs_unchanged_from_the_dropped_file_to_the_result(workspace, demo, cli, start):
    (workspace / "ConfigSources" / "test.yaml").write_text(demo)
    cli("-action", "readyConfigs")
    assert (workspace / "ConfigsToRun" / "test.yaml").exists()
    worker = start("-action", "newWorker")
    wait_until((workspace / "Completed" / "test.yaml").exists)
    run = workspace / "Output" / "test"
    log = (run / "log.log").read_text()
    assert log.count("Hello World!") == 3
    assert "The result is -2214.0" in log
    (event,) = finished(run)
    assert event["result"] == -2214.0
    assert 3 <= event["duration_s"] < 30
    status = dict(line.split(": ", 1) for line in (run / "status.yaml").read_text().splitlines())
    assert json.loads(status["status"]) == "COMPLETE"
    assert len(json.loads(status["current_test_sha"])) == 40
    assert worker.poll() is None, "a worker stays when there is nothing left to do"
    worker.send_signal(signal.SIGINT)
    assert worker.wait(timeout=LIMIT) in {0, 130}


def test_the_demos_validation_refuses_a_config_without_y(workspace, demo, cli):
    (workspace / "ConfigSources" / "test.yaml").write_text(demo.replace("y: 50\n", ""))
    done = cli("-action", "READYCONFIGS", check=3)
    assert "The field y is required but not provided." in done.stdout + done.stderr
    assert not (workspace / "ConfigsToRun" / "test.yaml").exists()


@pytest.mark.slow
def test_a_client_drops_300_configs_and_gathers_their_results(workspace, repository, cli, environment):
    folder = repository(CLIENT_TASKS)
    client(CREATE_CONFIGS, environment, str(folder))
    assert len(list((workspace / "ConfigSources").iterdir())) == 300
    cli("-action", "readyConfigs")
    assert list((workspace / "ConfigSources").iterdir()) == []
    cli("-action", "runWorker", "--until-idle")
    assert len(list((workspace / "Completed").glob("*.yaml"))) == 300
    everything, some, none = json.loads(client(GATHER, environment))
    assert len(everything) == 300
    expected = {size * 1000 + repeat for size in (800, 1600) for repeat in range(30)}
    assert {(r["score"], r["modelType"]) for r in some} == {(score, "cnn") for score in expected}
    assert len(some) == 60
    assert none == []


def test_looking_at_an_old_workspace_lists_its_runs_and_changes_nothing(old_workspace, cli, environment):
    before = tree(old_workspace)
    found = json.loads(cli("status", "--json").stdout)
    runs = {entry["config"]: entry for entry in found["runs"]}
    assert (found["counts"]["completed"], found["counts"]["failed"]) == (1, 1)
    assert (runs["test"]["run"], runs["test"]["place"], runs["test"]["status"]) == (
        "test",
        "completed",
        "COMPLETE",
    )
    assert (runs["bad"]["place"], runs["bad"]["status"]) == ("failed", "FAILED")
    assert runs["test"]["commit"] == "3f786850e387550fdab836ed7e6dc881de23001b"
    assert runs["test"]["ended_at"] is not None
    assert "test" in cli("-action", "progressReport").stdout
    assert "The result is -2214.0" in cli("logs", "test").stdout
    old = client(GATHER.replace("getResults()", "getResults('config.yaml')"), environment)
    assert len(json.loads(old)[0]) == 2
    assert tree(old_workspace) == before


@pytest.mark.slow
def test_an_old_workspace_takes_new_configs_and_keeps_what_it_has(old_workspace, demo, cli):
    kept = {k: v for k, v in tree(old_workspace).items() if k.startswith(("Output/", "Configs")) and v[-1]}
    (old_workspace / "ConfigSources" / "again.yaml").write_text(
        demo.replace("outputDir: test", "outputDir: again")
    )
    cli("-action", "readyConfigs")
    cli("-action", "runWorker", "--until-idle")
    assert (old_workspace / "ConfigsCompleted" / "again.yaml").exists()
    assert not os.path.lexists(old_workspace / "Completed")
    now = tree(old_workspace)
    assert {k: now[k] for k in kept} == kept
    found = json.loads(cli("status", "--json").stdout)
    assert {entry["run"] for entry in found["runs"]} == {"test", "bad", "again"}
    (old_workspace / "ConfigSources" / "test.yaml").write_text(demo)
    refused = cli("-action", "readyConfigs", check=3)
    assert "already exists" in refused.stdout + refused.stderr
    assert {k: tree(old_workspace)[k] for k in kept} == kept
