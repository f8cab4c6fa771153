"""What a person finds after dropping files: how fast `ready` takes them, and what it says of the others."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from job_orchestration.commands import ready
from job_orchestration.workspace import layout
from tests.integration.test_dropped_files import needs_leases

if TYPE_CHECKING:
    from pathlib import Path


def write(workspace: Path, name: str, text: str) -> Path:
    """Write a config in place, as an editor or `cp` does, and leave it just written."""
    path = workspace / "ConfigSources" / name
    path.write_text(text)
    return path


@pytest.fixture
def config(drop, workspace):
    """The text of a config that is fine; ``RUN`` stands for its folder."""
    text = drop("first", {"outputDir": "RUN"}).read_text()
    (workspace / "ConfigSources" / "first.yaml").unlink()
    return text


@pytest.fixture
def ready_in(workspace, monkeypatch):
    """Calls `ready`, which does this instead of each pause between two looks; returns its report."""

    def call(pause):
        monkeypatch.setattr(ready, "time", SimpleNamespace(sleep=pause, monotonic=time.monotonic))
        return ready.ready(layout.locate(str(workspace)))

    return call


def test_ready_takes_a_file_that_was_written_a_moment_ago_without_a_pause(ready_in, workspace, config):
    needs_leases(workspace)
    write(workspace, "new.yaml", config.replace("RUN", "new"))
    report = ready_in(lambda _: pytest.fail("it was waited for"))
    assert [queued.run for queued in report.queued] == ["new"]


def test_ready_waits_for_the_content_of_a_file_that_is_empty_so_far(ready_in, workspace, config):
    needs_leases(workspace)
    write(workspace, "new.yaml", "")
    report = ready_in(lambda _: write(workspace, "new.yaml", config.replace("RUN", "new")))
    assert [queued.run for queued in report.queued] == ["new"]
    assert not report.refused


@pytest.mark.slow
def test_ready_waits_for_a_file_that_a_process_still_writes(cli, workspace, config, start):
    needs_leases(workspace)
    text = config.replace("RUN", "slow")
    with (workspace / "ConfigSources" / "slow.yaml").open("w") as file:
        file.write(text[:20])
        file.flush()
        readying = start("ready", "--json")
        time.sleep(1.0)
        file.write(text[20:])
    report = json.loads(readying.communicate(timeout=60)[0])
    assert [queued["run"] for queued in report["queued"]] == ["slow"]


def test_each_thing_that_is_not_taken_is_named_once_with_what_to_do(cli, workspace, config):
    sources = workspace / "ConfigSources"
    (sources / "more").mkdir()
    for name in ("one.yaml", "two.yml"):
        write(workspace, f"more/{name}", config)
    (sources / "empty").mkdir()
    for name in ("a.json", "b.yml.part", "c.yaml.txt", "d", "e.toml"):
        write(workspace, name, "{}")
    for name in (".hidden", ".DS_Store", "f.yaml~", "Thumbs.db", ".g.yaml.swp", "h.bak"):
        write(workspace, name, "x")
    (sources / "__pycache__").mkdir()
    with (workspace / "workspace.yaml").open("a") as file:
        file.write("\nignoredFiles: ['*.bak']\n")
    write(workspace, "good.yaml", config.replace("RUN", "good"))
    lines = cli("ready").stdout.splitlines()
    expected = [
        (
            "a.json: warning: this is JSON by its name, and only *.yaml and *.yml are taken. "
            "Rename it to a.yaml: nearly all JSON is YAML."
        ),
        (
            "b.yml.part: warning: this looks like a file that is not copied completely, and is not taken. "
            "Rename it to b.yml when it is whole, or take it away."
        ),
        (
            "c.yaml.txt: warning: this is not taken: only *.yaml and *.yml are. "
            "Rename it to c.yaml if it is a config, or move it elsewhere."
        ),
        (
            "d: warning: this is not taken: only *.yaml and *.yml are. "
            "Rename it to d.yaml if it is a config, or move it elsewhere."
        ),
        (
            "e.toml: warning: this is not taken: only *.yaml and *.yml are. "
            "Rename it to e.yaml if it is a config, or move it elsewhere."
        ),
        (
            "empty/: warning: this is a folder, which is not looked into. "
            "Move it elsewhere; drop configs into ConfigSources itself."
        ),
        (
            "more/: warning: this is a folder, which is not looked into. "
            "Move its 2 configs into ConfigSources itself."
        ),
    ]
    assert lines[0].startswith("good.yaml: queued")
    assert lines[1:] == expected
    assert cli("check").stdout.splitlines()[:-1] == expected
    assert [w["file"] for w in json.loads(cli("ready", "--json").stdout)["not_taken"]][-1] == "more/"
    (sources / "a.json").rename(sources / "a.yaml")
    write(workspace, "a.yaml", json.dumps({"outputDir": "json", "pathToTasks": "x", "tasks": [{}]}, indent=2))
    assert "a.yaml:5:5: tasks[0].id: the task has no id." in cli("ready", check=3).stdout


@pytest.mark.slow
def test_watch_names_a_folder_once_when_it_has_been_there_for_a_while(start, drop, workspace):
    (workspace / "ConfigSources" / "more").mkdir()
    watching = start("watch")
    lines = [watching.stdout.readline()]
    assert lines[0].startswith("more/: warning: this is a folder")
    drop("a")
    while "a.yaml: queued" not in lines[-1]:
        lines.append(watching.stdout.readline())
    assert sum("more/" in line for line in lines) == 1


def test_a_problem_points_at_the_key_that_it_is_about(cli, drop, workspace):
    def places(**content):
        text = drop("a", content).read_text().splitlines()
        found = json.loads(cli("check", "--json", check=3).stdout)[0]["problems"]
        return {(p["key"], text[p["line"] - 1][p["column"] - 1 :]) for p in found}

    unknown = {"id": "one", "method": "Quik"}
    assert places(tasks=[unknown]) == {("tasks[0].method", "Quik")}
    nowhere = {"id": "one", "method": "no.such.module:Task"}
    assert places(tasks=[{"id": "two", "method": "Quick"}, nowhere]) == {
        ("tasks[1].method", "no.such.module:Task")
    }
    own = {"id": "one", "method": "Picky", "y": 1, "x": -1}
    assert places(x=0, tasks=[own, {"id": "two", "method": "Picky"}]) == {("tasks[0].x", "-1"), ("x", "0")}
    assert places(after=["gone", "away"]) == {("after[0]", "gone"), ("after[1]", "away")}


PACKAGED = """
    from job_orchestration import TaskBase
    {}

    class Quick(TaskBase):
        def __init__(self, config):
            self.config = config

        def validate(self):
            open("table.csv").close()

        def run(self):
            return None
"""


@pytest.mark.parametrize(
    ("line", "path", "what"),
    [
        ("import pkg", "pkg/_version.py", "Module pkg._version"),
        ("from pkg import fast", "pkg/fast.abi3.so", "Module pkg.fast"),
        ("import made", "made.py", "Module made"),
        ("import folder.inner", "folder/inner.py", "Module folder.inner"),
        ("open('table.csv')", "table.csv", "File table.csv"),
        ("", "table.csv", "File table.csv"),
    ],
)
def test_what_git_ignores_is_named_when_the_tasks_need_it(cli, drop, repository, git, line, path, what):
    folder = repository(PACKAGED.format(line))
    (folder / "pkg").mkdir()
    (folder / "pkg" / "__init__.py").write_text("from . import _version\n" if "_version" in path else "")
    (folder / ".gitignore").write_text("_version.py\n*.so\nmade.py\nfolder/\n*.csv\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=package")
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_text("VERSION = 1\n")
    drop("a", {"pathToTasks": str(folder)})
    said = cli("check", check=3).stdout
    rules = {"_version.py": (1, "_version.py"), "fast.abi3.so": (2, "*.so"), "made.py": (3, "made.py")}
    rules |= {"inner.py": (4, "folder/"), "table.csv": (5, "*.csv")}
    number, pattern = rules[path.rpartition("/")[2]]
    named = "folder" if path.startswith("folder") else path
    assert (
        f"{what if named == path else 'Module folder'} is in the work tree, but .gitignore names it "
        f"(line {number}: {pattern}), so the commit does not have it: {named}. "
        f"Commit it: git add --force {named}. Or have the tasks make it, or install it as a package."
    ) in said
