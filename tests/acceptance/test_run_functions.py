"""`run`: one plain function becomes a run, with arguments that are read as YAML."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from job_orchestration.functions import nd_json
from tests.conftest import LIMIT

pytestmark = pytest.mark.slow

GPU = """
def task(*args, **kwargs):
    return {"args": list(args), "kwargs": kwargs}


def double(value):
    print("doubling", value)
    return value * 2
"""


@pytest.fixture
def project(tmp_path, git):
    """A repository with a package, and no Tasks.py."""
    folder = tmp_path / "project"
    (folder / "science").mkdir(parents=True)
    (folder / "science" / "gpu.py").write_text(GPU)
    (folder / "run").mkdir()
    (folder / "run" / "jobs.py").write_text("def task(x=1):\n    return x\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=science")
    return folder


@pytest.fixture
def run(project, environment):
    """Runs the command line in the repository; returns what it printed."""

    def call(*words, check=0):
        done = subprocess.run(
            [sys.executable, "-m", "job_orchestration", *words],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == check, (done.stdout, done.stderr)
        return done

    return call


def result_of(workspace, name):
    """What the only task of a run returned."""
    (journal,) = (workspace / "Output" / name / "journal").glob("000001.jsonl")
    (found,) = [e for e in map(json.loads, journal.read_text().splitlines()) if e["event"] == "task_finished"]
    return found["result"]


@pytest.mark.seed_fault("B-DL-01", "B-DL-08", "B-DL-11")
def test_values_are_yaml_and_each_call_is_a_run_of_its_own(run, workspace):
    words = [
        "3",
        "-1.5",
        "x",
        "http://a?b=c",
        "[1, two]",
        "k=a=b",
        "flag=false",
        "none=null",
        "empty=",
        "when=a: b",
    ]
    names = [run("run", "science.gpu", *words).stdout.strip() for _ in range(2)]
    assert len(set(names)) == 2
    one = run("run", "science.gpu:double", "21", "--here", "--name", "here", "--noisy", "true")
    assert "doubling 21" in one.stdout
    assert "--noisy has no effect" in one.stderr
    assert result_of(workspace, "here") == 42
    assert {p.name for p in (workspace / "ConfigsToRun").iterdir()} == {
        f"{name}.yaml" for name in ("task", "task-2")
    }, "--here runs nothing but its own"
    run("work", "--until-idle")
    expected = {
        "args": [3, -1.5, "x", "http://a?b=c", [1, "two"]],
        "kwargs": {"k": "a=b", "flag": False, "none": None, "empty": "", "when": "a: b"},
    }
    assert [result_of(workspace, name) for name in names] == [expected] * 2


@pytest.mark.parametrize("name", ["list.yaml", "list.json", "list.ndjson"])
def test_a_list_of_arguments_in_a_file_maps_it(run, project, workspace, name):
    values = [1, [2], {"value": "x"}]
    path = project.parent / name
    if name.endswith("ndjson"):
        nd_json.write(values, path)
    else:
        path.write_text(
            json.dumps(values, indent=1) if name.endswith("json") else "- 1\n- [2]\n- {value: x}\n"
        )
    run(
        "run",
        "science.gpu.double",
        "--args-list",
        str(path),
        "--parallel",
        "2",
        "--name",
        "many",
        "--dev",
        "true",
    )
    assert result_of(workspace, "many") == {"elements": 3, "results": 3, "errors": 0}
    found = nd_json.read(workspace / "Output" / "many" / "double" / "results.ndjson")
    assert [line["result"] for line in found] == [2, 4, "xx"]


def test_the_code_is_pinned_and_uncommitted_changes_are_refused_or_captured(run, project, workspace):
    run("run", "science.gpu.double", "1", "--name", "queued")
    (project / "science" / "gpu.py").write_text(GPU.replace("* 2", "* 3"))
    refused = run("run", "science.gpu.double", "1", check=3)
    assert "uncommitted changes" in refused.stderr
    run("run", "science.gpu.double", "1", "--uncommitted", "--name", "captured")
    run("work", "--until-idle")
    assert (result_of(workspace, "queued"), result_of(workspace, "captured")) == (2, 3)


def test_a_module_of_the_environment_needs_no_folder_and_one_of_run_comes_first(run, workspace):
    run("run", "json.dumps", "[1, 2]", "--here", "--name", "json")
    assert result_of(workspace, "json") == "[1, 2]"
    run("run", "jobs", "x=7", "--here", "--name", "jobs")
    assert result_of(workspace, "jobs") == 7


def test_what_cannot_be_called_is_refused_before_anything_is_queued(run, workspace):
    assert "missing a required argument: 'value'" in run("run", "science.gpu.double", check=3).stderr
    assert "is not the name of a function" in run("run", "science.gpu.a.b", check=2).stderr
    assert "no YAML" in run("run", "science.gpu", "[1, 2", check=2).stderr
    assert "given twice" in run("run", "science.gpu", "a=1", "a=2", check=2).stderr
    assert "cannot be read" in run("run", "science.gpu", "--args-list", "nowhere.yaml", check=2).stderr
    assert "has no class nothing" in run("run", "science.gpu.nothing", check=3).stderr
    assert not list((workspace / "ConfigsToRun").iterdir())
    assert not list((workspace / "Output").iterdir())


def test_a_function_that_raises_ends_the_command_with_one(run):
    failed = run("run", "json.loads", "x", "--here", "--set", "maxAttempts=1", check=1)
    assert "JSONDecodeError" in failed.stdout


@pytest.mark.seed_fault("B-DL-07")
def test_defaults_are_set_beside_what_the_file_says(run, workspace):
    path = workspace / "workspace.yaml"
    before = "# of the lab\nmaxAttempts: 2  # tries\nresources:\n  cpus: 1\n# the end"
    path.write_text(before)
    set_ = run("config", "UNSAFE_ignoreDirtyCheck=false", "graceTime=2m")
    assert set_.stdout.splitlines() == [
        "maxAttempts: 2",
        *("resources:", "  cpus: 1", "UNSAFE_ignoreDirtyCheck: false", "graceTime: 2m"),
    ]
    assert path.read_text().startswith(f"{before}\n")
    assert "has other values for maxAttempts" in run("config", "maxAttempts=3", check=2).stderr
    run("config", "maxAttempts=3", "resources={cpus: 2}", "--force")
    text = path.read_text()
    assert text.startswith("# of the lab\nmaxAttempts: 3\nresources:\n  cpus: 2\n# the end\n")
    assert json.loads(run("config", "--json").stdout)["resources"] == {"cpus": 2}
    assert "is not a default of a workspace. Did you mean" in run("config", "maxAttempt=3", check=2).stderr
    assert "maxAttempts: 'many' is not" in run("config", "maxAttempts=many", "--force", check=2).stderr
    assert path.read_text() == text


def test_selftest_returns_what_it_gets(run, workspace):
    run("selftest", "2", "a", "b", "hello=world", "--dev", "True", "--name", "try")
    found = nd_json.read(workspace / "Output" / "try" / "task" / "results.ndjson")
    assert [line["result"] for line in found] == [{"args": ["a", "b"], "kwargs": {"hello": "world"}}] * 2
