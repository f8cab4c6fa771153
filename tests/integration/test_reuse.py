"""Leading tasks that are unchanged take the checkpoint of an earlier run, and all others run."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from tests.integration.harness import Sandbox, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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
