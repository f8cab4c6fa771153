"""What a task class needs, and what the package offers by name."""

from __future__ import annotations

import pytest

import job_orchestration
from job_orchestration import TaskBase


def test_a_task_class_needs_only_run():
    class Doubles(TaskBase):
        def run(self):
            return 2 * self.config["x"]

    task = Doubles({"x": 3})
    assert task.config == {"x": 3}
    assert task.run() == 6
    assert task.validate() == []


def test_a_task_class_without_run_says_so():
    class Idle(TaskBase):
        pass

    with pytest.raises(TypeError, match="run"):
        Idle({})


def test_the_public_names_are_listed_and_there():
    assert set(dir(job_orchestration)) == set(job_orchestration.__all__)
    assert {
        "Context",
        "PermanentError",
        "PrunedError",
        "Store",
        "TaskBase",
        "TemporaryError",
        "Workspace",
    } <= set(job_orchestration.__all__)
    for name in job_orchestration.__all__:
        assert getattr(job_orchestration, name)
