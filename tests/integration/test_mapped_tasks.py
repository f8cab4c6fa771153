"""`foreach`: a task or a function runs once for each element, with a checkpoint for each."""

from __future__ import annotations

import os
import signal

import pytest

from job_orchestration.functions import nd_json
from tests.integration.harness import eventually

TASKS = """
    import os, random, signal, sys, time
    from pathlib import Path

    from job_orchestration import TaskBase
    from job_orchestration.functions import as_json, attempt, expand_args


    class Load(TaskBase):
        def run(self):
            return {"genes": ["a", "b", "c"], "n": 2}


    class Each(TaskBase):
        def run(self):
            config = self.config
            return [config["element"], config["elementIndex"], config.get("lr"), random.random()]


    class Odd(TaskBase):
        def validate(self):
            return ["must be odd"] if self.config["element"] % 2 == 0 else []

        def run(self):
            return self.config["element"]


    def note(value, folder):
        with open(f"{folder}/{value}", "a") as file:
            file.write("ran\\n")
        return value * 2


    def harm(what):
        print("element", what)
        if what == "raise":
            assert False
        if what == "exit":
            sys.exit(3)
        if what == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if what == "fork":
            if os.fork() == 0:
                return "a second answer"
            os.wait()
        if what == "error":
            return {"ERROR": ""}
        if what == "leave":
            sys.exit(0)
        return what


    def wait(value, notes):
        Path(notes, f"at-{value}").touch()
        if value == 3:
            while not Path(notes, "go").exists():
                time.sleep(0.01)
        with open(f"{notes}/ran-{value}", "a") as file:
            file.write("ran\\n")
        return value


    class WaitsForStop(TaskBase):
        def run(self):
            notes, value = Path(self.config["notes"]), self.config["element"]
            (notes / f"at-{value}").touch()
            while value == 3 and not (notes / "go").exists() and not self.context.should_stop:
                time.sleep(0.01)
            with (notes / "ran").open("a") as file:
                file.write(f"{value}\\n")
            return value


    @as_json
    @attempt
    @expand_args
    def work(a, b=1):
        return {"sum": a + b}
"""


def lines(sandbox, run, task, name="results"):
    return nd_json.read(sandbox.output(run) / task / f"{name}.ndjson")


def queue(sandbox, name, *entries, **values):
    sandbox.queue(name, tasks=list(entries), **values)


def mapped(method, foreach, **more):
    return {"id": "map", "method": method, "foreach": foreach, **more}


def test_elements_come_from_a_list_a_number_an_earlier_result_and_a_file(sandbox):
    nd_json.write([{"lr": 0.5}, "x"], sandbox.folder / "elements.ndjson")
    queue(
        sandbox,
        "a",
        {"id": "load", "method": "Load"},
        mapped("Each", [{"lr": 1}, {"lr": 2}], lr=0),
        {"id": "number", "method": "Each", "argsList": 3},
        {"id": "earlier", "method": "Each", "foreach": "${tasks.load.result.genes}", "parallel": 2},
        {"id": "part", "method": "Each", "foreach": "${tasks.load.result.n}"},
        {"id": "file", "method": "Each", "foreach": str(sandbox.folder / "elements.ndjson")},
        {"id": "none", "method": "Each", "foreach": []},
    )
    sandbox.work()
    assert sandbox.names("Completed") == ["a"], sandbox.log("a")
    assert sandbox.results("a")["map"] == {"elements": 2, "results": 2, "errors": 0}
    assert sandbox.results("a")["none"] == {"elements": 0, "results": 0, "errors": 0}
    found = {
        task: [line["result"][:3] for line in lines(sandbox, "a", task)]
        for task in ("map", "number", "earlier", "part", "file")
    }
    assert found == {
        "map": [[{"lr": 1}, 0, 1], [{"lr": 2}, 1, 2]],
        "number": [[0, 0, None], [1, 1, None], [2, 2, None]],
        "earlier": [["a", 0, None], ["b", 1, None], ["c", 2, None]],
        "part": [[0, 0, None], [1, 1, None]],
        "file": [[{"lr": 0.5}, 0, 0.5], ["x", 1, None]],
    }
    drawn = [line["result"][3] for line in lines(sandbox, "a", "map")]
    assert drawn[0] != drawn[1], "each element has random numbers of its own"
    assert [line["result"][3] for line in lines(sandbox, "a", "number")][:2] == drawn, "and always the same"


@pytest.mark.seed_fault("B-DL-03", "B-DL-04", "B-DL-13")
def test_what_an_element_does_to_its_process_harms_no_other(sandbox):
    whats = ["fine", "raise", "exit", "crash", "fork", "error", "leave", "last"]
    queue(sandbox, "a", mapped("Tasks:harm", whats, parallel=2))
    sandbox.work()
    assert sandbox.names("Completed") == ["a"], sandbox.log("a")
    assert sandbox.results("a") == {"map": {"elements": 8, "results": 4, "errors": 4}}
    results = {line["element"]: line["result"] for line in lines(sandbox, "a", "map")}
    assert results == {"fine": "fine", "fork": "fork", "leave": None, "last": "last"}
    errors = {line["element"]: line["error"] for line in lines(sandbox, "a", "map", "errors")}
    assert errors == {
        "raise": "AssertionError",
        "exit": "SystemExit: 3",
        "crash": "its process was killed by SIGSEGV",
        "error": "ReturnedError",
    }
    (failed,) = [x for x in lines(sandbox, "a", "map", "errors") if x["element"] == "raise"]
    assert failed["traceback"].splitlines()[1].strip().endswith("in harm")
    assert "assert False" in failed["traceback"]
    assert "Element 1 failed: AssertionError" in sandbox.log("a")
    assert sandbox.log("a").count("element fine") == 1


def test_a_killed_task_goes_on_in_the_middle(sandbox):
    queue(sandbox, "a", mapped("Tasks:wait", 6, kwargs={"notes": str(sandbox.notes)}))
    worker = sandbox.start()
    eventually((sandbox.notes / "at-3").exists)
    fork_server = sandbox.fork_server_of(worker)
    os.kill(worker.pid, signal.SIGKILL)
    os.kill(fork_server, signal.SIGKILL)
    worker.wait()
    (folder,) = (sandbox.output("a") / ".resume" / "map").iterdir()
    with (folder / "results.ndjson").open("a") as file:
        file.write('{"index": 5, "elem')  # the kill could have cut a line
    (sandbox.notes / "go").touch()
    sandbox.work()
    assert [line["result"] for line in lines(sandbox, "a", "map")] == [0, 1, 2, 3, 4, 5]
    assert {p.name: p.read_text() for p in sandbox.notes.glob("ran-*")} == {
        f"ran-{i}": "ran\n" for i in range(6)
    }
    assert "3 elements of 6 ended before" in sandbox.log("a")


def test_a_task_fails_if_each_element_does_and_the_next_try_runs_them_again(sandbox):
    queue(sandbox, "a", mapped("Tasks:harm", ["raise", "exit"]), maxAttempts=2)
    sandbox.work()
    (last,) = sandbox.events("a", "task_failed")[1:]
    assert last["error"].startswith("NoResultError: each of 2 elements failed: see ")
    assert len(nd_json.read(last["error"].rpartition(" ")[2])) == 2
    assert sandbox.names("Failed") == ["a"]


def test_a_function_gets_its_arguments_and_a_decorated_one_its_element(sandbox):
    queue(
        sandbox,
        "a",
        {"id": "one", "method": "Tasks:note", "args": [21], "kwargs": {"folder": str(sandbox.notes)}},
        mapped("Tasks:work", [[1, 2], {"a": 5}, ["x"]]),
        mapped("Tasks:note", [1, [2], {"value": 3}], id="plain", kwargs={"folder": str(sandbox.notes)}),
    )
    sandbox.work()
    assert sandbox.results("a")["one"] == 42
    assert [line["result"] for line in lines(sandbox, "a", "map")] == [{"sum": 3}, {"sum": 6}]
    (error,) = lines(sandbox, "a", "map", "errors")
    assert error["error"].startswith("ReturnedError: ")
    assert [line["result"] for line in lines(sandbox, "a", "plain")] == [2, 4, 6]


def test_a_function_needs_no_file_of_tasks_and_a_wrong_call_is_refused(sandbox):
    package = sandbox.repository / "science"
    package.mkdir()
    (package / "gpu.py").write_text("def fit(x, *, rate=1.0):\n    return x * rate\n")
    (sandbox.repository / "Tasks.py").unlink()
    sandbox.commit()
    queue(sandbox, "a", {"id": "fit", "method": "science.gpu:fit", "args": [4], "kwargs": {"rate": 0.5}})
    (package / "gpu.py").write_text("def fit(x, *, rate=1.0):\n    return 'edited'\n")
    sandbox.work()
    assert sandbox.results("a") == {"fit": 2.0}
    (package / "gpu.py").write_text("def fit(x, *, rate=1.0):\n    return x * rate\n")
    sandbox.drop("b", tasks=[{"id": "fit", "method": "science.gpu:fit"}])
    sandbox.drop("c", tasks=[{"id": "fit", "method": "science.gpu:fit", "foreach": [1, {"y": 2}]}])
    sandbox.drop("d", tasks=[{"id": "fit", "method": "science.gpu:fti"}])
    sandbox.drop("e", tasks=[{"id": "fit", "method": "Fit"}])
    refused = {name: str(problems[0]) for name, problems in sandbox.ready().refused.items()}
    assert "missing a required argument: 'x'" in refused["b.yaml"]
    assert "element 1: fit(x, *, rate=1.0) cannot be called with these arguments" in refused["c.yaml"]
    assert "has no class fti" in refused["d.yaml"]
    assert "has no file Tasks.py" in refused["e.yaml"]


def test_wrong_elements_are_refused_with_their_place(sandbox):
    wrong = {
        "a": mapped("Odd", [1, 2, 3]),
        "b": mapped("Odd", "${tasks.lod.result}"),
        "c": mapped("Odd", {"x": 1}),
        "d": mapped("Odd", [1], parallel=0),
        "e": mapped("Odd", "${HOME}/x"),
        "f": mapped("Odd", [1], argsList=[2]),
    }
    for name, entry in wrong.items():
        sandbox.drop(name, tasks=[{"id": "load", "method": "Load"}, entry])
    found = {name: str(problems[0]) for name, problems in sandbox.ready().refused.items()}
    assert len(found) == len(wrong)
    assert "element 1: must be odd" in found["a.yaml"]
    assert "foreach: there is no earlier task 'lod'. The tasks before it are: load" in found["b.yaml"]
    assert "foreach: this is not a list" in found["c.yaml"]
    assert "parallel: this is no number of processes" in found["d.yaml"]
    assert "foreach: '${HOME}/x' is not a list" in found["e.yaml"]
    assert "argsList: this means the same as foreach" in found["f.yaml"]


def test_a_stopped_task_keeps_what_has_ended(sandbox):
    queue(sandbox, "a", mapped("WaitsForStop", 6))
    worker = sandbox.start()
    eventually((sandbox.notes / "at-3").exists)
    worker.terminate()
    sandbox.ended(worker)
    (folder,) = (sandbox.output("a") / ".resume" / "map").iterdir()
    assert [line["result"] for line in nd_json.read(folder / "results.ndjson")] == [0, 1, 2, 3]
    assert [event["outcome"] for event in sandbox.events("a", "task_failed")] == ["interrupted"]
    (sandbox.notes / "go").touch()
    sandbox.work()
    assert [line["result"] for line in lines(sandbox, "a", "map")] == list(range(6))
    assert (sandbox.notes / "ran").read_text().split() == list("012345")
