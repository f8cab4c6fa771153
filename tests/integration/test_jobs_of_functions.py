"""`Job`: a function is called here or queued, and each element has one line of results or errors."""

from __future__ import annotations

import sys

import pytest

from job_orchestration import ConfigRefusedError
from job_orchestration.functions import DLJob, Job, nd_json

TASKS = """
    import job_orchestration.functions as h


    def double(value, fail=False):
        if value == "bad":
            assert False
        return {"ERROR": True} if fail else value * 2


    @h.as_json
    @h.attempt
    @h.expand_args
    def decorated(a, b=1):
        return a + b


    def jobs(number, **kwargs):
        own = {"platform_job": True, "cpu_job": False, "gpus": int(kwargs.get("gpus", 1))}
        return [
            h.DLJob(module_name="Tasks", method_name="double", args=[n], **own)
            for n in range(number)
        ]
"""


@pytest.fixture
def here(sandbox, monkeypatch):
    """The repository is the current folder, and its module is imported from there."""
    monkeypatch.chdir(sandbox.repository)
    monkeypatch.setenv("JOB_ORCHESTRATION_WORKSPACE", str(sandbox.root))
    monkeypatch.delitem(sys.modules, "Tasks", raising=False)
    yield sandbox
    sys.modules.pop("Tasks", None)


@pytest.mark.seed_fault("B-DL-02", "B-DL-03", "B-DL-04", "B-DL-05", "B-DL-06", "B-DL-14")
def test_each_element_has_one_line_and_nothing_is_overwritten(here, capsys):
    assert DLJob("Tasks", "double", args=[3], noisy=False).run().results == [6]
    job = Job(
        "Tasks", "double", args_list=[range(2), "bad", {"value": 1, "fail": True}, [7]], save_results="mine"
    )
    found = job.run()
    assert found.results == [0, 2, 14]
    assert [(e["ERROR"], e["ARGS"], e["KWARGS"]) for e in found.errors] == [
        ("AssertionError", ["bad"], {}),
        (True, [], {"value": 1, "fail": True}),
    ]
    assert found.files == ("logs/double-2.log", "results/mine.ndjson", "errors/double.ndjson")
    assert nd_json.read("results/mine.ndjson") == found.results
    assert nd_json.read("errors/double.ndjson") == found.errors
    assert "double: 3 results, 2 errors, duration: 0:00:0" in capsys.readouterr().out
    assert job.run().files[1] == "results/mine-2.ndjson", "of a later run, too"
    assert Job("Tasks", "decorated", [2, 3], save_results=False, log="no").run().results == [5]
    assert Job("Tasks", "double").map([1, 2]).results == [2, 4]
    assert (
        Job("Tasks", "double", args_list=2, results_timestamp=True).run().files[1] != "results/double.ndjson"
    )


def test_a_job_of_the_platform_is_a_queued_run(here):
    with pytest.warns(UserWarning, match="cpu_image has no effect"):
        job = Job("Tasks", "double", args_list=[1, "bad"], platform_job=True, cpu_image="x:1", parallel=2)
    name = job.run().run
    here.work()
    assert here.results(name) == {"double": {"elements": 2, "results": 1, "errors": 1}}
    with pytest.raises(ConfigRefusedError, match="has no class nothing"):
        Job("Tasks", "nothing", platform_job=True).run()
    with pytest.warns(UserWarning, match="gpus=2 has no effect on a cpu_job"):
        Job("Tasks", "double", gpus=2)


def test_jobs_that_a_function_returns_are_run_in_its_run(here):
    entry = {"method": "Tasks:jobs", "kwargs": {"gpus": 0}}
    here.queue(
        "a", tasks=[{"id": "jobs", "args": [2], **entry}, {"id": "map", "foreach": [[1], [0]], **entry}]
    )
    here.work()
    assert here.results("a")["jobs"] == [{"results": [0], "errors": []}, {"results": [2], "errors": []}]
    assert (here.output("a") / "working_directory" / "results" / "double.ndjson").read_text() == "0\n"
    assert here.log("a").count("double: 1 results, 0 errors") == 3


def test_lines_with_suppressed_words_are_left_out(here, capsys):
    Job("Tasks", "double", args_list=["bad", 1], suppress=["assertionerror"]).run()
    assert "AssertionError" not in capsys.readouterr().out
    Job("Tasks", "double", args_list=["bad", 1]).run()
    assert "double: ERROR: AssertionError" in capsys.readouterr().out
