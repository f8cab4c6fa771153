"""Leading tasks that are unchanged take the checkpoint of an earlier run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.harness import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TASKS = """
    import os

    from job_orchestration import TaskBase

    import helper


    class Load(TaskBase):
        def run(self):
            self.context.store.save_text("data/numbers.txt", helper.text(self.config.get("size", 3)))
            return {"size": self.config.get("size", 3)}


    class Fit(TaskBase):
        def run(self):
            text = (self.context.folder_of("load") / "data" / "numbers.txt").read_text()
            return {"sum": len(text) * self.config.get("lr", 1)}
"""
HELPER = """
def text(size):
    return "7" * size
"""


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path, TASKS)
    (made.repository / "helper.py").write_text(HELPER)
    made.commit()
    yield made
    made.close()


def finished(sandbox: Sandbox, run: str) -> dict[str, str | None]:
    """The run that each task was taken from; `None` if it ran."""
    return {e["task"]: e.get("reused_from") for e in sandbox.events(run, "task_finished")}


def reasons(sandbox: Sandbox, run: str) -> dict[str, str | None]:
    return {e["task"]: e.get("not_reused") for e in sandbox.events(run, "task_started")}


def test_a_task_that_is_unchanged_takes_the_checkpoint_of_an_earlier_run(sandbox: Sandbox) -> None:
    sandbox.queue("first", "Load", "Fit", reuse=True)
    sandbox.work()
    sandbox.queue("second", "Load", "Fit", reuse=True)
    sandbox.work()
    print(reasons(sandbox, "first"), reasons(sandbox, "second"), sandbox.log("second"))
    assert finished(sandbox, "first") == {"load": None, "fit": None}
    assert finished(sandbox, "second") == {"load": "first", "fit": "first"}
    assert sandbox.results("second") == sandbox.results("first")
    assert (sandbox.output("second") / "load" / "data" / "numbers.txt").read_text() == "777"
