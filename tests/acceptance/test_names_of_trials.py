"""The folders of a sweep over files: named by the files' names, and found again whatever they were named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from job_orchestration.search import trials

if TYPE_CHECKING:
    from tests.integration.harness import Sandbox

TASKS = """
    from job_orchestration import TaskBase


    class Reads(TaskBase):
        def run(self):
            return self.config["file"]
"""


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["/home/you/autophagy.txt", "/home/you/limb.txt"], ["autophagy.txt", "limb.txt"]),
        (["~/a b.txt", "../c/", "./d"], ["a%20b.txt", "c", "d"]),
        (["data/one.csv", "data/two.csv"], ["one.csv", "two.csv"]),
        (["/a/x.txt", "/b/x.txt", "/b/y.txt"], ["%2Fa%2Fx.txt", "%2Fb%2Fx.txt", "y.txt"]),
        (["/a/x.txt", "x.txt"], ["%2Fa%2Fx.txt", "x.txt"]),
        ([["/a/x.txt", "/a/y.txt"], ["/a/z.txt"]], ["x.txt+y.txt", "z.txt"]),
        (["google/bert", "1/2", "/", "a/b c"], ["google%2Fbert", "1%2F2", "%2F", "a%2Fb%20c"]),
        ([1, None, {"a": "/b/c"}], ["1", "null", "%7B%22a%22%3A%22%2Fb%2Fc%22%7D"]),
    ],
)
def test_a_path_is_named_by_its_last_part_if_that_tells_it_apart(values, names):
    family = [{"file": value} for value in values]
    shortened = trials.last_parts(family)
    assert [trials.name_of(one, shortened) for one in family] == [f"file={name}" for name in names]
    for one in family:
        if shortened:
            assert trials.name_of(one, shortened) in trials.names_of(one) | {trials.name_of(one)}


def queued(sandbox: Sandbox, name: str, files: list[str]) -> list[str]:
    """The folders of the trials that a sweep over some files gets, and had not before."""
    sandbox.drop(name, "Reads", sweep={"grid": {"file": files}})
    report = sandbox.ready()
    assert not report.refused
    return [q.run.removeprefix(f"{name}/file=") for q in report.queued]


@pytest.mark.slow
def test_a_trial_is_found_again_by_the_short_name_and_by_the_long_one(sandbox):
    assert queued(sandbox, "s", ["/a/x.txt", "/b/x.txt"]) == ["%2Fa%2Fx.txt", "%2Fb%2Fx.txt"]
    assert queued(sandbox, "s", ["/a/x.txt", "/b/x.txt", "/c/y.txt"]) == ["y.txt"]
    assert queued(sandbox, "s", ["/a/x.txt"]) == []
    assert queued(sandbox, "t", ["/a/x.txt"]) == ["x.txt"]
    assert queued(sandbox, "t", ["/b/x.txt"]) == ["%2Fb%2Fx.txt"], "the short name is another trial's"
    assert queued(sandbox, "t", ["/a/x.txt", "/b/x.txt"]) == []


@pytest.mark.slow
def test_a_search_over_files_numbers_their_names_and_check_shows_the_end_of_a_path(
    cli, drop, repository, workspace
):
    path = repository(TASKS)
    files = [f"/data/a_rather_long_path/{name}.txt" for name in ("autophagy", "limb")]
    search = {"method": "grid", "metric": "reads", "space": {"file": files}}
    drop(
        "s",
        {
            "pathToTasks": str(path),
            "sweep": {"search": search},
            "tasks": [{"id": "reads", "method": "Reads"}],
        },
    )
    lines = cli("check").stdout.splitlines()
    assert "  …long_path/autophagy.txt  file=autophagy.txt" in lines
    cli("ready")
    cli("work", "--until-idle")
    runs = {run["run"] for run in json.loads(cli("status", "--json").stdout)["runs"]}
    assert runs == {"runs/s/0001,file=autophagy.txt", "runs/s/0002,file=limb.txt"}
