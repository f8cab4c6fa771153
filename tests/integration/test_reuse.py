"""Leading tasks that are unchanged take the checkpoint of an earlier run, and all others run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from job_orchestration.cli import render
from job_orchestration.commands import gc, retry
from job_orchestration.commands.selection import Selection
from job_orchestration.commands.show import show
from job_orchestration.runs import reuse_index
from tests.integration.harness import LIMIT, Sandbox, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TASKS = textwrap.dedent(
    """
    import os

    from job_orchestration import TaskBase

    import helper


    class Load(TaskBase):
        def run(self):
            try:
                import optional
            except ImportError:
                pass
            with open("table.txt") as table, open(self.config["data"]) as data:
                text = table.read() + data.read() + helper.text(self.config.get("size", 3))
            self.context.store.save_text("data/numbers.txt", text)
            os.chmod(self.context.store.path("data/numbers.txt"), 0o640)
            return {"ids": [task["id"] for task in self.config["tasks"]]}


    class Fit(TaskBase):
        def run(self):
            text = (self.context.folder_of("load") / "data" / "numbers.txt").read_text()
            return {"sum": len(text) * self.config.get("lr", 1)}


    class Report(TaskBase):
        def run(self):
            return self.context.result_of("fit")
"""
)
FILES = {
    "helper.py": 'def text(size):\n    return "7" * size\n',
    "other.py": "X = 1\n",
    "table.txt": "1 2 3\n",
    "README.md": "Read this.\n",
}


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path, TASKS)
    for name, text in FILES.items():
        (made.repository / name).write_text(text)
    made.commit()
    (made.folder / "data.csv").write_text("a,b\n")
    yield made
    made.close()


def drop(sandbox: Sandbox, name: str, /, *methods: str, **values: object) -> None:
    data = str(sandbox.folder / "data.csv")
    sandbox.queue(name, *(methods or ("Load", "Fit")), **{"reuse": True, "data": data, **values})


def run(sandbox: Sandbox, name: str, /, *methods: str, **values: object) -> dict[str, str | None]:
    """Have a worker that is there execute a run; return where each task was taken from."""
    drop(sandbox, name, *methods, **values)
    eventually(lambda: name in sandbox.names("Completed"), f"{name} completes")
    return origins(sandbox, name)


def origins(sandbox: Sandbox, name: str) -> dict[str, str | None]:
    """The run that each task was taken from; `None` if it ran."""
    return {e["task"]: e.get("reused_from") for e in sandbox.events(name, "task_finished")}


def reasons(sandbox: Sandbox, name: str) -> dict[str, str | None]:
    return {e["task"]: e.get("not_reused") for e in sandbox.events(name, "task_started")}


def commit(file: str, text: str) -> Callable[[Sandbox], dict[str, object]]:
    def change(sandbox: Sandbox) -> dict[str, object]:
        (sandbox.repository / file).write_text(text)
        sandbox.commit()
        return {}

    return change


def put(**values: object) -> Callable[[Sandbox], dict[str, object]]:
    return lambda _: values


def entries(*entries: dict[str, object]) -> Callable[[Sandbox], dict[str, object]]:
    return put(tasks=[{"id": str(e["method"]).lower(), **e} for e in entries])


def data(sandbox: Sandbox) -> dict[str, object]:
    (sandbox.folder / "data.csv").write_text("a,b,c\n")
    return {}


def touch(sandbox: Sandbox) -> dict[str, object]:
    os.utime(sandbox.folder / "data.csv", (1, 1))
    return {}


LOAD, FIT, REPORT = ({"method": name} for name in ("Load", "Fit", "Report"))
HELPER = 'def text(size):\n    return "8" * size\n'
BOTH = {"load", "fit"}
CHANGES = {
    "nothing": (put(), set(), {}),
    "priority": (
        put(priority=3, tags=["x"], githubRepository="https://x.org/y", maxAttempts=5, timeout="1h"),
        set(),
        {},
    ),
    "the time of a task": (entries({**LOAD, "timeout": "1h"}, FIT), set(), {}),
    "a task behind": (entries(LOAD, FIT, REPORT), {"report"}, {"report": "no earlier run has this task"}),
    "a module that is not imported": (commit("other.py", "X = 2\n"), set(), {}),
    "a file that is not read": (commit("README.md", "Read that.\n"), set(), {}),
    "a new module": (commit("another.py", "X = 2\n"), set(), {}),
    "the module": (
        commit("Tasks.py", TASKS + "# changed\n"),
        BOTH,
        dict.fromkeys(BOTH, "module Tasks.py changed"),
    ),
    "an imported module": (commit("helper.py", HELPER), BOTH, {"load": "module helper.py changed"}),
    "a module that was not there": (
        commit("optional.py", ""),
        BOTH,
        {"load": "module optional is found elsewhere"},
    ),
    "a committed file": (commit("table.txt", "1 2\n"), BOTH, {"load": "committed file table.txt changed"}),
    "a file elsewhere": (data, BOTH, {}),
    "the time of a file elsewhere": (touch, set(), {}),
    "a parameter of all": (put(size=4), BOTH, dict.fromkeys(BOTH, "parameter size is new")),
    "a parameter of the first": (
        entries({**LOAD, "size": 4}, FIT),
        BOTH,
        {"load": "parameter load.size is new"},
    ),
    "a parameter of the last": (entries(LOAD, {**FIT, "lr": 2}), {"fit"}, {"fit": "parameter fit.lr is new"}),
    "the seed": (put(seed=7), BOTH, dict.fromkeys(BOTH, "seed 0 → 7")),
}


@pytest.mark.slow
@pytest.mark.parametrize(("change", "expected"), [(put(), set()), (touch, set()), (data, BOTH)])
def test_declared_inputs_are_compared_by_content(sandbox: Sandbox, change, expected) -> None:
    path = str(sandbox.folder / "data.csv")
    worker = sandbox.start()
    run(sandbox, "first", inputs=[path])
    change(sandbox)
    found = run(sandbox, "second", inputs=[path])
    assert {task for task, origin in found.items() if origin is None} == expected, reasons(sandbox, "second")
    if expected:
        assert reasons(sandbox, "second") == dict.fromkeys(BOTH, f"input {path} changed")
    else:
        inputs = {e["inputs"] for name in ("first", "second") for e in sandbox.events(name, "task_finished")}
        assert len(inputs) == 1
    worker.terminate()


@pytest.mark.slow
@pytest.mark.parametrize("what", CHANGES)
def test_a_task_runs_again_exactly_if_something_that_it_depends_on_has_changed(
    sandbox: Sandbox, what: str
) -> None:
    change, expected, said = CHANGES[what]
    worker = sandbox.start()
    assert run(sandbox, "first") == {"load": None, "fit": None}
    values = change(sandbox)
    found = run(sandbox, "second", **values)
    assert {task for task, origin in found.items() if origin is None} == expected, reasons(sandbox, "second")
    assert reasons(sandbox, "second") | said == reasons(sandbox, "second")
    assert run(sandbox, "third", **values) == dict.fromkeys(found, "second"), reasons(sandbox, "third")
    assert sandbox.results("third") == sandbox.results("second")
    worker.terminate()


@pytest.mark.slow
def test_a_task_that_is_unchanged_takes_the_checkpoint_of_an_earlier_run(sandbox: Sandbox) -> None:
    worker = sandbox.start()
    assert run(sandbox, "first") == {"load": None, "fit": None}
    assert run(sandbox, "second", tasks=[{"id": "load", **LOAD}, {"id": "fit", **FIT, "lr": 2}]) == {
        "load": "first",
        "fit": None,
    }
    assert reasons(sandbox, "second")["fit"] == "parameter fit.lr is new"
    assert run(sandbox, "third", reuse=False) == {"load": None, "fit": None}
    assert run(sandbox, "fourth") == {"load": "second", "fit": "first"}
    taken, original = (sandbox.output(name) / "load" / "data" / "numbers.txt" for name in ("fourth", "first"))
    assert taken.read_text() == original.read_text()
    assert taken.stat().st_mode == original.stat().st_mode
    assert taken.stat().st_ino != original.stat().st_ino
    assert sandbox.results("fourth")["load"] == {"ids": ["load"]}, "what comes later is not shown"
    assert sandbox.results("third")["load"] == {"ids": ["load", "fit"]}
    worker.terminate()


ODD_TASKS = """
    import os
    import subprocess
    import sys

    from job_orchestration import TaskBase


    class Stray(TaskBase):
        def run(self):
            with open(os.path.join(self.config["outputDir"], "left.txt"), "w") as file:
                file.write("x")


    class Outside(TaskBase):
        def run(self):
            with open(os.path.join(self.config["notes"], "outside.txt"), "a") as file:
                file.write("x")


    class Clock(TaskBase):
        reusable = False

        def run(self):
            return 1


    class Last(TaskBase):
        def run(self):
            return 2


    class Program(TaskBase):
        def run(self):
            subprocess.run([sys.executable, "-c", "open('table.txt')"], check=True)


    class Failing(TaskBase):
        def run(self):
            if not os.path.exists(os.path.join(self.config["notes"], "mended")):
                raise ValueError("not yet")
"""


@pytest.mark.slow
def test_what_cannot_be_known_to_be_unchanged_runs_and_show_says_why(sandbox: Sandbox) -> None:
    (sandbox.repository / "Tasks.py").write_text(textwrap.dedent(ODD_TASKS))
    sandbox.commit()
    worker = sandbox.start()
    kinds = {"stray": "Stray", "outside": "Outside", "clock": "Clock", "program": "Program"}
    for number in range(2):
        for name, method in kinds.items():
            drop(sandbox, f"{name}{number}", method, "Last")
        eventually(lambda n=number: {f"{k}{n}" for k in kinds} <= {*sandbox.names("Completed")})
    why = {name: reasons(sandbox, f"{name}1") for name in kinds}
    path = sandbox.notes / "outside.txt"
    assert why["stray"]["stray"] == "in stray0 it wrote left.txt, which is not in its store"
    assert why["stray"]["last"] == "task stray before it wrote left.txt, which is not in its store"
    assert why["outside"]["outside"] == f"in outside0 it wrote {path}, which is outside of its run"
    assert why["clock"] == {
        "clock": "Clock says reusable = False",
        "last": "task clock before it runs each time",
    }
    assert origins(sandbox, "program1") == {"program": "program0", "last": "program0"}
    (sandbox.repository / "table.txt").write_text("4\n")
    sandbox.commit()
    assert run(sandbox, "program2", "Program", "Last") == {"program": None, "last": None}
    assert reasons(sandbox, "program2")["program"] == "it starts programs, and a committed file changed"
    worker.terminate()
    said = show(sandbox.workspace, "program1"), show(sandbox.workspace, "clock1")
    lines = [line for found in said for line in render.shown(found)]
    assert "task program taken from program0" in lines
    assert "task clock ran: Clock says reusable = False" in lines
    assert said[0].as_json()["tasks"][0]["reused_from"] == "program0"
    assert said[1].as_json()["tasks"][0]["not_reused"] == "Clock says reusable = False"


def test_an_earlier_run_may_go_and_a_file_of_it_that_changed_is_not_taken(sandbox: Sandbox) -> None:
    worker = sandbox.start()
    run(sandbox, "first")
    assert run(sandbox, "second") == {"load": "first", "fit": "first"}
    shutil.rmtree(sandbox.output("first"))
    assert run(sandbox, "third") == {"load": "second", "fit": "second"}
    for name in ("second", "third"):
        (sandbox.output(name) / "load" / "data" / "numbers.txt").write_text("0" * 13)
    assert run(sandbox, "fourth") == {"load": None, "fit": "third"}
    assert reasons(sandbox, "fourth")["load"] == "in third load/data/numbers.txt is not what it was"
    worker.terminate()
    stale = reuse_index.stale(sandbox.workspace)
    assert not stale, "a run that is there has each"
    for name in ("second", "third", "fourth"):
        shutil.rmtree(sandbox.output(name))
    items = gc.look(sandbox.workspace, gc.Wanted())
    assert {i.kind for i in items if i.path.startswith(sandbox.workspace.reuse)} == {gc.Kind.REUSE}
    gc.collect(sandbox.workspace, gc.Wanted())
    assert not [p for p in Path(sandbox.workspace.reuse).rglob("*") if p.is_file()]


@pytest.mark.slow
def test_what_was_started_before_runs_and_a_fresh_retry_takes_nothing(sandbox: Sandbox) -> None:
    (sandbox.repository / "Tasks.py").write_text(textwrap.dedent(ODD_TASKS))
    sandbox.commit()
    worker = sandbox.start()
    run(sandbox, "first", "Last", "Program")
    drop(sandbox, "second", "Last", "Failing", maxAttempts=1)
    eventually(lambda: "second" in sandbox.names("Failed"))
    assert origins(sandbox, "second") == {"last": "first"}
    (sandbox.notes / "mended").touch()
    retry.retry(sandbox.workspace, Selection(("second",)), fresh=True)
    eventually(lambda: "second" in sandbox.names("Completed"))
    started = [e.get("not_reused") for e in sandbox.events("second", "task_started")]
    assert started[-2:] == ["it was started before in this run"] * 2
    worker.terminate()


@pytest.mark.slow
def test_the_trials_of_a_sweep_share_their_first_task_with_several_workers(sandbox: Sandbox) -> None:
    workers = [sandbox.start() for _ in range(2)]
    run(sandbox, "first")
    tasks = [{"id": "load", **LOAD}, {"id": "fit", **FIT, "lr": 0}]
    drop(sandbox, "many", tasks=tasks, sweep={"grid": {"fit.lr": [1, 2, 3, 4, 5, 6]}})
    eventually(lambda: len([n for n in sandbox.names("Completed") if n.startswith("many")]) == 6)
    trials = [f"many/fit.lr={number}" for number in range(1, 7)]
    assert all(origins(sandbox, trial)["load"] is not None for trial in trials)
    assert [sandbox.results(trial)["fit"]["sum"] for trial in trials] == [13 * n for n in range(1, 7)]
    for worker in workers:
        worker.terminate()


@pytest.mark.slow
def test_a_spawned_interpreter_takes_and_is_observed_as_a_fork_is(sandbox: Sandbox) -> None:
    worker = sandbox.start()
    run(sandbox, "first", isolation="spawn")
    assert run(sandbox, "second", isolation="spawn") == {"load": "first", "fit": "first"}
    commit("table.txt", "8\n")(sandbox)
    assert run(sandbox, "third", isolation="spawn") == {"load": None, "fit": None}
    assert reasons(sandbox, "third")["load"] == "committed file table.txt changed"
    worker.terminate()


@pytest.mark.slow
def test_uncommitted_changes_count_by_their_content(sandbox: Sandbox) -> None:
    worker = sandbox.start()
    run(sandbox, "first")
    (sandbox.repository / "README.md").write_text("Not committed.\n")
    dirty = {"UNSAFE_ignoreDirtyCheck": True}
    assert run(sandbox, "second", **dirty) == {"load": "first", "fit": "first"}
    (sandbox.repository / "helper.py").write_text(HELPER)
    assert run(sandbox, "third", **dirty) == {"load": None, "fit": None}
    sandbox.commit()
    assert run(sandbox, "fourth") == {"load": "third", "fit": "third"}
    worker.terminate()


@pytest.mark.slow
def test_a_rerun_runs_unless_it_is_asked_to_take_what_is_unchanged(sandbox: Sandbox) -> None:
    run_of = {"load": None, "fit": None}
    worker = sandbox.start()
    run(sandbox, "first")
    words = ["rerun", "first", "--workspace", sandbox.workspace.root]
    for more, name, expected in (
        ([], "first-rerun", run_of),
        (["--set", "reuse=true"], "first-rerun-2", {"load": "first", "fit": "first"}),
    ):
        subprocess.run([sys.executable, "-m", "job_orchestration", *words, *more], check=True, timeout=LIMIT)
        eventually(lambda n=name: n in sandbox.names("Completed"))
        assert origins(sandbox, name) == expected
    worker.terminate()
