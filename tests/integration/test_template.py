"""The template of a workspace says the truth: its defaults are the defaults, its examples are fine."""

import ast
import json
import re
import shutil
import tomllib
from itertools import pairwise

import pytest

from job_orchestration.config import yaml_reader
from job_orchestration.config.config import Settings
from job_orchestration.config.settings import RULES, settings_of
from job_orchestration.config.validation import read_and_check
from tests.conftest import ROOT

TEMPLATE = ROOT / "workspace_template"
EXAMPLES = TEMPLATE / "examples"


def settings_shown():
    """The lines that show a setting, their comment sign taken away."""
    lines = (TEMPLATE / "workspace.yaml").read_text().splitlines()
    return [line[1:] for line in lines if re.match(r"#\w", line)]


def test_the_defaults_that_workspace_yaml_shows_are_the_defaults():
    root, problems = yaml_reader.read("\n".join(settings_shown()).encode(), "workspace.yaml")
    assert not problems
    assert settings_of(yaml_reader.plain(root)) == Settings()


def test_workspace_yaml_shows_every_setting_once_and_says_what_it_is():
    assert sorted(line.partition(":")[0] for line in settings_shown()) == sorted(RULES)
    lines = (TEMPLATE / "workspace.yaml").read_text().splitlines()
    for before, line in pairwise(lines):
        if re.match(r"#\w", line):
            assert before.startswith("# "), line


@pytest.mark.parametrize("line", settings_shown())
def test_every_shown_default_is_a_value_that_a_config_may_say(line):
    config = f'outputDir: "a"\ntasks: [{{id: a, method: "m:C"}}]\n{line}\n'
    checked = read_and_check(config.encode(), "a.yaml", "a", {})
    assert checked.config is not None, checked.problems
    assert checked.config.settings == Settings()


def test_workspace_yaml_says_nothing_as_it_stands(workspace):
    from job_orchestration.config import workspace_defaults
    from job_orchestration.workspace import layout

    shutil.copy(TEMPLATE / "workspace.yaml", workspace)
    assert workspace_defaults.defaults(layout.locate(str(workspace))) == ({}, [])


@pytest.mark.parametrize("name", ["geneplexus", "own_tasks"])
def test_an_example_has_no_problem_and_no_misspelt_key(name):
    data = (EXAMPLES / f"{name}.yaml.example").read_bytes()
    checked = read_and_check(data, f"{name}.yaml", name, {})
    assert checked.config is not None
    assert checked.problems == ()


def test_the_example_of_own_tasks_runs_from_a_drop_to_its_results(tmp_path, workspace, git, cli):
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(EXAMPLES / "Tasks.py.example", project / "Tasks.py")
    git(project, "init", "--quiet")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message=example")
    text = (EXAMPLES / "own_tasks.yaml.example").read_text().replace("/home/you/your-project", str(project))
    text = text.replace("{date}/{name}_{time}", "pi").replace("100000", "1000")
    (workspace / "ConfigSources" / "pi.yaml").write_text(text)
    cli("ready")
    cli("work", "--until-idle")
    assert 2.5 < float((workspace / "Output/pi/estimate/pi.json").read_text()) < 3.7


def test_nothing_in_the_template_can_be_readied_or_imported_by_accident():
    inside = [path for path in EXAMPLES.rglob("*") if path.is_file()]
    assert inside
    assert all(path.suffix == ".example" for path in inside)
    ast.parse((EXAMPLES / "Tasks.py.example").read_text())


def test_the_template_is_shipped_with_the_package():
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert targets["wheel"]["force-include"] == {TEMPLATE.name: f"job_orchestration/{TEMPLATE.name}"}
    assert f"/{TEMPLATE.name}" in targets["sdist"]["include"]


def test_a_repository_that_becomes_a_workspace_gets_no_files_that_count_as_uncommitted(repository, cli):
    top = repository()
    cli("init", "--workspace", str(top))
    assert (top / "workspace.yaml").exists()
    assert not (top / "README.md").exists()
    config = f'pathToTasks: {top}\noutputDir: "{{name}}"\ntasks: [{{id: a, method: Quick}}]\n'
    (top / "ConfigSources" / "a.yaml").write_text(config)
    cli("ready", "--workspace", str(top))


@pytest.mark.parametrize("by_variable", [False, True])
def test_a_workspace_inside_of_a_repository_does_not_show_up_in_it(repository, git, cli, by_variable):
    top = repository()
    inside = top / "experiments"
    words = [] if by_variable else ["init", "--workspace", str(inside)]
    said = cli(*words, env={"JOB_ORCHESTRATION_WORKSPACE": str(inside)} if by_variable else None).stdout
    assert ".gitignore keeps the workspace out of it" in said
    assert (inside / "README.md").exists()
    assert git(top, "status", "--porcelain") == ""
    assert "everything is there" in cli("init", "--workspace", str(inside)).stdout


def test_a_repository_that_becomes_a_workspace_stays_clean_and_its_other_things_are_named(
    repository, git, cli
):
    top = repository()
    said = cli("init", "--workspace", str(top)).stdout
    assert "The folder holds other things, which stay as they are: Tasks.py." in said
    assert git(top, "status", "--porcelain") == ""
    other = repository(name="other")
    (other / ".gitignore").write_text("mine\n")
    assert "add to .gitignore: /" in cli("init", "--workspace", str(other)).stdout
    assert (other / ".gitignore").read_text() == "mine\n"


def test_outside_of_git_no_gitignore_is_made(tmp_path, cli):
    if any((folder / ".git").exists() for folder in tmp_path.parents):
        pytest.skip("the temporary folder lies in a work tree")
    cli("init", "--workspace", str(tmp_path / "new"))
    assert not (tmp_path / "new" / ".gitignore").exists()


def test_the_editor_lines_of_the_template_lead_to_the_schemas(tmp_path, cli):
    workspace = tmp_path / "new"
    said = cli("init", "--workspace", str(workspace)).stdout
    assert "Misc/config.schema.json" in said
    for place, name in (
        ("ConfigSources", "own_tasks.yaml"),
        ("ConfigSources", "geneplexus.yaml"),
        (".", "workspace.yaml"),
    ):
        source = EXAMPLES / f"{name}.example" if place != "." else TEMPLATE / name
        target = re.match(r"# yaml-language-server: \$schema=(\S+)\n", source.read_text())[1]
        schema = json.loads((workspace / place / target).read_text())
        wanted = ["schema"] if place != "." else ["schema", "--workspace-file"]
        assert schema == json.loads(cli(*wanted).stdout)
    assert "everything is there" in cli("init", "--workspace", str(workspace)).stdout
    (workspace / "Misc/config.schema.json").write_text("of an earlier release\n")
    assert "Misc/config.schema.json" in cli("init", "--workspace", str(workspace)).stdout
