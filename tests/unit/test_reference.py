"""The references say what the code says: `docs/config.md` the keys, `docs/tasks.md` what a task can use."""

from __future__ import annotations

import importlib.util
import inspect

import pytest

from job_orchestration.config.validation import KNOWN_KEYS
from job_orchestration.executor.task_context import TaskContext
from job_orchestration.runs.artifact_store import ArtifactStore
from job_orchestration.TaskBase import Context, Store
from tests.conftest import ROOT

OF_THE_RUN = {"commit", "discard", "staging"}
"""What the process of a run does with a task's store, and a task does not."""


def reference():
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_keys_is_made_from_the_table():
    made = reference()
    assert made.CONFIG.read_text() == made.config_page(), "run: make docs"
    assert not [key for key in KNOWN_KEYS if f"### {key}\n" not in made.config_page()]


def test_the_reference_of_tasks_is_made_from_the_docstrings():
    made = reference()
    text = made.TASKS.read_text()
    assert text == made.tasks_page(text), "run: make docs"
    assert text.count(made.BEGIN) == text.count(made.END) == 1


@pytest.mark.parametrize(("public", "inner"), [(Context, TaskContext), (Store, ArtifactStore)])
def test_what_the_reference_lists_is_what_a_running_task_has(public, inner):
    def members(of):
        return {name for name in dir(of) if not name.startswith("_")}

    inner_names = members(inner) | {"run", "attempt", "seed", "store", "preloaded"} & set(
        public.__annotations__
    )
    inner_names |= {"store"} & members(public)  # set in the constructor
    assert members(public) | set(public.__annotations__) == inner_names - OF_THE_RUN
    for name in members(public):
        one, other = getattr(public, name), getattr(inner, name, None)
        if inspect.isfunction(one):
            assert str(inspect.signature(one)) == str(inspect.signature(other)), name
        assert inspect.getdoc(one), name


@pytest.mark.parametrize(
    "document", ["docs/index.md", "README.md", "docs/housekeeping.md", "docs/dropping.md"]
)
def test_the_page_of_keys_is_found(document):
    assert "config.md" in (ROOT / document).read_text()
