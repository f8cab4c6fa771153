"""`diff`: what differs between runs, through the command line on real repositories."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import resource
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import pytest

from job_orchestration.runs import stored_lists

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]

TASKS = """
from job_orchestration import TaskBase
from steps.helper import scale


class Train(TaskBase):
    def run(self):
        return {"loss": scale(self.config["lr"]), "kind": "linear"}
"""
HELPER = "def scale(x):\n    return 2 * x\n"


class Project:
    """A repository of one task with a helper, and runs of it."""

    def __init__(self, folder: Path, git: Callable[..., str], cli: Cli, drop: Callable[..., Path]) -> None:
        self.top = folder / "project"
        (self.top / "steps").mkdir(parents=True)
        self._git, self._cli, self._drop = git, cli, drop
        git(self.top, "init", "--quiet", "--initial-branch=main")
        self.commit(
            **{"Tasks.py": TASKS, "steps/helper.py": HELPER, "steps/__init__.py": "", "notes.txt": "one\n"}
        )

    def commit(self, **files: str) -> str:
        for name, text in files.items():
            (self.top / name).write_text(text)
        self._git(self.top, "add", "--all")
        self._git(self.top, "commit", "--quiet", "--message=work")
        return self._git(self.top, "rev-parse", "HEAD")

    def run(self, name: str, lr: float = 0.01, **values: object) -> None:
        tasks = [{"id": "train", "method": "Train"}]
        content = {"pathToTasks": str(self.top), "outputDir": name, "lr": lr, "seed": 1, "tasks": tasks}
        self._drop(name, {**content, **values})
        self._cli("ready")
        self._cli("work", "--until-idle")


@pytest.fixture
def project(tmp_path: Path, git: Callable[..., str], cli: Cli, drop: Callable[..., Path]) -> Project:
    return Project(tmp_path, git, cli, drop)


def difference(cli: Cli, *runs: str) -> dict[str, Any]:
    return json.loads(cli("diff", *runs, "--json").stdout)


def content_of(folder: Path) -> dict[str, str]:
    """The hash of each file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_the_one_parameter_that_differs_is_the_verdict(cli: Cli, project: Project) -> None:
    project.run("a")
    project.run("b", lr=0.1)
    said = cli("diff", "a", "b").stdout
    assert said.startswith("One thing differs: lr 0.01 → 0.1.\n")
    assert "train.loss  0.02 → 0.2  (+900.00%)" in said
    found = difference(cli, "a", "b")
    assert found["only"] == {"kind": "parameter", "name": "lr", "before": 0.01, "after": 0.1}
    assert [c["name"] for c in found["results"]] == ["train.loss"]
    assert not found["packages"]
    assert found["code"]["before"] == found["code"]["after"]


@pytest.mark.slow
def test_a_config_says_which_way_a_figure_is_better(cli: Cli, project: Project) -> None:
    stated = {"metricDirections": {"loss": "minimize"}}
    project.run("a", **stated)
    project.commit(**{"steps/helper.py": HELPER.replace("2", "3")})
    project.run("b", **stated)
    project.run("c", lr=0.001)
    assert "train.loss  0.02 → 0.03  (+50.00%, worse)" in cli("diff", "a", "b").stdout
    assert [c["better"] for c in difference(cli, "b", "a")["results"]] == [True]
    assert cli("results", "--best", "loss").stdout.splitlines()[1].split()[0] == "c"
    assert cli("results", "--best", "loss", "c", "b").stdout.splitlines()[1].split()[0] == "c"
    said = cli("bisect", "b", "a", "--metric", "loss", check=2).stderr
    assert said.startswith(
        "train.loss is better in a, since metricDirections says minimize. Name the runs in"
    )


@pytest.mark.slow
def test_a_changed_helper_is_shown_with_its_lines_and_other_files_are_counted(
    cli: Cli, project: Project
) -> None:
    project.run("a")
    first = content_of(project.top / ".git")
    project.commit(**{"steps/helper.py": HELPER.replace("2", "3"), "notes.txt": "two\n"})
    project.run("b")
    assert content_of(project.top / ".git") != first, "the control of the last assertion"
    before = content_of(project.top)
    said = cli("diff", "a", "b").stdout
    assert said.startswith("One thing differs: the code (2 files).\n")
    assert "  steps/helper.py (lines: 1 added, 1 removed)\n" in said
    assert "  -    return 2 * x" in said
    assert "  +    return 3 * x" in said
    assert "return 3" not in cli("diff", "a", "b", "--stat").stdout
    assert content_of(project.top) == before


@pytest.mark.slow
def test_of_tasks_in_a_folder_only_what_they_import_counts(cli: Cli, project: Project) -> None:
    (project.top / "inner").mkdir()
    outer = "import sys, pathlib\nsys.path.append(str(pathlib.Path(__file__).parents[1]))\n"
    project.commit(**{"inner/Tasks.py": outer + TASKS})
    project.run("a", pathToTasks=str(project.top / "inner"))
    project.commit(**{"notes.txt": "two\n"})
    project.run("b", pathToTasks=str(project.top / "inner"))
    found = difference(cli, "a", "b")
    assert (found["code"]["files"], found["code"]["other_files"]) == ([], 1)
    assert found["verdict"] == "Nothing differs and the results are the same"
    project.commit(**{"steps/helper.py": HELPER + "# a comment\n"})
    project.run("c", pathToTasks=str(project.top / "inner"))
    assert [f["path"] for f in difference(cli, "b", "c")["code"]["files"]] == ["steps/helper.py"]


@pytest.mark.slow
def test_results_that_differ_without_a_recorded_cause_are_said_to(cli: Cli, project: Project) -> None:
    project.commit(**{"Tasks.py": TASKS.replace('"linear"', "__import__('time').time()")})
    project.run("a")
    project.run("b")
    assert difference(cli, "a", "b")["verdict"] == (
        "Nothing that could explain the difference of the results is recorded"
    )


@pytest.mark.slow
def test_seeds_that_were_drawn_are_the_cause_only_if_there_is_no_other(cli: Cli, project: Project) -> None:
    for name, lr in (("a", 0.01), ("b", 0.01), ("c", 0.1)):
        project.run(name, lr=lr, seed=None)
    alone, beside = difference(cli, "a", "b"), difference(cli, "a", "c")
    assert alone["only"]["kind"] == "seed"
    assert alone["verdict"].endswith("(drawn for each run)")
    assert beside["only"]["name"] == "lr"
    assert beside["verdict"].endswith("each run has drawn a seed of its own")


@pytest.mark.slow
def test_packages_and_python_are_compared(cli: Cli, project: Project, workspace: Path) -> None:
    project.run("a")
    project.run("b")
    journal = workspace / "Output/b/journal/000001.jsonl"
    claimed = json.loads(journal.read_text().partition("\n")[0])
    there = workspace / "Misc/environments" / f"{claimed['environment']}.json"
    environment = json.loads(there.read_text())
    packages = workspace / "Misc/packages" / f"{environment['packages_digest']}.json"
    other = {**json.loads(packages.read_text()), "numpy": "0.0.1", "new": "1"}
    environment["packages_digest"] = stored_lists.write(str(packages.parent), other)
    environment["python"]["version"] = "3.99"
    elsewhere = stored_lists.write(str(there.parent), environment)
    journal.write_text(journal.read_text().replace(claimed["environment"], elsewhere))
    found = difference(cli, "a", "b")
    kinds = [(c["kind"], c["name"]) for c in found["causes"]]
    assert kinds == [("package", "numpy"), ("package", "new"), ("environment", "python.version")]
    assert found["verdict"] == (
        f"3 things differ: 2 packages, python.version {platform.python_version()} → 3.99"
    )


@pytest.mark.slow
def test_more_than_two_runs_are_a_table_of_what_differs(cli: Cli, project: Project) -> None:
    for name, lr in (("a", 0.01), ("b", 0.1), ("c", 0.2)):
        project.run(name, lr=lr)
    rows = json.loads(cli("diff", "a", "b", "c", "--json").stdout)
    assert rows == [
        {"run": name, "lr": lr, "train.loss": 2 * lr, "train.kind": "linear"}
        for name, lr in (("a", 0.01), ("b", 0.1), ("c", 0.2))
    ]
    assert json.loads(cli("diff", "b", "?", "--json").stdout) == [rows[1], rows[0], rows[2]]
    assert "There is no run that x* fits" in cli("diff", "a", "x*", check=2).stderr
    said = cli("diff", "a", "b", "c").stdout
    assert said.startswith("| run | lr | train.loss | train.kind |\n")


@pytest.mark.slow
def test_a_page_shows_the_same_and_nothing_in_it_is_executed(cli: Cli, project: Project) -> None:
    hostile = "<script>alert(1)</script>\x1b[31m&\"'"
    project.run("a")
    project.commit(**{"steps/helper.py": f"# {hostile[:25]}\n" + HELPER.replace("2", "3")})
    project.run("b", lr=0.1, note=hostile)
    (project.top / "steps/helper.py").write_text(f"# {hostile[:25]}\n")
    pages = [cli("diff", *runs, "--html").stdout for runs in (("a", "b"), ("a",), ("a", "b", "a"))]
    for text in pages:
        assert text.startswith("<!DOCTYPE html>")
        assert "<script" not in text
        assert "\x1b" not in text
        assert "default-src 'none'" in text
        assert not re.findall(r"(?:src|href)=", text)
        ET.fromstring(re.sub(r"<(meta[^>]*)>", r"<\1/>", text.replace("<!DOCTYPE html>", "")))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[31m&amp;&quot;" in pages[0]
    assert "<strong>3 things differ: " in pages[0]
    assert '<span class="added">+    return 3 * x</span>' in pages[0]
    assert "<th>lr</th>" in pages[2]


@pytest.mark.slow
def test_an_input_that_changed_between_two_runs_is_the_verdict(
    cli: Cli, project: Project, tmp_path: Path
) -> None:
    for name, content in (("a", "1\n"), ("b", "2\n")):
        (tmp_path / "genes.tsv").write_text(content)
        project.run(name, inputs=[str(tmp_path / "genes.tsv")])
    found = difference(cli, "a", "b")
    assert found["verdict"] == f"One thing differs: the input {tmp_path}/genes.tsv"
    assert found["only"]["kind"] == "input"
    assert found["inputs"][0]["after"] == hashlib.sha256(b"2\n").hexdigest()


@pytest.mark.slow
def test_usage_is_compared_and_is_no_cause(cli: Cli, project: Project) -> None:
    project.run("a")
    project.run("b")
    found = difference(cli, "a", "b")
    assert found["verdict"] == "Nothing differs and the results are the same"
    assert (
        {"train.cpu_s"}
        <= {c["name"] for c in found["usage"]}
        <= {f"train.{key}" for key in ("cpu_s", "peak_bytes", "read_bytes", "written_bytes")}
    )
    said = cli("diff", "a", "b").stdout
    assert re.search(r"^Usage of the tasks:\n  train  CPU \S.* → \S", said, re.MULTILINE)


@pytest.mark.slow
def test_two_runs_of_a_thousand_tasks_are_compared_and_shown_in_less_than_a_second(
    cli: Cli, project: Project, show_figure: Callable[[str], None]
) -> None:
    for name, lr in (("a", 0.01), ("b", 0.1)):
        project.commit(**{"notes.txt": name})
        project.run(name, lr=lr, tasks=[{"id": f"t{n}", "method": "Train"} for n in range(1000)])
    for words in (("diff", "a", "b"), ("diff", "a", "b", "--json"), ("show", "a"), ("show", "a", "--json")):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        said = cli(*words).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        show_figure(f"{' '.join(words)} of 1,000 tasks: {seconds:.2f} s of CPU")
        assert seconds < 1
        assert len(said.splitlines()) < 100 or "--json" in words or words[0] == "show"


@pytest.mark.slow
def test_one_run_is_compared_with_the_work_tree_as_it_is(cli: Cli, project: Project) -> None:
    project.run("a")
    assert "is the same in" in cli("diff", "a").stdout
    (project.top / "steps/helper.py").write_text(HELPER.replace("2", "5"))
    (project.top / "new.py").write_text("X = 1\n")
    (project.top / "notes.txt").unlink()
    before = content_of(project.top)
    files = json.loads(cli("diff", "a", "--json").stdout)["files"]
    assert [(f["path"], f["status"]) for f in files] == [
        ("new.py", "added"),
        ("notes.txt", "removed"),
        ("steps/helper.py", "changed"),
    ]
    assert "  +    return 5 * x" in cli("diff", "a").stdout
    assert content_of(project.top) == before


@pytest.mark.slow
def test_a_repository_that_is_gone_is_still_compared(cli: Cli, project: Project) -> None:
    project.run("a")
    project.commit(**{"steps/helper.py": HELPER.replace("2", "3")})
    project.run("b")
    project.top.rename(project.top.with_name("elsewhere"))
    assert "  +    return 3 * x" in cli("diff", "a", "b").stdout


def test_a_hostile_repository_executes_nothing(
    cli: Cli, project: Project, tmp_path: Path, git: Callable[..., str]
) -> None:
    project.run("a")
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\ncat\n")
    trap.chmod(0o755)
    for key in ("diff.external", "core.fsmonitor", "diff.x.textconv", "filter.x.clean", "core.pager"):
        git(project.top, "config", key, str(trap))
    (project.top / ".gitattributes").write_text("*.txt diff=x\n")
    escape = "\x1b[31m"
    (project.top / f"a{escape}b.py").write_text(f"X = '{escape}'\n")
    said = cli("diff", "a").stdout
    assert not (tmp_path / "sprung").exists()
    assert "\x1b" not in said
    assert "a\\x1b[31mb.py (added" in said


def test_unknown_runs_and_configs_that_are_not_queued_are_named(
    cli: Cli, project: Project, drop: Callable[..., Path]
) -> None:
    project.run("a")
    assert "There is no run nope" in cli("diff", "a", "nope", check=2).stderr
    drop("later", {"pathToTasks": str(project.top), "tasks": [{"id": "train", "method": "Train"}]})
    assert "is not queued yet" in cli("diff", "a", "later", check=2).stderr
