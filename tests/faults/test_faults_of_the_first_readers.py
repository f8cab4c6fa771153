"""Faults of the first Job Orchestration's reports, packages and manual, each caught by a test here."""

import ast
import json
import os
import re
import signal
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from tests.conftest import LIMIT, ROOT, wait_until
from tests.faults.workspace_files import events, tree

READING = (
    ["status"],
    ["status", "--json"],
    ["show", "a"],
    ["show", "a", "--json"],
    ["logs", "a"],
    ["-action", "progressReport"],
)


# -- reports ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.seed_fault("B-JO-28")
def test_reports_write_nothing_and_end_at_once(workspace, drop, cli, start, tmp_path):
    gate = tmp_path / "gate"
    for name, tasks in (("a", ["Quick"]), ("b", ["Waits"]), ("c", ["Quick"])):
        drop(name, {"gate": str(gate)}, tasks=tasks)
        cli("ready")
    worker = start("work")
    wait_until(lambda: events(workspace, "runs/b", "task_started"))
    worker.send_signal(signal.SIGKILL)
    worker.wait(timeout=LIMIT)
    wait_until(lambda: not os.listdir(workspace / "Misc" / "imports"))  # its fork server has ended as well
    drop("d")
    drop("e", "broken: [")
    (workspace / "Output" / "runs" / "c" / "status.yaml").unlink()
    before = tree(workspace)
    for command in READING:
        cli(*command, limit=30)
    assert tree(workspace) == before
    counts = json.loads(cli("status", "--json").stdout)["counts"]
    expected = {
        "sources": 2,
        "to_run": 1,
        "held": 0,
        "running": 0,
        "interrupted": 1,
        "completed": 1,
        "failed": 0,
    }
    assert counts == expected


@pytest.mark.seed_fault("B-JO-28")
def test_a_running_run_is_in_the_report(workspace, drop, cli, start, tmp_path):
    drop("a", {"gate": str(tmp_path / "gate")}, tasks=["Quick", "Waits"])
    cli("ready")
    start("work")
    wait_until(lambda: len(events(workspace, "runs/a", "task_started")) == 2)
    (entry,) = json.loads(cli("status", "--json").stdout)["runs"]
    assert (entry["place"], entry["task"], entry["task_count"]) == ("running", "waits", 2)


# -- packaging --------------------------------------------------------------------------------------------


def imported(folder, *, but=()):
    """The distributions that the sources in a folder import, wherever the import stands."""
    modules = set()
    for path in folder.rglob("*.py"):
        if any(path.is_relative_to(folder / name) for name in but):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules.add(node.module.partition(".")[0])
    distributions = packages_distributions()
    foreign = modules - set(sys.stdlib_module_names) - {"job_orchestration", "__future__"}
    return {plain(distributions.get(module, [module])[0]) for module in foreign}


def plain(requirement):
    """The name in a requirement, as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


@pytest.mark.seed_fault("B-JO-30")
def test_the_declared_dependencies_are_those_that_are_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {plain(r) for r in project["dependencies"]}
    package = ROOT / "job_orchestration"
    extras = {name: {plain(r) for r in found} for name, found in project["optional-dependencies"].items()}
    guests = [name for name in extras if (package / name).is_dir()]
    wanted = {found for name in set(extras) - {*guests, "dev"} for found in extras[name]}
    assert imported(package, but=guests) == core | wanted
    for name in guests:
        assert imported(package / name) - core == extras[name]


@pytest.mark.parametrize(
    "command", [["status"], ["-action", "readyConfigs"], ["-action", "newWorker"], ["logs", "a"]]
)
@pytest.mark.seed_fault("B-JO-30")
def test_without_a_workspace_there_is_one_clear_sentence(cli, command):
    done = cli(*command, check=4, env={"JOB_ORCHESTRATION_WORKSPACE": ""}, limit=30)
    assert "JOB_ORCHESTRATION_WORKSPACE" in done.stderr
    assert "--workspace" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.seed_fault("B-JO-30")
def test_no_action_makes_the_folders_and_asks_nothing(tmp_path, cli):
    fresh = tmp_path / "fresh"
    done = cli("--workspace", str(fresh), limit=30)
    assert {p.name for p in fresh.iterdir() if p.is_dir()} >= {
        "ConfigSources",
        "ConfigsToRun",
        "Output",
        "Misc",
    }
    assert "ConfigSources" in done.stdout


# -- documentation: that each command runs is shown by tests/acceptance/test_readme.py ----------------------


@pytest.mark.seed_fault("B-JO-31")
def test_the_readme_names_the_folders_as_they_are_called():
    text = (ROOT / "README.md").read_text()
    for folder in ("ConfigSources", "Output/", "Completed"):
        assert folder in text
